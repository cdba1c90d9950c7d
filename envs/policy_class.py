"""The best that policies of a kind could have earned on a day, knowing its prices and its true worths.

The kind: one constant multiplier for all ("day"), one per segment ("segment"), or one per tick and segment ("cell").
Every reachable outcome of a group is a point (cost, worth), one per threshold; the budget is spread over the groups'
points, see envs/curves. At first price the cost of a point is its multiplier times the worth won, so that the curves
are not concave and the bound can lie above what is reachable.

Four levels bound each other on every day: what a policy earns <= the best of its class, `value` <= its relaxation,
`bound` <= R* of hindsight.best_value, the linear programme over impressions on expected worth <= the same programme on
the outcomes as they fell, which is no target: it buys only what will be clicked. At first price R* is the second-price
knapsack: who knows every price pays just that. No multiplier reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.types import MICROS, whole_micros
from bidpilot.envs.curves import Curves
from bidpilot.envs.hindsight import LOWEST, thresholds

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.day import Day

GROUPINGS = ("day", "segment", "cell")
AUCTIONS = ("second_price", "first_price")


@dataclass(frozen=True)
class BestOfClass:
    """The best multipliers of a kind on a day.

    multipliers: (ticks, segments), 0 where nothing is bought. value: currency, the expected worth that they win. spend:
    currency, at most the budget. bound: currency, what no multipliers of the kind can exceed.
    """

    multipliers: FloatArray
    value: float
    spend: float
    bound: float


def best_of_class(day: Day, budget: float, by: str = "segment", auction: str = "second_price") -> BestOfClass:
    """Return the best multipliers of a kind within a budget (currency).

    by: one of GROUPINGS. At first price bids are cut to whole micro-currency, so up to one per win is left over. Raises
    InputError for an unknown grouping, or an auction other than second and first price.
    """
    groups = _groups(day, by)
    at, cost, worth, group = _points(day, groups, auction)
    curves = Curves.of(group, cost, worth, int(groups.max(initial=0)) + 1)
    micros = float(whole_micros(budget))
    rows = curves.choose(micros)
    point = curves.point[rows]
    multipliers = np.zeros(curves.count)
    multipliers[point >= 0] = np.maximum(at[point[point >= 0]], LOWEST)
    bound = float(curves.spread(micros).worth.sum())
    spend, value = float(curves.cost[rows].sum()) / MICROS, float(curves.worth[rows].sum())
    return BestOfClass(multipliers[groups], value, spend, bound)


def _groups(day: Day, by: str) -> IntArray:
    """Return the group (ticks, segments) that each cell of the day belongs to."""
    if by not in GROUPINGS:
        raise unknown("grouping", by, GROUPINGS)
    cells = np.arange(day.ticks * day.segments).reshape(day.ticks, day.segments)
    return {"day": cells * 0, "segment": cells % day.segments, "cell": cells}[by]


def _points(day: Day, groups: IntArray, auction: str) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
    """Return multiplier, cost (micro-currency), expected worth and group (n,) of every threshold of the day."""
    if auction not in AUCTIONS:
        raise InputError(f"the best of a class is known at {AUCTIONS}; got {auction!r}")
    at = thresholds(day)
    group = groups[day.seen.tick, day.seen.segment]
    order = np.lexsort((at, group))
    order = order[np.isfinite(at[order])]
    at, group = at[order], group[order]
    if auction == "first_price":
        cost = at * _sums(day.believed[order], group) * MICROS
    else:
        cost = _sums(day.payable[order].astype(np.float64), group)
    last = np.append((at[1:] != at[:-1]) | (group[1:] != group[:-1]), True)[: len(at)]
    return at[last], cost[last], _sums(day.hidden.expected[order], group)[last], group[last]


def _sums(amount: FloatArray, group: IntArray) -> FloatArray:
    """Return the running sums (n,) within each group, groups being in order."""
    total = np.cumsum(amount)
    first = np.searchsorted(group, group)
    return np.asarray(total - (total - amount)[first])
