"""Intervals and p-values that hold however often one looks: the mixture sequential probability ratio test.

Johari, Koomen, Pekelis & Walsh 2017, "Peeking at A/B Tests". With d the difference of the means so far and V its
variance, the likelihood ratio mixed over effects N(0, tau^2) is

    L = sqrt(V / (V + tau^2)) exp(tau^2 d^2 / (2 V (V + tau^2))).

The chance that L ever exceeds 1 / alpha without an effect is at most alpha: 1 / L is a p-value at every look. V is
estimated from the data, so the promise is one for large samples: nothing is said before `first` units of each arm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.estimate import check_positive, check_share

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bidpilot.ctr.types import BoolArray, FloatArray

FIRST = 100
"""Units of each arm before the first look."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What could be said after each unit, from the first look on (looks,).

    units: so far, both arms. difference: of the means, treated - control. low, high: the always-valid interval, the
    intersection of those of all looks so far; low > high, which is rare, says that the effect has changed. p: the
    smallest so far.
    """

    units: FloatArray
    difference: FloatArray
    low: FloatArray
    high: FloatArray
    p: FloatArray


def watch(metric: ArrayLike, treated: BoolArray, tau: float, alpha: float = 0.05, first: int = FIRST) -> Looks:
    """Return every look at units (n,) in order of arrival; treated (n,): which arm each is in.

    No looks while an arm has fewer than `first` units or no two different values. tau: see best_tau. Raises InputError
    for values that are missing or do not fit.
    """
    y = np.asarray(metric, dtype=float)
    check_share("alpha", alpha), check_positive("tau", tau)
    if y.ndim != 1 or y.shape != treated.shape or not np.isfinite(y).all() or first < 2:  # noqa: PLR2004 - two have a spread
        raise InputError("expected numbers (n,) and as many arms, and a first look after 2 units or more of each arm")
    size, mean, variance = (np.stack(pair) for pair in zip(_running(y, ~treated), _running(y, treated), strict=True))
    seen = (size.min(axis=0) >= first) & (variance.min(axis=0) > 0.0)
    difference = (mean[1] - mean[0])[seen]
    noise = (variance / np.maximum(size, 1.0)).sum(axis=0)[seen]
    reach = half_width(noise, tau, alpha)
    low = np.maximum.accumulate(difference - reach)
    high = np.minimum.accumulate(difference + reach)
    p = np.minimum.accumulate(p_value(difference, noise, tau))
    return Looks(size.sum(axis=0)[seen], difference, low, high, p)


def p_value(difference: ArrayLike, noise: ArrayLike, tau: float) -> FloatArray:
    """Return min(1, 1 / L) for differences and their variances (looks,); valid at all looks together."""
    d, v = np.asarray(difference, dtype=float), np.asarray(noise, dtype=float)
    log_ratio = 0.5 * np.log(v / (v + tau**2)) + tau**2 * d**2 / (2.0 * v * (v + tau**2))
    return np.asarray(np.exp(-np.maximum(log_ratio, 0.0)))


def half_width(noise: ArrayLike, tau: float, alpha: float = 0.05) -> FloatArray:
    """Return how far from the difference the truth may lie, (looks,): where p_value falls to alpha."""
    v = np.asarray(noise, dtype=float)
    return np.asarray(np.sqrt(v * (v + tau**2) / tau**2 * (2.0 * math.log(1.0 / alpha) + np.log1p(tau**2 / v))))


def best_tau(noise: float, alpha: float = 0.05) -> float:
    """Return the tau that makes the interval narrowest where the difference has this variance.

    noise: what V will be at the planned end, var0 / n0 + var1 / n1; any tau is valid if it is chosen before the looks,
    a poor one only widens the interval. With r = tau^2 / V the width is least at r = 2 log(1 / alpha) + log(1 + r).
    """
    check_positive("the variance at the planned end", noise)
    level = 2.0 * math.log(1.0 / check_share("alpha", alpha))
    ratio = level
    for _ in range(60):  # a contraction by 1 / (1 + r) each time
        ratio = level + math.log1p(ratio)
    return math.sqrt(ratio * noise)


def _running(y: FloatArray, inside: BoolArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return count, mean and variance of the units inside after each of all units (n,)."""
    centre = float(y.mean()) if len(y) else 0.0  # without it the squares would cancel
    size = np.cumsum(inside, dtype=float)
    total, squares = (np.cumsum(np.where(inside, (y - centre) ** power, 0.0)) for power in (1, 2))
    mean = total / np.maximum(size, 1.0)
    variance = np.maximum(squares - size * mean**2, 0.0) / np.maximum(size - 1.0, 1.0)
    return size, mean + centre, variance
