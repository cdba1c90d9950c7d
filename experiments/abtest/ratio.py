"""Ratios of sums over units (CPA, ROAS, CTR per user), their difference and lift between arms, by the delta method.

The unit is what was randomised; its rows are summed first, so that rows of one unit may depend on each other. Ratio of
sums R = sum(a) / sum(b): one unit moves it by (a_i - R b_i) / sum(b), and R's variance is n / (n - 1) times the sum of
squares of these influences (Deng, Knoblich & Lu 2018, "Applying the Delta Method in Metric Analytics"). A mean is the
ratio with all b = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.estimate import Estimate, quantile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bidpilot.ctr.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of sums over some of N units.

    influence: (N,) how each unit moves the value, 0 for units of other arms, scaled so that its sum of squares is the
    variance of the value.
    """

    value: float
    influence: FloatArray

    @property
    def error(self) -> float:
        """Standard error of the value."""
        return float(np.sqrt(np.sum(self.influence**2)))


def ratio(numerator: ArrayLike, denominator: ArrayLike, chosen: BoolArray | None = None) -> Ratio:
    """Return sum(numerator) / sum(denominator) over the chosen of N units (all of them without `chosen`).

    NaN where the denominators sum to 0. Raises InputError for fewer than 2 units, or arrays that do not fit.
    """
    above, below = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    inside = np.ones(above.shape, dtype=bool) if chosen is None else chosen
    units = int(inside.sum())
    if above.ndim != 1 or not above.shape == below.shape == inside.shape or units < 2:  # noqa: PLR2004 - no spread in one
        raise InputError(f"expected two lists of equal length with at least 2 units, got {above.shape}, {below.shape}")
    total = float(below[inside].sum())
    if total == 0.0:
        return Ratio(float("nan"), np.full(len(above), np.nan))
    value = float(above[inside].sum()) / total
    influence = np.where(inside, (above - value * below) / total, 0.0)
    return Ratio(value, influence * np.sqrt(units / (units - 1)))


def difference(treated: Ratio, control: Ratio) -> Estimate:
    """Return treated - control; both over the same list of N units."""
    return Estimate(treated.value - control.value, _length(treated.influence - control.influence))


@dataclass(frozen=True, slots=True)
class Relative:
    """The lift of one ratio over another, treated / control - 1.

    error: standard error by the delta method. variances: of treated, of control, and their covariance.
    """

    value: float
    error: float
    treated: float
    control: float
    variances: tuple[float, float, float]

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Return the interval of Fieller 1954, which is not symmetric: all lifts that the data do not refuse at alpha.

        It leaves out 0 exactly when the difference's p-value is below alpha. Infinite where the control itself cannot
        be told from 0, as then any lift is possible.
        """
        reach = quantile(1.0 - alpha / 2.0) ** 2
        ours, theirs, both = self.variances
        square, slope = self.control**2 - reach * theirs, self.treated * self.control - reach * both
        if not square > 0.0:
            return float("-inf"), float("inf")
        root = math.sqrt(max(slope**2 - square * (self.treated**2 - reach * ours), 0.0))
        return (slope - root) / square - 1.0, (slope + root) / square - 1.0


def lift(treated: Ratio, control: Ratio) -> Relative:
    """Return treated / control - 1; both over the same list of N units. NaN where the control is 0."""
    times = treated.value / control.value if control.value != 0.0 else float("nan")
    error = _length(treated.influence - times * control.influence) / abs(control.value or float("nan"))
    both = float(treated.influence @ control.influence)
    variances = treated.error**2, control.error**2, both
    return Relative(times - 1.0, error, treated.value, control.value, variances)


def sum_by_unit(unit: ArrayLike, *columns: ArrayLike) -> tuple[FloatArray, ...]:
    """Return the sums (N,) of columns (rows,) over the rows of each unit, units in sorted order."""
    _, place = np.unique(np.asarray(unit), return_inverse=True)
    sums = (np.bincount(place, weights=np.asarray(column, dtype=float)) for column in columns)
    return tuple(np.asarray(each, dtype=np.float64) for each in sums)


def _length(influence: FloatArray) -> float:
    return float(np.sqrt(np.sum(influence**2)))
