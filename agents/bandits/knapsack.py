"""The multiple-choice knapsack of an allocation step: one spending level for each campaign, one budget for all.

On the concave hulls of the campaigns' curves the greedy rule, always buy the step that brings most per cost, solves
the linear relaxation exactly (Sinha, Zoltners 1979); for concave curves that is the problem itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray, IntArray


def hull(cost: FloatArray, value: FloatArray) -> IntArray:
    """Return the options (h,) on the upper concave hull of (0, 0) and the options (n,), by rising cost.

    Options that cost more than the best one are left out; so are those worth nothing.
    """
    kept: list[int] = []
    for option in np.lexsort((-value, cost)).tolist():
        if value[option] <= (value[kept[-1]] if kept else 0.0):
            continue
        while kept and _slope(cost, value, kept[-1], option) >= _slope(
            cost, value, kept[-2] if len(kept) > 1 else None, kept[-1]
        ):
            kept.pop()
        kept.append(option)
    return np.array(kept, dtype=np.int64)


def greedy(costs: Sequence[FloatArray], values: Sequence[FloatArray], budget: float) -> FloatArray:
    """Return how many steps (campaigns,) to go up on each hull, the last one bought perhaps in part.

    costs, values: of each campaign's hull (h_k,), rising, without the free option of (0, 0). What one step more brings
    per cost is sold in order over all campaigns until the budget is spent.
    """
    step = [np.diff(cost, prepend=0.0) for cost in costs]
    gain = [np.diff(value, prepend=0.0) for value in values]
    owner = np.repeat(np.arange(len(step)), [len(each) for each in step])
    cost, worth = np.concatenate(step), np.concatenate(gain)
    order = np.argsort(-worth / np.maximum(cost, 1e-300), kind="stable")
    left = budget - np.cumsum(cost[order]) + cost[order]
    part = np.clip(left / np.maximum(cost[order], 1e-300), 0.0, 1.0)
    return np.asarray(np.bincount(owner[order], part, len(step)), np.float64)


def _slope(cost: FloatArray, value: FloatArray, low: int | None, high: int) -> float:
    """Return what going from one option to a dearer one brings per cost; from nothing at all where low is None."""
    rise = value[high] - (0.0 if low is None else value[low])
    run = cost[high] - (0.0 if low is None else cost[low])
    return float(rise / run) if run > 0 else np.inf
