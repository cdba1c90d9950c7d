"""play: the only place where money moves. Pure functions; spend never exceeds what is left.

One tie rule: an opportunity is won iff multiplier >= r, r = price / value (Day.ratio). Budget rule: in time
order, an impression that no longer fits is lost and the next one is tried, which at second price is the
same as capping every bid at what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, BoolArray, FloatArray, IntArray, whole_micros
from bidpilot.envs.auctions import pricing_rule
from bidpilot.envs.ladder import rows_table
from bidpilot.envs.types import COLUMNS, Outcome

if TYPE_CHECKING:
    from bidpilot.envs.day import Day, Opportunities

SPEND = COLUMNS.index("spend")
HIGHEST = np.finfo(np.float64).max
"""An infinite multiplier wins all that can be won, but not what is marked unwinnable by an infinite ratio."""


def play(day: Day, tick: int, multipliers: FloatArray, left: int, auction: str = "second_price") -> Outcome:
    """Play one tick with bids multiplier x value.

    multipliers: (1,) for all or (segments,). left: micro-currency that may be spent. Raises InputError when
    the multipliers' shape fits neither. Uses the ladder where it is exact, the scan elsewhere.
    """
    groups = len(multipliers)
    if groups not in {1, day.segments}:
        raise InputError(f"expected 1 or {day.segments} multipliers (one per segment), got {groups}")
    multipliers = np.minimum(multipliers, HIGHEST)
    if auction == "second_price":
        ladder = day.pooled if groups == 1 else day.by_segment
        table = ladder.outcome(tick, multipliers)
        if table[:, SPEND].sum() <= left:
            return Outcome(_offered(day, tick, groups), table)
    return scan(day, tick, _spread(day, tick, multipliers), left, auction, groups)


def play_bids(day: Day, tick: int, bids: FloatArray, left: int, auction: str = "second_price") -> Outcome:
    """Play one tick with any bids (n_tick,), currency per impression; 0, NaN or below is no bid."""
    part, micros = _rows(day, tick), whole_micros(bids)
    wanted = np.flatnonzero((micros > 0) & (micros >= day.hidden.price[part]) & np.isfinite(day.ratio[part]))
    return _settle(day, tick, wanted + part.start, micros[wanted], left, auction, groups=1)


def scan(day: Day, tick: int, multipliers: FloatArray, left: int, auction: str, groups: int) -> Outcome:
    """Play one tick opportunity by opportunity in time order: the plain reference of the ladder.

    multipliers: (n_tick,). Works for every auction and whenever the budget binds.
    """
    part = _rows(day, tick)
    wanted = np.flatnonzero((multipliers > 0) & (multipliers >= day.ratio[part])) + part.start
    with np.errstate(over="ignore"):
        bid = multipliers[wanted - part.start] * day.seen.value[wanted] * MICROS
    return _settle(day, tick, wanted, bid, left, auction, groups)


def _settle(day: Day, tick: int, wanted: IntArray, bid: FloatArray, left: int, auction: str, groups: int) -> Outcome:
    """Charge what the bids (micro-currency) on the wanted rows cost, in time order, as far as the budget goes."""
    cost = pricing_rule(auction)(day.hidden.price[wanted], bid)
    won = affordable(cost, left)
    rows = rows_table(day, wanted[won])
    rows[:, SPEND] = cost[won]
    table = np.zeros((groups, len(COLUMNS)))
    np.add.at(table, day.seen.segment[wanted[won]] if groups > 1 else np.zeros(len(rows), np.int64), rows)
    return Outcome(_offered(day, tick, groups), table)


def affordable(cost: IntArray, left: int) -> BoolArray:
    """Accept each cost (n,) in order if it still fits into what is left: the skip rule, without a loop over n.

    Each round takes the longest prefix that fits and drops the first overflow and all that is dearer than
    the rest of the budget.
    """
    taken = np.zeros(len(cost), dtype=bool)
    candidates = np.flatnonzero(cost <= left)
    while candidates.size:
        running = np.cumsum(cost[candidates])
        fits = int(np.searchsorted(running, left, side="right"))
        taken[candidates[:fits]] = True
        left -= int(running[fits - 1]) if fits else 0
        candidates = candidates[fits + 1 :]
        candidates = candidates[cost[candidates] <= left]
    return taken


def seen_at(day: Day, tick: int) -> Opportunities:
    """Return what a bidder sees of a tick's opportunities."""
    return day.seen.rows(_rows(day, tick))


def _rows(day: Day, tick: int) -> slice:
    return slice(int(day.starts[tick]), int(day.starts[tick + 1]))


def _spread(day: Day, tick: int, multipliers: FloatArray) -> FloatArray:
    """Return one multiplier per opportunity of the tick."""
    segment = day.seen.segment[_rows(day, tick)]
    return multipliers[segment] if len(multipliers) > 1 else np.full(len(segment), multipliers[0])


def _offered(day: Day, tick: int, groups: int) -> IntArray:
    offered: IntArray = day.offered[tick]
    return offered if groups > 1 else offered.sum(keepdims=True)
