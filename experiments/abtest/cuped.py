"""CUPED: take out of a metric what was known of each unit before the test (Deng, Xu, Kohavi & Walker 2013).

Y - theta (X - mean X), theta = cov / var: the mean stays, the variance falls by the factor 1 - rho^2. One theta serves
all arms, from deviations within the arms: the effect itself then cannot enter it. X must be known before the test
begins; a column that the treatment can move takes part of the effect away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from bidpilot.ctr.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Cuped:
    """An adjustment.

    theta: (k,) weight of each covariate. shift: (n,) what it takes from each unit, theta (X - mean X); sums to 0.
    factor: what it leaves of the variance within the arms, 1 - rho^2 (1 where there is none).
    """

    theta: FloatArray
    shift: FloatArray
    factor: float


def cuped(metric: ArrayLike, covariates: ArrayLike, arm: NDArray[np.generic] | None = None) -> Cuped:
    """Fit the adjustment of a metric (n,) by covariates (n,) or (n, k), by least squares within the arms (n,).

    A covariate that does not vary gets weight 0; equal ones share theirs. Raises InputError for values that are missing
    or do not fit.
    """
    y, x = np.asarray(metric, dtype=float), np.asarray(covariates, dtype=float)
    x = x[:, None] if x.ndim == 1 else x
    if y.ndim != 1 or x.ndim != 2 or len(x) != len(y) or not len(y):  # noqa: PLR2004 - a table
        raise InputError(f"expected a metric (n,) and covariates (n, k), got {y.shape} and {x.shape}")
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise InputError("a metric or covariate is missing for some units; fill it or leave the covariate out")
    code = np.zeros(len(y), dtype=np.int64) if arm is None else np.unique(arm, return_inverse=True)[1]
    inside_y, inside_x = _centred(y[:, None], code)[:, 0], _centred(x, code)
    scale = np.sqrt(np.mean(inside_x**2, axis=0))
    scale[scale <= 1e-12 * np.abs(x).max(axis=0)] = np.inf  # rounding is no variation
    weights = np.linalg.lstsq(inside_x / scale, inside_y, rcond=None)[0]
    theta = np.asarray(weights / scale)
    total = float(inside_y @ inside_y)
    left = float(np.sum((inside_y - inside_x @ theta) ** 2))
    return Cuped(theta, (x - x.mean(axis=0)) @ theta, left / total if total > 0.0 else 1.0)


def _centred(table: FloatArray, code: IntArray) -> FloatArray:
    """Return a table (n, k) less the mean of each group, code (n,) numbering the groups."""
    count = np.bincount(code)[:, None]
    sums = np.stack([np.bincount(code, weights=column) for column in table.T], axis=1)
    return np.asarray(table - (sums / count)[code])
