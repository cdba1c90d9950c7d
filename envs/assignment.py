"""Several campaigns of one advertiser after the same impressions: which of them should bid for which.

maximise sum v_ij x_ij   subject to   sum_i m_i x_ij <= B_j,   sum_j x_ij <= 1,   x >= 0

Only the campaign with the largest v_ij - lambda_j m_i bids, and only where that is above 0: campaigns never outbid each
other. The prices of money lambda (J,) minimise a convex function with kinks. It is smoothed by a temperature (a softmax
in place of the maximum, a logarithmic barrier at 0) that falls to nearly 0, with Newton steps on J numbers at each; at
every minimum the smoothed choice keeps all budgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray, IntArray

TEMPERATURES = np.geomspace(1.0, 1e-8, 33)
NEWTON = 40
SETTLED = 1e-10
LEAST = 1e-9
"""Share of the full cost that a budget is taken to be at least while the prices are sought."""


@dataclass(frozen=True)
class Assignment:
    """The best assignment.

    money: (J,) the price of a unit of each campaign's budget, in worth. taken: (J, n) shares, within every budget.
    value: worth of what is taken. bound: the dual's value, at least that of any assignment.
    """

    money: FloatArray
    taken: FloatArray
    value: float
    bound: float


def best_assignment(worth: FloatArray, price: FloatArray, budgets: FloatArray) -> Assignment:
    """Return how J campaigns share n impressions best, each within its own budget.

    worth: (J, n) of each impression to each campaign. price: (n,). budgets: (J,), in the unit of price. Raises
    InputError for figures below 0 or not finite, and for shapes that do not fit.
    """
    if worth.shape != (len(budgets), len(price)):
        raise InputError(f"expected worths of shape {(len(budgets), len(price))}; got {worth.shape}")
    if not all((x >= 0).all() and np.isfinite(x).all() for x in (worth, price, budgets)):
        raise InputError("worths, prices and budgets must be finite and at least 0; drop what cannot be won")
    of_worth, of_price = (float(x.mean()) or 1.0 if x.size else 1.0 for x in (worth, price))
    scaled, cost = worth / of_worth, price / of_price
    money = _prices(scaled, cost, np.maximum(budgets / of_price, LEAST * cost.sum()))
    taken = _shares(scaled, cost, money, float(TEMPERATURES[-1]))
    taken = _within(taken, price, budgets)
    money = money * of_worth / of_price
    gain = np.maximum((worth - money[:, None] * price).max(axis=0, initial=0.0), 0.0)
    return Assignment(money, taken, float((worth * taken).sum()), float(money @ budgets + gain.sum()))


def bidders(worth: FloatArray, price: FloatArray, money: FloatArray) -> IntArray:
    """Return which campaign (n,) bids for each impression: argmax v_ij - lambda_j m_i, -1 where none is above 0."""
    gain = worth - money[:, None] * price
    best = gain.argmax(axis=0)
    return np.where(gain.max(axis=0) > 0, best, -1)


def _prices(worth: FloatArray, price: FloatArray, budgets: FloatArray) -> FloatArray:
    """Return the prices of money (J,), by Newton's method at ever lower temperatures."""
    money = np.ones(len(budgets))
    for heat in TEMPERATURES.tolist():
        for _ in range(NEWTON):
            shares = _shares(worth, price, money, heat)
            slope = budgets - heat / money - shares @ price
            step = -np.linalg.solve(_curvature(shares, price, money, heat), slope)
            if -slope @ step <= SETTLED * heat:
                break
            money = _stepped(worth, price, budgets, money, step, heat, float(slope @ step))
    return money


def _stepped(
    worth: FloatArray,
    price: FloatArray,
    budgets: FloatArray,
    money: FloatArray,
    step: FloatArray,
    heat: float,
    descent: float,
) -> FloatArray:
    """Return the prices after as much of a Newton step as makes enough progress and leaves them above 0."""
    down = step < 0
    size = min(1.0, float((-0.95 * money[down] / step[down]).min(initial=np.inf)))
    start = _smoothed(worth, price, budgets, money, heat)
    for _ in range(NEWTON):
        if _smoothed(worth, price, budgets, money + size * step, heat) <= start + 1e-4 * size * descent:
            return money + size * step
        size /= 2.0
    return money


def _smoothed(worth: FloatArray, price: FloatArray, budgets: FloatArray, money: FloatArray, heat: float) -> float:
    """Return the smoothed dual."""
    gain = (worth - money[:, None] * price) / heat
    top = np.maximum(gain.max(axis=0), 0.0)
    soft = heat * (top + np.log(np.exp(-top) + np.exp(gain - top).sum(axis=0)))
    return float(money @ budgets - heat * np.log(money).sum() + soft.sum())


def _shares(worth: FloatArray, price: FloatArray, money: FloatArray, heat: float) -> FloatArray:
    """Return the smoothed choice (J, n): a softmax with 'nobody' as one more campaign."""
    gain = (worth - money[:, None] * price) / heat
    top = np.maximum(gain.max(axis=0, initial=0.0), 0.0)
    each = np.exp(gain - top)
    return np.asarray(each / (np.exp(-top) + each.sum(axis=0)))


def _curvature(shares: FloatArray, price: FloatArray, money: FloatArray, heat: float) -> FloatArray:
    """Return the matrix (J, J) of second derivatives of the smoothed dual."""
    weighted = shares * price**2
    return np.asarray((np.diag(weighted.sum(axis=1)) - weighted @ shares.T) / heat + np.diag(heat / money**2))


def _within(taken: FloatArray, price: FloatArray, budgets: FloatArray) -> FloatArray:
    """Cut what costs something so that no budget is exceeded by rounding, nor by LEAST."""
    spent = taken @ price
    fits = np.minimum(1.0, budgets / np.where(spent > 0, spent, 1.0))[:, None]
    return np.where(price > 0, taken * np.where(spent > 0, fits[:, 0], 1.0)[:, None], taken)
