"""A number with its standard error: intervals and p-values by the normal law, as all large samples of units allow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from bidpilot.ctr.errors import InputError


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was measured and its standard error.

    Intervals use normal quantiles, not Student's: with hundreds of units or more the two agree; with a few dozen the
    interval is some per cent too narrow.
    """

    value: float
    error: float

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Return the two-sided interval that misses the truth with chance alpha."""
        reach = quantile(1.0 - alpha / 2.0) * self.error
        return self.value - reach, self.value + reach

    @property
    def p_value(self) -> float:
        """Two-sided p-value of "the truth is 0"; NaN without a positive finite error."""
        if not (self.error > 0.0 and math.isfinite(self.error) and math.isfinite(self.value)):
            return float("nan")
        return math.erfc(abs(self.value) / self.error / math.sqrt(2.0))


def quantile(share: float) -> float:
    """Return the standard normal quantile."""
    return NormalDist().inv_cdf(share)


def check_share(name: str, value: float) -> float:
    """Return a value inside (0, 1). Raises InputError for others."""
    if not 0.0 < value < 1.0:
        raise InputError(f"{name} must be between 0 and 1, both excluded; it is {value}")
    return value


def check_positive(name: str, value: float) -> float:
    """Return a value above 0. Raises InputError for others."""
    if not (value > 0.0 and math.isfinite(value)):
        raise InputError(f"{name} must be a number above 0; it is {value}")
    return value
