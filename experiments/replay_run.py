"""bidpilot replay: the policies of a run on its held-out rows, or on another log, with what may be said of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bidpilot.agents.registry import find_policy
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.ctr.readers import read_log
from bidpilot.experiments.config import budget_label
from bidpilot.experiments.coverage import LEAST
from bidpilot.experiments.fit import load_beliefs
from bidpilot.experiments.prepare import prepare
from bidpilot.experiments.replay import WORLDS, Plan, replay, results_table
from bidpilot.experiments.streamed import large_parquet
from bidpilot.experiments.train import load_trained
from bidpilot.experiments.tuned import Chosen, read_tuned

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.envs.replay_stream import Pieces
    from bidpilot.experiments.prepare import Arena
    from bidpilot.experiments.replay import Replayed
    from bidpilot.experiments.run import Run
    from bidpilot.experiments.source import Source

TRAINED = "trained"
"""Name of the run's trained policy."""

CAUTION = (
    "intervals are over the draws alone: they take the price law and the response model to be right, and these days as "
    "given"
)

PIECE = 1 << 15
"""Rows of a piece of a log that lies in memory."""


def replay_run(
    run: Run,
    source: Source,
    names: Sequence[str],
    *,
    log: Path | None = None,
    least: float = LEAST,
    worlds: int = WORLDS,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Replay policies at the run's budgets; write replay.csv and replay.txt into its folder and say what came of it.

    log: another log of the run's layout; None: the held-out rows. least: coverage below which no figure is said.
    Raises InputError for an unknown policy, and where the log cannot be read or is not in the order of time.
    """
    if not names:
        raise InputError(f"name at least one policy (--policy pid), or {TRAINED} for the trained one")
    for name in names:
        if name != TRAINED:
            find_policy(name)  # a wrong name should not cost the time
    beliefs, arena = load_beliefs(run), prepare(run, source)
    stride = 1 if source.streamed is None else source.streamed.stride
    policies = {(name, share): policy for name in names for share, policy in _built(run, arena, name, say).items()}
    plan = Plan(
        policies,
        arena.full_cost * stride,
        auction=run.settings.auction,
        worlds=worlds,
        seed=run.settings.seed,
    )
    clock = time.monotonic()
    found = replay(held_out(source) if log is None else pieces_of(run, log), beliefs, plan)
    seconds = time.monotonic() - clock
    table = results_table(found, least)
    told = [_heading(found, seconds), *(_words(row, source.log.currency) for row in table.to_dict("records"))]
    if (table["worlds"] > 1).any():
        told.append(CAUTION)
    run.write_table("replay.csv", table)
    write_atomically(run.folder / "replay.txt", "\n".join(told) + "\n")
    for line in told:
        say(line)
    return table


def held_out(source: Source) -> Pieces:
    """Return the held-out rows of a run's log: all of them, also where the source holds a sample."""
    if source.streamed is None:
        return lambda: _cut(source.held_out)
    window = source.streamed.held_out
    return lambda: (part for part, _ in window.chunks())


def pieces_of(run: Run, path: Path) -> Pieces:
    """Return another log, read with the run's mapping; from disk where it is large."""
    settings = run.settings
    disk = large_parquet(settings, path)
    if disk is not None:
        return lambda: (part for part, _ in disk.chunks())
    read = read_log(
        path,
        format_name=settings.format,
        mapping=settings.mapping,
        max_bad=settings.max_bad,
        strict=settings.strict,
    )
    return lambda: _cut(read.log)


def _cut(log: AuctionLog) -> Iterator[AuctionLog]:
    return (log.rows(slice(start, start + PIECE)) for start in range(0, len(log), PIECE))


def _built(run: Run, arena: Arena, name: str, say: Callable[[str], None]) -> dict[float, BiddingPolicy]:
    """Return a policy for each of the run's budgets: as bidpilot tune set it, else with its defaults."""
    shares = run.settings.budgets
    if name == TRAINED:
        policy, _, _ = load_trained(run)
        return dict.fromkeys(shares, policy)
    config = find_policy(name)
    tuned, notes = read_tuned(run, arena, {name: config})
    for note in notes:
        say(note)
    return {share: tuned.get((name, share), Chosen(config(), 1)).config.build(arena.past) for share in shares}


def _heading(found: Replayed, seconds: float) -> str:
    """Say what was played, and how fast."""
    count = len(found.episodes)
    worlds = next(iter(found.records.values())).shape[0]
    drawn = f", {worlds} draws of what the log does not tell" if worlds > 1 else ""
    known = 1.0 - found.unknown / found.rows
    return (
        f"{found.rows:,} opportunities in {count} episode{'s' * (count > 1)}, {known:.1%} with a known price; "
        f"{len(found.records)} replays{drawn} in {seconds:,.0f} s, {found.rows / seconds:,.0f} rows/s (read twice)"
    )


def _words(row: dict[Hashable, Any], currency: str) -> str:
    """Say what a policy did, or why that is not said."""
    name = f"{row['policy']}, budget {budget_label(row['budget'])}"
    if not row["headline"]:
        return f"{name}: {row['words']}"
    figures = [
        f"{_span(row, 'spend')} {currency} spent",
        f"{_span(row, 'wins')} wins",
        f"{_span(row, 'clicks')} clicks",
    ]
    figures += [f"{_span(row, 'expected')} {currency} of expected worth"]
    said = f"{name} ({row['budget_currency']:,.4g} {currency}), an episode: {', '.join(figures)}"
    return f"{said}; {row['words']}" if row["words"] else said


def _span(row: dict[Hashable, Any], name: str) -> str:
    """Write a figure with its interval, where it has one."""
    middle, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    return f"{middle:,.4g}" if low == high else f"{middle:,.4g} [{low:,.4g}, {high:,.4g}]"
