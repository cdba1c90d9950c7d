"""play: the only place where money moves. Pure functions; spend never exceeds what is left.

One tie rule: an opportunity is won iff multiplier >= r, r = price / value (Day.ratio), where bids have a tick the
price rounded up to it. Budget rule: in time order, an impression that no longer fits is lost and the next one is
tried, which at second price is the same as capping every bid at what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, BoolArray, FloatArray, IntArray, whole_micros
from bidpilot.envs.acceptance import accepted
from bidpilot.envs.auctions import pricing_rule
from bidpilot.envs.ladder import outcomes_of
from bidpilot.envs.types import COLUMNS, Outcome, Rules

if TYPE_CHECKING:
    from bidpilot.envs.day import Day, Opportunities

SPEND = COLUMNS.index("spend")
JUDGED = [COLUMNS.index("predicted_clicks"), COLUMNS.index("predicted")]
"""Columns that the bidder's belief scales."""

HIGHEST = float(np.finfo(np.float64).max)
"""An infinite multiplier wins all that can be won, but not what is marked unwinnable by an infinite ratio."""

PLAIN = Rules()


class Memory(NamedTuple):
    """What earlier ticks left behind.

    heat: recent win rate, which rivals react to. shown: (users,) impressions so far, where the exchange caps them.
    """

    heat: float = 0.0
    shown: IntArray | None = None


FRESH = Memory()


class Market(NamedTuple):
    """One tick's auctions under the rules: rows of the day, price and threshold (n_tick,) in micro-currency.

    threshold: the lowest bid on the exchange's grid of bids that wins. step, cap: micro-currency, that grid and the
    highest bid.
    """

    tick: int
    part: slice
    price: IntArray
    threshold: IntArray
    step: int
    cap: int


def play(
    day: Day, tick: int, multipliers: FloatArray, left: int, rules: Rules = PLAIN, memory: Memory = FRESH
) -> Outcome:
    """Play one tick with bids multiplier x believed value.

    multipliers: (1,) for all or (segments,). left: micro-currency that may be spent. Raises InputError when
    the multipliers' shape fits neither. Uses the ladder where it is exact, the scan elsewhere.
    """
    groups = len(multipliers)
    if groups not in {1, day.segments}:
        raise InputError(f"expected 1 or {day.segments} multipliers (one per segment), got {groups}")
    if rules.plain and not day.once:
        outcome = climb(day, tick, multipliers, groups)
        if outcome.table[:, SPEND].sum() <= left:
            return outcome
    return scan(day, tick, spread(day, tick, multipliers), left, rules, groups, memory)


def climb(day: Day, tick: int, multipliers: FloatArray, groups: int) -> Outcome:
    """Play one tick by the ladder, as if money were no limit: exact at second price."""
    if day.belief is None:
        ladder = day.pooled if groups == 1 else day.by_segment
        wins = ladder.wins(tick, np.minimum(multipliers, HIGHEST))
        return Outcome(offered(day, tick, groups), ladder.sums(ladder.cells_of(tick), wins), wins=wins)
    ladder = day.by_segment
    wins = ladder.wins(tick, np.minimum(multipliers * day.belief, HIGHEST))
    table = grouped(ladder.sums(ladder.cells_of(tick), wins), day.belief, groups)
    return Outcome(offered(day, tick, groups), table, wins=wins)


def play_bids(
    day: Day, tick: int, bids: FloatArray, left: int, rules: Rules = PLAIN, memory: Memory = FRESH
) -> Outcome:
    """Play one tick with any bids (n_tick,), currency per impression; 0, NaN or below is no bid."""
    market = _market(day, tick, rules, memory)
    micros = _on_tick(np.minimum(whole_micros(bids), market.cap), market.step)
    wanted = (micros > 0) & (micros >= market.price) & (market.price < UNWINNABLE) & (day.seen.value[market.part] > 0)
    bid = micros[wanted] if rules.auction != "second_price" else None
    return _settle(day, market, wanted, bid, left, rules, 1, memory)


def scan(
    day: Day, tick: int, multipliers: FloatArray | float, left: int, rules: Rules, groups: int, memory: Memory = FRESH
) -> Outcome:
    """Play one tick opportunity by opportunity in time order: the plain reference of the ladder.

    multipliers: one for all, or (n_tick,), see spread. Works for all rules and whenever the budget binds.
    """
    market = _market(day, tick, rules, memory)
    value = day.seen.value[market.part]
    at = min(multipliers, HIGHEST) if isinstance(multipliers, float) else np.minimum(multipliers, HIGHEST)
    wanted = reached(market.threshold, value, at, certain=day.certain)
    if rules.bid_cap:
        wanted &= market.threshold <= market.cap
    bid = _bids(market, value, multipliers, wanted) if rules.auction != "second_price" else None
    return _settle(day, market, wanted, bid, left, rules, groups, memory)


