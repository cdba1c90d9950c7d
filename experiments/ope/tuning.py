"""How much to distrust large weights: tau of Switch-DR and lambda of DRos, by estimated bias^2 + variance.

Su, Dimakopoulou, Krishnamurthy, Dudik 2020, "Doubly robust off-policy evaluation with shrinkage", section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.experiments.ope.bandit import shrunk, switched

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import FloatArray

STEPS = 30


def choose_tau(weight: FloatArray, reward: FloatArray, base: FloatArray, fitted: FloatArray) -> float:
    """Return the tau of the lowest estimated error: 0, a quantile of the weights, or inf (no switch at all)."""
    grid = np.unique(np.quantile(weight, np.linspace(0.5, 1.0, STEPS)))
    return _choose(switched, [0.0, *grid.tolist(), np.inf], weight, reward, base, fitted)


def choose_lambda(weight: FloatArray, reward: FloatArray, base: FloatArray, fitted: FloatArray) -> float:
    """Return the lambda of the lowest estimated error: 0, from a hundredth to 10^4 times the mean of w^2, or inf."""
    grid = np.geomspace(0.01, 1e4, STEPS) * float((weight**2).mean())
    return _choose(shrunk, [0.0, *grid.tolist(), np.inf], weight, reward, base, fitted)


def estimated_error(
    trusted: FloatArray, weight: FloatArray, reward: FloatArray, base: FloatArray, fitted: FloatArray
) -> float:
    """Return an estimate of the squared error of DR with `trusted` (n,) in place of the weights.

    The bias is what the residuals of the weights left out add up to. The noise of that sum is left in its square:
    taking it out, as would be right on average, favours whatever bias the few rows of large weight happen not to show,
    and adding it once more never cuts a weight at all.
    """
    residual = reward - fitted
    bias = float(((trusted - weight) * residual).mean())
    return bias**2 + float((base + trusted * residual).var()) / len(weight)


def _choose(
    change: Callable[[FloatArray, float], FloatArray],
    grid: list[float],
    weight: FloatArray,
    reward: FloatArray,
    base: FloatArray,
    fitted: FloatArray,
) -> float:
    """Return the first of the grid with the lowest error."""
    errors = [estimated_error(change(weight, each), weight, reward, base, fitted) for each in grid]
    return grid[int(np.argmin(errors))]
