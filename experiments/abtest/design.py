"""How many units a test needs, and what effect a number of units can show: before anything is run.

One formula for all: an effect d is found with the wanted power when d^2 = (z_alpha + z_power)^2 (v0 + v1) / n, where v0
and v1 are the variances of one unit in the two arms and n the units of each. Metrics differ in their v alone. Normal
quantiles are used throughout (see estimate.Estimate).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.estimate import check_positive, check_share, quantile
from bidpilot.experiments.abtest.ratio import ratio

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray


@dataclass(frozen=True, slots=True)
class Certainty:
    """How sure the answer has to be.

    alpha: chance of any false claim; power: chance to find an effect that is there; arms: with the control. rho: the
    multiple correlation of the metric with what CUPED adjusts by, 0 for none.
    With several arms each comparison gets alpha / (arms - 1), the first and hardest step of Holm: the power is then
    reached for every arm, whatever the others do.
    """

    alpha: float = 0.05
    power: float = 0.8
    arms: int = 2
    rho: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no test."""
        check_share("alpha", self.alpha)
        check_share("power", self.power)
        if self.arms < 2:  # noqa: PLR2004 - a control and something to compare with it
            raise InputError(f"a test has at least 2 arms, the control among them; got {self.arms}")
        if not -1.0 < self.rho < 1.0:
            raise InputError(f"a correlation (rho) lies between -1 and 1, both excluded; it is {self.rho}")

    @property
    def factor(self) -> float:
        """(z_alpha + z_power)^2 times what CUPED leaves of the variance, 1 - rho^2."""
        level = self.alpha / (self.arms - 1)
        return (quantile(1.0 - level / 2.0) + quantile(self.power)) ** 2 * (1.0 - self.rho**2)


class Metric(Protocol):
    """What is compared: how noisy one unit of it is."""

    def variance(self, effect: float) -> float:
        """Return the variance of a control unit plus that of a treated one, on the scale of the effect."""

    def smallest(self, share: float) -> float:
        """Return the d > 0 of d^2 = share * variance(d). Raises InputError where there is none."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean per unit; sd: of one unit, the same in both arms."""

    sd: float

    def __post_init__(self) -> None:
        """Refuse a sd that is none."""
        check_positive("the standard deviation", self.sd)

    @classmethod
    def of_ratio(cls, numerator: FloatArray, denominator: FloatArray) -> Mean:
        """Return the ratio of sums as a mean: its linearised units (n,), n >= 2 units of a pilot, have this sd.

        Raises InputError when the denominators sum to 0.
        """
        found = ratio(numerator, denominator)
        return cls(float(math.sqrt(len(numerator)) * found.error))

    def variance(self, effect: float) -> float:  # noqa: ARG002 - the same for every effect
        """Return twice the variance of one unit."""
        return 2.0 * self.sd**2

    def smallest(self, share: float) -> float:
        """Return the smallest effect."""
        return math.sqrt(share * self.variance(0.0))


@dataclass(frozen=True, slots=True)
class Rate:
    """The share of units that do something; base: that of the control. An effect adds to it."""

    base: float

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        check_share("the base rate", self.base)

    def variance(self, effect: float) -> float:
        """Return p0 (1 - p0) + p1 (1 - p1). Raises InputError when p1 = base + effect is no share."""
        treated = self.base + effect
        if not 0.0 <= treated <= 1.0:
            raise InputError(
                f"a rate of {self.base} moved by {effect} is {treated}, outside 0 to 1; give a smaller lift"
            )
        return self.base * (1.0 - self.base) + treated * (1.0 - treated)

    def smallest(self, share: float) -> float:
        """Return the smallest rise. Raises InputError when even a rate of 1 would not be found."""
        slope, constant = share * (1.0 - 2.0 * self.base), 2.0 * share * self.base * (1.0 - self.base)
        found = (slope + math.sqrt(slope**2 + 4.0 * (1.0 + share) * constant)) / (2.0 * (1.0 + share))
        if self.base + found > 1.0:
            raise InputError(f"too few units: no rate above {self.base} would be found; give more of them")
        return found


@dataclass(frozen=True, slots=True)
class Periods:
    """Periods of a switchback as units.

    between: sd of the noise that a whole period shares; within: sd of the mean of one hour. length, washout and
    carry_over: hours. In the first carry_over hours after a switch the earlier arm still acts in full; hours before
    the washout's end are not counted. switch: share of the periods whose predecessor had the other arm.
    """

    between: float
    within: float
    length: float
    washout: float = 0.0
    carry_over: float = 0.0
    switch: float = 0.5

    def __post_init__(self) -> None:
        """Refuse periods of which nothing is left."""
        if not 0.0 <= self.washout < self.length:
            raise InputError(f"the washout ({self.washout} h) must be shorter than a period ({self.length} h)")
        if min(self.between, self.within, self.carry_over) < 0.0 or not self.between + self.within > 0.0:
            raise InputError("between, within and carry_over must not be negative, and some noise above 0")
        if not self.seen > 0.0:
            raise InputError("the carry-over hides the whole effect; choose longer periods or a longer washout")

    @property
    def seen(self) -> float:
        """The share of the effect that a plain comparison of the counted hours shows."""
        spoiled = min(max(self.carry_over - self.washout, 0.0) / (self.length - self.washout), 1.0)
        return 1.0 - 2.0 * self.switch * spoiled

    def variance(self, effect: float) -> float:  # noqa: ARG002 - the same for every effect
        """Return twice the variance of a period's mean, on the scale of the whole effect."""
        return 2.0 * (self.between**2 + self.within**2 / (self.length - self.washout)) / self.seen**2

    def smallest(self, share: float) -> float:
        """Return the smallest effect."""
        return math.sqrt(share * self.variance(0.0))


def units_per_arm(metric: Metric, effect: float, certainty: Certainty) -> int:
    """Return how many units (periods) each arm needs to find the effect. Raises InputError for an effect of 0."""
    if effect == 0.0 or not math.isfinite(effect):
        raise InputError(f"the effect to find must be a number other than 0; it is {effect}")
    return max(2, math.ceil(certainty.factor * metric.variance(effect) / effect**2))


def smallest_effect(metric: Metric, units: int, certainty: Certainty) -> float:
    """Return the smallest effect that this many units (periods) per arm find (the minimum detectable effect)."""
    if units < 2:  # noqa: PLR2004 - one unit has no spread
        raise InputError(f"each arm needs at least 2 units; got {units}")
    return metric.smallest(certainty.factor / units)