def reached(price: IntArray, value: FloatArray, multipliers: FloatArray | float, *, certain: bool = False) -> BoolArray:
    """Tell which prices (n,) finite multipliers, one or (n,), on values (n,) win: multiplier >= r, see Day.ratio.

    certain: all values are above 0 and all prices in reach, so that need not be looked at.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        worth = value * MICROS
        won = price.astype(np.float64) / worth <= multipliers  # false where either is not a number
    if certain and isinstance(multipliers, float) and multipliers > 0:
        return np.asarray(won)
    won &= worth > 0
    won &= price < UNWINNABLE
    won &= np.greater(multipliers, 0)
    return np.asarray(won)


def _bids(market: Market, value: FloatArray, multipliers: FloatArray | float, wanted: BoolArray) -> FloatArray:
    """Return the winning bids (w,) in micro-currency: on the exchange's grid, within its cap, enough to win."""
    at = multipliers[wanted] if isinstance(multipliers, np.ndarray) else multipliers
    with np.errstate(over="ignore"):
        micros = np.minimum(at * value[wanted] * MICROS, market.cap)
    return np.maximum(_on_tick(micros, market.step), market.threshold[wanted]) if market.step > 1 else micros


def posted(day: Day, tick: int, rules: Rules, memory: Memory) -> FloatArray:
    """Return sum (micro-currency) and number (segments, 2) of a tick's prices that a bid can reach."""
    if not rules.reaction:
        told: FloatArray = day.posted[tick]
        return told
    market = _market(day, tick, rules, memory)
    reached = (day.seen.value[market.part] > 0) & (market.price < UNWINNABLE)
    segment, price = day.seen.segment[market.part][reached], market.price[reached]
    sums = [np.bincount(segment, weights, day.segments) for weights in (price, None)]
    return np.column_stack(sums).astype(np.float64, copy=False)


def spread(day: Day, tick: int, multipliers: FloatArray) -> FloatArray:
    """Return one multiplier per opportunity of the tick, on the value before misjudgement."""
    segment = day.seen.segment[rows_of(day, tick)]
    if day.belief is not None:
        return np.asarray((multipliers * day.belief)[segment])
    return multipliers[segment] if len(multipliers) > 1 else np.full(len(segment), multipliers[0])


def seen_at(day: Day, tick: int) -> Opportunities:
    """Return what a bidder sees of a tick's opportunities."""
    return day.sight(rows_of(day, tick))


def rows_of(day: Day, tick: int) -> slice:
    """Return the rows of a tick."""
    return slice(int(day.starts[tick]), int(day.starts[tick + 1]))


def offered(day: Day, tick: int, groups: int) -> IntArray:
    """Return the opportunities (groups,) of a tick."""
    count: IntArray = day.offered[tick] if groups > 1 else day.volume[tick]
    return count


def grouped(table: FloatArray, belief: FloatArray | None, groups: int) -> FloatArray:
    """Turn sums by segment (S, C) into what the bidder with this belief counts by group (groups, C)."""
    if belief is not None:
        table[:, JUDGED] *= belief[:, None]
    return table if groups > 1 else table.sum(axis=0, keepdims=True)


def _market(day: Day, tick: int, rules: Rules, memory: Memory) -> Market:
    """Return the tick's prices under the rules, rivals' reaction included."""
    part = rows_of(day, tick)
    price = day.hidden.price[part]
    if rules.reaction:
        hot = np.rint(price * np.exp(rules.reaction * memory.heat)).astype(np.int64)
        price = np.where(price < UNWINNABLE, np.minimum(hot, UNWINNABLE), price)
    step = max(1, round(rules.bid_tick * MICROS))
    threshold = -(-price // step) * step if step > 1 else price
    cap = min(int(whole_micros(rules.bid_cap)), UNWINNABLE) if rules.bid_cap else UNWINNABLE
    return Market(tick, part, price, threshold, step, cap // step * step)


def _on_tick(micros: FloatArray, step: int) -> FloatArray:
    """Round bids down to the exchange's grid."""
    return np.asarray(np.floor(micros / step) * step) if step > 1 else micros


def _settle(
    day: Day,
    market: Market,
    wanted: BoolArray,
    bid: FloatArray | None,
    left: int,
    rules: Rules,
    groups: int,
    memory: Memory,
) -> Outcome:
    """Charge what the bids (w,) (micro-currency) on the wanted rows cost, in time order, as far as the budget goes.

    bid: None at second price, where it does not matter.
    """
    won = np.flatnonzero(wanted)
    rows, cost = won + market.part.start, market.price[won]
    if bid is not None:
        floor = day.seen.soft_floor
        soft = None if floor is None else whole_micros(floor[rows]).astype(np.int64)
        cost = pricing_rule(rules.auction)(cost, bid, soft)
    users = day.seen.user[rows] if rules.frequency_cap and day.seen.user is not None else None
    if users is not None or np.add.reduce(cost) > left:
        kept = accepted(cost, left, users, memory.shown, rules.frequency_cap)
        rows, cost = rows[kept], cost[kept]
    return Outcome(offered(day, market.tick, groups), count(day, rows, cost, groups), rows)


def count(day: Day, rows: IntArray, cost: IntArray, groups: int) -> FloatArray:
    """Return the table (groups, len(COLUMNS)) of won rows (w,) that cost this much (w,)."""
    columns = [cost, *(column[rows] for column in outcomes_of(day))]
    if groups == 1 and day.belief is None:
        return np.array([[len(rows), *map(np.add.reduce, columns)]], dtype=np.float64)
    segment = day.seen.segment[rows]
    sums = [np.bincount(segment, column, minlength=day.segments) for column in (None, *columns)]
    return grouped(np.column_stack(sums).astype(np.float64, copy=False), day.belief, groups)
