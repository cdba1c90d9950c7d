"""How to split one budget between campaigns: pure functions of what each campaign's money would buy.

Where returns diminish, the best split gives the next unit of money to whoever buys most with it, until the last unit
buys as much everywhere. S-shaped returns, where money works only from some amount on, need the exact search (the
multiple-choice knapsack by dynamic programming: Kellerer, Pferschy and Pisinger, Knapsack Problems, 2004, ch. 11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.curves import Curves


def even(count: int) -> FloatArray:
    """Return equal shares (count,)."""
    return np.full(count, 1.0 / count)


def by_value(values: FloatArray) -> FloatArray:
    """Return shares (J,) in proportion to what all of each campaign's traffic is worth; equal where none is worth any.

    Raises InputError for values below 0 or not finite.
    """
    if not ((values >= 0) & np.isfinite(values)).all():
        raise InputError(f"values must be finite and at least 0; got {values}")
    total = float(values.sum())
    return values / total if total > 0 else even(len(values))


def marginal(curves: Curves, budget: float, factor: FloatArray | float = 1.0) -> FloatArray:
    """Return the shares (J,) at which the last unit of money buys as much worth in every campaign.

    The greedy on the curves' concave hulls. factor: (J,) corrections of the campaigns' worth. Money beyond what all
    can spend is split as their full costs are.
    """
    spent = curves.spread(budget, factor).spent
    total = float(spent.sum())
    return spent / total if total > 0 else even(curves.count)


def exact(returns: FloatArray) -> IntArray:
    """Return the units of money (J,) for each campaign, together at most B, that bring the most.

    returns: (J, B + 1), what 0, 1 ... B units bring to each campaign, of any shape. O(J B^2) time, B^2 memory. Of equal
    splits one is returned. Raises InputError for a table that is none or holds NaN.
    """
    if returns.ndim != 2 or not returns.size or np.isnan(returns).any():  # noqa: PLR2004 - rows and columns
        raise InputError(f"expected returns (campaigns, units + 1) without NaN; got {returns.shape}")
    units = np.arange(returns.shape[1])
    rest = units[:, None] - units  # what is left of the row's units for the campaigns before
    best, chosen = np.zeros(len(units)), []
    for of_one in returns:
        total = np.where(rest >= 0, best[np.maximum(rest, 0)] + of_one, -np.inf)
        chosen.append(total.argmax(axis=1))
        best = total.max(axis=1)
    given, left = [], len(units) - 1
    for of_one in reversed(chosen):
        given.append(int(of_one[left]))
        left -= given[-1]
    return np.array(given[::-1], dtype=np.int64)
