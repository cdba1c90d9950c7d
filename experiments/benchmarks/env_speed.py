"""How fast the simulator is: the ladder beside the plain scan on the same work, and whole environment steps.

Run: python -m bidpilot.experiments.benchmarks.env_speed. Figures are CPU time of one thread; the ratio is the result.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.table import Table

import bidpilot.envs  # noqa: F401 - registers the ids
from bidpilot.envs.scenarios import SCENARIOS, default_market
from bidpilot.envs.simulator import play, scan
from bidpilot.envs.types import Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day

SIZES = (5_000, 50_000, 500_000)
ENOUGH = 10**18
REPEATS = 5


def main() -> None:
    """Print both tables."""
    console = Console()
    console.print(_ladder_table())
    console.print(_step_table())


def _ladder_table() -> Table:
    table = Table("opportunities a day", "multipliers", "ladder, us a tick", "scan, us a tick", "scan / ladder")
    for size in SIZES:
        day = default_market(size).day(np.random.default_rng(0))
        for groups in (1, day.segments):
            middle = np.full(groups, float(np.median(day.ratio)))
            fast = _per_call(partial(_ladder, day, middle), day)
            slow = _per_call(partial(_scan, day, middle), day)
            table.add_row(f"{size:,}", str(groups), f"{fast:.1f}", f"{slow:.1f}", f"{slow / fast:.1f}")
    return table


def _ladder(day: Day, multipliers: FloatArray, tick: int) -> None:
    play(day, tick, multipliers, ENOUGH)


def _scan(day: Day, multipliers: FloatArray, tick: int) -> None:
    segment = day.seen.segment[day.starts[tick] : day.starts[tick + 1]]
    spread = multipliers[segment] if len(multipliers) > 1 else np.full(len(segment), multipliers[0])
    scan(day, tick, spread, ENOUGH, Rules(), len(multipliers))


def _per_call(call: Callable[[int], object], day: Day) -> float:
    """Return microseconds of CPU per call, the fastest of REPEATS passes over the day's ticks."""
    passes = []
    for _ in range(REPEATS + 1):  # the first pass builds the index
        start = time.process_time()
        for tick in range(day.ticks):
            call(tick)
        passes.append((time.process_time() - start) / day.ticks * 1e6)
    return min(passes[1:])


def _step_table() -> Table:
    table = Table("environment", "steps a CPU second, one day replayed")
    for name in SCENARIOS:
        env = gym.make(name).unwrapped
        env.reset(seed=0)
        options = {"day": env.episode.day, "scarcity": 0.1}  # type: ignore[attr-defined]
        action = np.zeros(env.action_space.shape or (), dtype=np.float32)
        start, steps = time.process_time(), 0
        for _ in range(40):
            env.reset(options=options)
            over = False
            while not over:
                _, _, over, _, _ = env.step(action)
                steps += 1
        table.add_row(name, f"{steps / (time.process_time() - start):,.0f}")
    return table


if __name__ == "__main__":
    main()
