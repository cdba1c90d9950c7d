"""The best under a budget and a limit on the cost of something else than what is maximised: CPA, CPC.

maximise sum v x   subject to   sum m x <= B,   sum m x <= C sum p x,   0 <= x <= 1

v: worth, m: price, p: expected count of what the limit is on. The dual has two prices, that of money and that of the
limit, and the best bid follows from them (bidpilot's master formula; He et al., KDD 2021, doi 10.1145/3447548.3467199).
For a fixed price of the limit the rest is a knapsack, solved exactly by sorting, and its excess over the limit is the
slope of a convex function of that price: one bisection finds the optimum, in O(n log n) a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

DOUBLINGS = 200
HALVINGS = 80


@dataclass(frozen=True)
class TwoLimits:
    """The optimum.

    money: the price of a unit of budget, in worth. strictness: the price of a unit over the limit, likewise. taken:
    (n,) shares of the impressions, 0..1, within both limits. value: worth of what is taken. bound: the dual's value, at
    least that of any choice.
    """

    money: float
    strictness: float
    taken: FloatArray
    value: float
    bound: float


def best_within(worth: FloatArray, price: FloatArray, count: FloatArray, budget: float, limit: float) -> TwoLimits:
    """Return the best choice among n impressions within a budget and a limit on the cost per count.

    worth, price, count: (n,), at least 0; price and budget in one unit of money. limit: money per count; infinite:
    none. Raises InputError for figures below 0 or not finite.
    """
    if len(price) and not (
        min(worth.min(), price.min(), count.min()) >= 0 and np.isfinite(worth + price + count).all()
    ):
        raise InputError("worths, prices and counts must be finite and at least 0; drop what cannot be won")
    if not (0 <= budget < np.inf and limit > 0):
        raise InputError(f"expected a finite budget of at least 0 and a limit above 0; got {budget} and {limit}")
    over = price - limit * count if limit < np.inf else -np.ones(len(price))
    low, high = _bracket(worth, price, over, budget)
    before, after = (_knapsack(worth - strict * over, price, budget) for strict in (low, high))
    excess, slack = float(over @ before[0]), -float(over @ after[0])
    part = excess / (excess + slack) if excess > 0 else 1.0  # of two choices within the budget, the mix that just fits
    taken = (1.0 - part) * before[0] + part * after[0]
    money = after[1]
    bound = money * budget + float(np.maximum(worth - money * price - high * over, 0.0).sum())
    return TwoLimits(money, high, taken, float(worth @ taken), bound)


def best_bids(
    worth: FloatArray, count: FloatArray, limit: float, money: float, strictness: float, saving: float = 0.0
) -> FloatArray:
    """Return the bids (n,) of the master formula, (v + mu C p) / (delta + lambda + mu); infinite where all are 0.

    saving: delta, the worth of a unit of money that is kept: 0 for who maximises worth, 1 for who maximises profit.
    """
    wanted = worth + (strictness * limit * count if strictness > 0 else 0.0)
    divisor = saving + money + strictness
    return np.asarray(wanted / divisor if divisor > 0 else np.where(wanted > 0, np.inf, 0.0))


def _bracket(worth: FloatArray, price: FloatArray, over: FloatArray, budget: float) -> tuple[float, float]:
    """Return two prices of the limit, all but equal: at the lower one it is broken (or 0), at the higher one kept."""

    def kept(strict: float) -> bool:
        return float(over @ _knapsack(worth - strict * over, price, budget)[0]) <= 0.0

    if kept(0.0):
        return 0.0, 0.0
    low, high = 0.0, float(worth.sum() / price.sum())
    for _ in range(DOUBLINGS):
        if kept(high):
            break
        low, high = high, 2.0 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if kept(middle) else (middle, high)
    return low, high


def _knapsack(profit: FloatArray, price: FloatArray, budget: float) -> tuple[FloatArray, float]:
    """Return the shares (n,) of the fractional knapsack, and what one more unit of budget would bring."""
    rows = np.flatnonzero(profit > 0)
    rows = rows[np.argsort(price[rows] / profit[rows], kind="stable")]
    total = np.cumsum(price[rows])
    whole = int(np.searchsorted(total, budget, side="right"))
    taken = np.zeros(len(price))
    taken[rows[:whole]] = 1.0
    if whole == len(rows):
        return taken, 0.0
    last = rows[whole]
    taken[last] = (budget - (total[whole - 1] if whole else 0.0)) / price[last]
    return taken, float(profit[last] / price[last])
