"""The family in the marketplace: a learner in one seat against 47 other buyers, and the rivals richer than expected.

Arenas are days: buyers, traffic and the seat are drawn from a seed of the arena's own, the same for all who play it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from bidpilot.envs.marketplace import Arena
from bidpilot.experiments.sealed import refuse, sealing
from bidpilot.experiments.suite.contenders import Pacing, trials
from bidpilot.experiments.suite.play import RECORD
from bidpilot.experiments.suite.verdicts import BEST, BUDGET, Draws, Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.suite.contenders import Contender
    from bidpilot.experiments.suite.families import MarketFamily

ROLES = ("validate", "tune", "test")
KEY, CHANCE = 107, 108
"""Keys of the streams of the arenas and of what contenders draw themselves."""

REFERENCE = "pacing"
"""Whose worth is the unit of the scores: the seat's own controller, which is the learner's zero action."""

EXPECTED = RECORD.index("expected")
TRACE = ("time_left", "action", "spent", "earned", "price")


def arena_of(family: MarketFamily, role: str, number: int) -> tuple[Arena, int]:
    """Return an arena of a role and the seat that is played in it; the same in every call, for shifts too.

    Raises SealedError for a test arena during training and tuning.
    """
    if role == "test":
        refuse("test arenas")
    seed = np.random.SeedSequence(KEY, spawn_key=(ROLES.index(role), number))
    traffic, chair = seed.spawn(2)
    seat = int(np.random.default_rng(chair).integers(family.config.buyers))
    rivals = family.rivals if role == "test" else 1.0
    return Arena(replace(family.config, seat=seat, rivals=rivals), np.random.default_rng(traffic)), seat


def play_arena(contender: Contender, family: MarketFamily, role: str, number: int) -> tuple[FloatArray, FloatArray]:
    """Play an arena's seat; return its record (len(RECORD),), best still 0, and its way through the day (ticks, 5).

    The way: time left; log(bid / the controller's) / reach, which is the action if a learner plays; shares of the
    budget spent and earned so far; what a currency unit of worth cost in the tick (NaN where none was bought).
    """
    arena, seat = arena_of(family, role, number)
    sitting = contender.sit(arena, seat, np.random.default_rng(np.random.SeedSequence(CHANCE, spawn_key=(number,))))
    budget, way = float(arena.seats.budget[seat]), []
    while not arena.over:
        left, paced = 1.0 - arena.tick / arena.config.ticks, float(arena.seats.paced[seat])
        wanted = arena.multipliers({})
        wanted[seat] = bid = sitting()
        told = arena.play(wanted)
        worth, paid = float(told.expected[seat]), float(told.spend[seat])
        sums = arena.total.spend[seat] / budget, arena.total.expected[seat] / budget
        way.append((left, np.log(bid / paced) / arena.config.reach, *sums, paid / worth if worth > 0 else np.nan))
    return _record(arena, seat, budget), np.array(way)


def play_arenas(contender: Contender, family: MarketFamily, role: str, count: int) -> FloatArray:
    """Return the records (count, len(RECORD)) of a contender, best still 0."""
    return np.array([play_arena(contender, family, role, number)[0] for number in range(count)])


@lru_cache
@sealing("tuning")
def tuned(family: MarketFamily, count: int) -> dict[str, Contender]:
    """Return each baseline with the settings that bought the most worth in the tuning arenas, as many tried for each.

    The first of equals wins, so the default if it is among them.
    """
    chosen: dict[str, Contender] = {}
    for name in tqdm(family.baselines, desc="tune baselines", unit="policy", disable=None, leave=False):
        tried: Sequence[Contender] = trials(name)
        if len(tried) > 1:
            tried = sorted(tried, key=lambda each: -play_arenas(each, family, "tune", count)[:, EXPECTED].sum())
        chosen[name] = tried[0]
    return chosen


def play_market(
    family: MarketFamily, learner: str, trained: Sequence[Contender], tune: int, test: int
) -> tuple[dict[str, str], dict[str, FloatArray]]:
    """Return the role and the records (seeds, 1, test, len(RECORD)) of every contender by name.

    trained: the learner's policies, one per seed. tune, test: numbers of arenas. best is what the controller alone
    earns in the same arena, so scores are multiples of its worth.
    """
    plain = replace(family, name=family.trained_as, rivals=1.0, of="", title="", claims=())
    entries = {REFERENCE: [Pacing()]} | {name: [each] for name, each in tuned(plain, tune).items()}
    entries[learner] = list(trained)
    bar = tqdm(entries.items(), desc=family.name, unit="policy", disable=None, leave=False)
    records = {
        name: np.array([[play_arenas(each, family, "test", test)] for each in contenders]) for name, contenders in bar
    }
    paced = records[REFERENCE][0, 0, :, EXPECTED].copy()
    for record in records.values():
        record[..., BEST] = paced
    return {name: "learner" if name == learner else "baseline" for name in entries}, records


def worth_table(records: Mapping[str, FloatArray], shifted: Mapping[str, FloatArray], seed: int = 0) -> pd.DataFrame:
    """Return one row per contender: worth per budget, under the shift too, and the loss in percent, with intervals.

    records, shifted: of the same arenas without and with the shift, as play_market gives them. Ratios of sums over
    arenas, means over training seeds; arenas and seeds are drawn alike in both, so the loss is a paired difference.
    """
    plain, worse = (Draws(_per_budget(each), np.random.default_rng(seed)) for each in (records, shifted))
    rows = []
    for name in records:
        before, after = plain.score(name)[:, 0], worse.score(name)[:, 0]
        loss = 100.0 * (1.0 - after / before)
        row: dict[str, object] = {"policy": name}
        for column, draws in (("worth", before), ("shifted", after), ("loss", loss)):
            found = Estimate.of(draws)
            row |= {column: found.mean, f"{column}_low": found.low, f"{column}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def habits(contender: Contender, family: MarketFamily, count: int, parts: int = 6) -> pd.DataFrame:
    """Return how a contender goes through test arenas, by part of the day: means of the ways of play_arena.

    spent and earned are those at the end of the part.
    """
    ways = np.array([play_arena(contender, family, "test", number)[1] for number in range(count)])
    rows = [np.nanmean(each, axis=(0, 1)) for each in np.array_split(ways, parts, axis=1)]
    table = pd.DataFrame(rows, columns=list(TRACE))
    ends = [each[:, -1].mean(axis=0) for each in np.array_split(ways, parts, axis=1)]
    table[["spent", "earned"]] = np.array(ends)[:, 2:4]
    return table


def _per_budget(records: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return records whose reference is the budget."""
    changed = {name: record.copy() for name, record in records.items()}
    for record in changed.values():
        record[..., BEST] = record[..., BUDGET]
    return changed


def _record(arena: Arena, seat: int, budget: float) -> FloatArray:
    """Return what is kept of an episode; there is no cost limit, so all that was expected is earned."""
    expected, spend = arena.total.expected[seat], arena.total.spend[seat]
    conversions = arena.total.conversions[seat]
    value = conversions * arena.buyers.worth[seat] / arena.config.conversion_rate
    return np.array([expected, expected, 0.0, spend, budget, 0.0, value, conversions])
