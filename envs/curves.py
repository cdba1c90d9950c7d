"""What money buys in several groups, as points (cost, worth), and the best way to spread a budget over them.

The groups may be campaigns, segments, or the ticks of a day; at most one point of each is chosen (the multiple-choice
knapsack). Its linear relaxation needs the points on each group's upper concave hull only and is solved exactly by
taking the hulls' steps in the order of their slope (Sinha and Zoltners, Operations Research 1979).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray


class Spread(NamedTuple):
    """A budget spread over groups in the relaxation, where part of a step may be bought.

    spent, worth: (groups,). rate: cost per worth of the last step that was bought; infinite where all of them were.
    """

    spent: FloatArray
    worth: FloatArray
    rate: float


class Steps(NamedTuple):
    """The hulls' steps that are worth something: group, cost and worth of each (s,), and the row it leads to."""

    group: IntArray
    cost: FloatArray
    worth: FloatArray
    row: IntArray


@dataclass(frozen=True)
class Curves:
    """Points sorted by (group, cost), every group starting with its free and empty choice.

    group, cost, worth: (m,). point: (m,) the caller's number of each point, -1 for the starts. count: groups.
    """

    group: IntArray
    cost: FloatArray
    worth: FloatArray
    point: IntArray
    count: int

    @classmethod
    def of(cls, group: IntArray, cost: FloatArray, worth: FloatArray, count: int) -> Curves:
        """Sort points (n,) by group and cost. Raises InputError for costs or worths below 0 or not finite."""
        if len(cost) and not (min(cost.min(), worth.min()) >= 0 and np.isfinite(cost + worth).all()):
            raise InputError("points need finite costs and worths of at least 0; drop what cannot be bought")
        none = np.zeros(count)
        groups = np.concatenate([np.arange(count), group])
        costs, worths = np.concatenate([none, cost]), np.concatenate([none, worth])
        point = np.concatenate([np.full(count, -1), np.arange(len(cost))])
        order = np.lexsort((worths, costs, groups))
        columns = np.stack([groups[order], costs[order], worths[order]])
        fresh = np.append(True, (columns[:, 1:] != columns[:, :-1]).any(axis=0))  # equal points would hide each other
        order = order[fresh]
        return cls(groups[order], costs[order], worths[order], point[order], count)

    @cached_property
    def hull(self) -> IntArray:
        """Rows (h,) of the corners of each group's upper concave hull.

        A point on or below the line between its neighbours is no corner; dropping all of these at once leaves the hull
        as it is, and after a few rounds only corners are left.
        """
        rows = np.arange(len(self.group))
        while True:
            under = self._under(rows)
            if not under.any():
                return rows
            rows = rows[~under]

    @cached_property
    def steps(self) -> Steps:
        """The steps along the hulls, in the order of their corners."""
        rows = self.hull
        low, high = rows[:-1], rows[1:]
        worth = self.worth[high] - self.worth[low]
        useful = (self.group[low] == self.group[high]) & (worth > 0)
        low, high = low[useful], high[useful]
        return Steps(self.group[high], self.cost[high] - self.cost[low], worth[useful], high)

    def spread(self, budget: float, factor: FloatArray | float = 1.0) -> Spread:
        """Return the optimum of the relaxation: a bound on every choice.

        factor: (groups,) by which each group's worth is corrected, which leaves the hulls' corners where they are.
        """
        steps, order, whole = self._bought(budget, factor)
        taken = np.zeros(len(order))
        taken[order[:whole]] = 1.0
        rate = np.inf
        if whole < len(order):
            last = order[whole]
            taken[last] = (budget - steps.cost[order[:whole]].sum()) / steps.cost[last]
            rate = float(steps.cost[last] / steps.worth[last])
        worth = steps.worth * np.broadcast_to(factor, self.count)[steps.group]
        spent, earned = (
            np.asarray(np.bincount(steps.group, taken * amount, self.count), dtype=np.float64)
            for amount in (steps.cost, worth)
        )
        return Spread(spent, earned, rate)

    def choose(self, budget: float) -> IntArray:
        """Return a row (groups,) for each group that together fit the budget: whole steps, then what still fits.

        After the whole steps of the relaxation the rest buys, again and again, the point that adds the most worth. Its
        gap to the relaxation's worth is known, and at most one step wide.
        """
        steps, order, whole = self._bought(budget, 1.0)
        chosen = np.flatnonzero(self.point == -1)
        np.maximum.at(chosen, steps.group[order[:whole]], steps.row[order[:whole]])
        while True:
            left = budget - self.cost[chosen].sum()
            more = self.worth - self.worth[chosen][self.group]
            more[self.cost - self.cost[chosen][self.group] > left] = 0.0
            best = int(more.argmax())
            if more[best] <= 0:
                return chosen
            chosen[self.group[best]] = best

    def _bought(self, budget: float, factor: FloatArray | float) -> tuple[Steps, IntArray, int]:
        """Return the steps, their order by cost per corrected worth, and how many of them fit whole."""
        steps = self.steps
        order = np.argsort(steps.cost / (steps.worth * np.broadcast_to(factor, self.count)[steps.group]), kind="stable")
        return steps, order, int(np.searchsorted(np.cumsum(steps.cost[order]), budget, side="right"))

    def _under(self, rows: IntArray) -> BoolArray:
        """Tell which rows (h,) lie on or below the line between their neighbours in the same group."""
        group, cost, worth = self.group[rows], self.cost[rows], self.worth[rows]
        under = np.zeros(len(rows), dtype=bool)
        inner = (group[:-2] == group[1:-1]) & (group[1:-1] == group[2:])
        (c1, c2), (w1, w2) = ((x[1:-1] - x[:-2], x[2:] - x[1:-1]) for x in (cost, worth))
        under[1:-1] = inner & (w1 * c2 <= w2 * c1)
        return under
