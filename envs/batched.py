"""N environments in one: a NumPy call steps them all, with the numbers that N single ones give, seed for seed.

All episodes of a scenario are equally long, so all begin and end together. The two forms in which learners want it
are envs/vector (Gymnasium) and agents/sb3_vector (Stable-Baselines3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.utils import seeding

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS
from bidpilot.envs.actions import hands
from bidpilot.envs.draws import STREAMS, draw
from bidpilot.envs.fleet import fleet_of
from bidpilot.envs.market import days_of
from bidpilot.envs.rewards import EXPECTED, LEAST, REVENUE, SPEND, Tick, reward_term
from bidpilot.envs.shadow import controllers_alone
from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bank import Bank
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.features import Floats

Amounts = dict[str, "FloatArray"]


class Batched:
    """N copies of an environment. like: the one they are copies of. Raises InputError for a count below 1.

    penalty: price of breaking the limit, in worth per worth; the scenario's, until another is set (between ticks).
    signed: whether staying below a limit earns what going above it costs, as a Lagrangian has it; not until set.
    streams: the generators of each environment, see draws.STREAMS; empty before the first reset.
    """

    def __init__(self, like: BiddingEnv, count: int) -> None:
        """Set up; no traffic is drawn yet."""
        if count < 1:
            raise InputError(f"a batch needs at least 1 environment; got {count}")
        if not getattr(like, "lockstep", False):
            raise InputError(
                f"{type(like).__name__} has no batched form; give the bare one (make(id) or env.unwrapped), or step "
                "copies, as gym.make_vec does where there is none"
            )
        self.count, self.groups, self.steering = count, like.groups, like.steering
        self.market, self.forecast, self.scenario = like.market, like.forecast, like.scenario
        self.penalty, self.signed = self.scenario.penalty, False
        self.hands = hands(self.scenario.action, like.held, self.scenario.levels)
        self._terms = tuple((f"reward/{name}", reward_term(name)) for name in self.scenario.reward)
        self._nothing = np.zeros((2, count))
        self.streams: list[tuple[np.random.Generator, ...]] = []
        self._bank: Bank | None = None

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Start the streams of every environment anew where its seed is given."""
        fresh = not self.streams
        old = self.streams or [()] * self.count
        self.streams = [
            tuple(seeding.np_random(seed)[0].spawn(STREAMS)) if fresh or seed is not None else streams
            for seed, streams in zip(seeds, old, strict=True)
        ]

    def reset(self, options: dict[str, Any] | None = None) -> tuple[Floats, Amounts]:
        """Draw all episodes; return observations (N, d) and what was drawn, by name, each (N,)."""
        if not self.streams:
            self.seed([None] * self.count)
        wanted, given = options or {}, (self.market, self.forecast, self.scenario)
        if "day" not in wanted:
            each = [{**wanted, "day": day} for day in days_of(self.market, [streams[0] for streams in self.streams])]
        else:
            each = [wanted] * self.count
        episodes = [draw(*given, *pair) for pair in zip(self.streams, each, strict=True)]
        days, campaigns, found = zip(*episodes, strict=True)
        self.drawn = {name: np.array([each.get(name, np.nan) for each in found]) for name in found[0]}
        self._scale = np.maximum(self.drawn["scale"], LEAST)
        self.fleet = fleet_of(days, campaigns, self.groups, self._bank)
        self._bank = self.fleet.bank
        used = any(name == "reward/controller" for name, _ in self._terms)
        parts = (self.steering, days, campaigns, self.forecast, self.groups, self.scenario)
        self._alone = controllers_alone(*parts, self._bank) if used else np.zeros((2, self.fleet.ticks, self.count))
        self._limit = np.array([campaign.cost_limit for campaign in campaigns])
        self._sums = np.zeros((3, self.count))
        self._excess = np.zeros((2, self.count))
        self._residual = self.steering(campaigns, self.forecast, self.groups, self.scenario, floats=False)
        return self._residual.observe(self.fleet.glance()), self.drawn

    def step(self, actions: Any) -> tuple[Floats, FloatArray, Amounts]:  # noqa: ANN401 - as the space has it
        """Bid for one tick in all; return observations (N, d), rewards (N,) and the terms and counts, each (N,)."""
        tick = self.fleet.tick
        chosen = self.hands.many(actions)
        if len(chosen) != self.count:
            raise InputError(f"expected actions of {self.count} environments, got {len(chosen)}")
        row = self.fleet.advance(self._residual.multipliers(chosen))
        rewards, info = self._reward(tick, row)
        return self._residual.observe(self.fleet.glance()), rewards, info

    @property
    def offered(self) -> float:
        """Return the opportunities of all episodes so far."""
        return float(self.fleet.glance().total.offered.sum())

    @property
    def over(self) -> bool:
        """Tell whether the horizon is reached."""
        return self.fleet.tick >= self.fleet.ticks

    @property
    def overspend(self) -> FloatArray:
        """Return spend / limit - worth (2, N) so far, with expected and with realised worth, as shares of the scale.

        Below 0 the limit is kept. Only scenarios with a limit keep count of it.
        """
        above: FloatArray = (self._sums[2] / self._limit - self._sums[:2]) / self._scale
        return above

    def _reward(self, tick: int, row: FloatArray) -> tuple[FloatArray, Amounts]:
        """Return the tick's rewards (N,), and their terms with the tick's counts."""
        columns = np.ascontiguousarray(row.T)
        expected, realised, excess = columns[EXPECTED], columns[REVENUE] / MICROS, self._nothing
        if self.scenario.limit is not None:
            excess = self._grown(expected, realised, columns[SPEND] / MICROS)
        alone = self._alone[0, tick] - self.penalty * self._alone[1, tick]
        view = Tick(expected, realised, excess[0], excess[1], alone, self._scale)
        rewards, info = np.zeros(self.count), dict(zip(COLUMNS, columns, strict=True))
        info["spend"], info["revenue"], info["left"] = columns[SPEND] / MICROS, realised, self.fleet.left / MICROS
        for name, term in self._terms:
            amount = info[name] = term(view)
            rewards += amount
        return rewards, info

    def _grown(self, expected: FloatArray, realised: FloatArray, spend: FloatArray) -> FloatArray:
        """Return by how much (2, N) the spend above the limits has grown in this tick, priced in worth, both ways."""
        self._sums = self._sums + np.stack((expected, realised, spend))
        before = self._excess
        above = self._sums[2] / self._limit - self._sums[:2]
        self._excess = above if self.signed else np.maximum(0.0, above)
        return (self._excess - before) * self.penalty
