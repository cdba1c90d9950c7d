"""Makes predicted probabilities agree with what happened, on rows the model was not trained on.

A calibrator is a rising, piecewise linear map of log-odds with slope 1 beyond its ends. One knot is a scaling
of the odds; two at +-LIMIT are a straight line (calibrators.py); many knots are an isotonic regression. It never
changes the order of two predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.types import FloatArray, IntArray

LIMIT = 16.0
"""Log-odds are clipped to +-LIMIT, so that no probability is 0 or 1."""

MIN_SLOPE = 0.02
"""A flat stretch of the isotonic regression keeps this slope, so that the order of predictions survives."""

BIN_POSITIVES = 10
"""Isotonic regression sees rows in bins of so many expected positives: single rows would make steps of their own."""

BLOCK_PRIOR = 5.0
"""Positives' worth of trust in the scaled prediction, per block of the isotonic regression."""

TOTAL_PRIOR = 5.0
"""Positives' worth of trust in the model's own total, where positives are few."""

SHAPE_BINS = 20
"""Bins at most, of equal expected positives, that tell whether a calibrator's shape is more than chance."""

ENDS = np.array([-LIMIT, LIMIT])
"""Knots of a straight line: no log-odds lie beyond them."""


@dataclass(frozen=True, eq=False)
class Calibrator:
    """Knots x (k,), strictly rising, and their images y (k,), in log-odds."""

    x: FloatArray
    y: FloatArray

    def __call__(self, p: FloatArray) -> FloatArray:
        """Return calibrated probabilities (n,), strictly between 0 and 1."""
        score = logit(p)
        inside = np.interp(score, self.x, self.y)
        beyond = np.minimum(score - self.x[0], 0.0) + np.maximum(score - self.x[-1], 0.0)
        return sigmoid(np.clip(inside + beyond, -LIMIT, LIMIT))

    @property
    def kind(self) -> str:
        """Say what it does: identity, odds scaling, a straight line, or isotonic."""
        if np.array_equal(self.x, ENDS):
            slope = float(self.y[1] - self.y[0]) / (2.0 * LIMIT)
            return f"log-odds x {slope:.3f} {float(self.y.mean()):+.3f}"
        if len(self.x) > 1:
            return f"isotonic, {len(self.x)} knots"
        shift = float(self.y[0] - self.x[0])
        return f"odds x {np.exp(shift):.3f}" if shift else "identity"

    def to_arrays(self) -> dict[str, FloatArray]:
        """Return the knots."""
        return {"x": self.x, "y": self.y}

    @classmethod
    def from_arrays(cls, arrays: dict[str, FloatArray]) -> Self:
        """Rebuild what to_arrays returned."""
        return cls(arrays["x"], arrays["y"])


IDENTITY = Calibrator(np.zeros(1), np.zeros(1))
"""Changes nothing."""


def fit_calibrator(p: FloatArray, y: npt.ArrayLike, min_positives: int = 50) -> Calibrator:
    """Fit on predictions p (n,) and outcomes y (n,) in 0/1 of rows the model has not seen.

    Without both outcomes: the identity. Below min_positives of either outcome: one factor on the odds, between
    none and that which makes predicted = actual. Otherwise isotonic regression, each block drawn towards the
    scaled prediction, with predicted = actual. Raises InputError when a prediction is no probability.
    """
    check_probabilities(p)
    label, score = np.asarray(y, dtype=np.float64), logit(p)
    positives, expected = label.sum(), sigmoid(score).sum()
    rarer = min(positives, len(label) - positives)
    if rarer == 0:
        return IDENTITY
    if rarer < min_positives:
        blend = (positives + TOTAL_PRIOR) / (expected + TOTAL_PRIOR) * expected
        return Calibrator(np.zeros(1), np.array([_shift(score, min(blend, len(label) - 0.5))]))
    return _isotonic(score, sigmoid(score + _shift(score, positives)), label)


def settle(calibrator: Calibrator, p: FloatArray, y: npt.ArrayLike, learned: float = 0.0) -> Calibrator:
    """Draw an isotonic calibrator, fitted to p (n,) and y (n,) in 0/1, towards the model as far as chance explains it.

    By positive-part James-Stein (Efron & Morris 1973), level and shape apart. The level moves by d on log-odds, of
    variance v = 1 / positives here + 1 / learned, the positives that the model's own level rests on (0: on none); kept
    is max(0, 1 - v / d^2) of it. Of what else it bends, max(0, 1 - (K - 1) / chi^2) is kept, with chi^2 of K bins of
    actual against levelled predictions. A scaling of the odds, fitted where positives are few, has its own prior.
    """
    if len(calibrator.x) == 1:
        return calibrator
    score, label = logit(p), np.asarray(y, dtype=np.float64)
    d = _shift(score, label.sum())
    levelled = sigmoid(score + d)
    bins = _bins(score, levelled, min(SHAPE_BINS, max(int(label.sum()) // BIN_POSITIVES, 2)))
    expected, rows = np.bincount(bins, levelled), np.bincount(bins)
    scatter = (np.bincount(bins, label) - expected) ** 2 / (expected * (1.0 - expected / rows))
    shape = _kept(float(len(rows) - 1), float(scatter.sum()))
    level = _kept(1.0 / label.sum() + (1.0 / learned if learned else 0.0), d**2)
    return Calibrator(calibrator.x, calibrator.x + level * d + shape * (calibrator.y - calibrator.x - d))


def check_probabilities(p: FloatArray) -> None:
    """Raise InputError when a prediction of p (n,) is no probability."""
    wrong = np.flatnonzero(~((p >= 0.0) & (p <= 1.0)))
    if len(wrong):
        raise InputError(f"a prediction must lie in 0..1; row {wrong[0]} has {p[wrong[0]]}")


def pava(y: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return isotonic regression by pooling adjacent violators: block means and block weights, both (blocks,).

    Barlow et al., Statistical Inference under Order Restrictions, 1972.
    """
    means: list[float] = []
    weights: list[float] = []
    for value, mass in zip(y.tolist(), weight.tolist(), strict=True):
        means.append(value)
        weights.append(mass)
        while len(means) > 1 and means[-2] >= means[-1]:
            total = weights[-2] + weights[-1]
            means[-2:] = [(means[-2] * weights[-2] + means[-1] * weights[-1]) / total]
            weights[-2:] = [total]
    return np.array(means), np.array(weights)


def logit(p: FloatArray) -> FloatArray:
    """Return log-odds, clipped to +-LIMIT."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(p) - np.log1p(-p), -LIMIT, LIMIT))


def sigmoid(score: FloatArray) -> FloatArray:
    """Return the probability of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-score)))


def _kept(chance: float, seen: float) -> float:
    """Return the share of a square seen that chance does not explain."""
    return max(0.0, 1.0 - chance / seen) if seen > 0.0 else 0.0


def _isotonic(score: FloatArray, p: FloatArray, label: FloatArray) -> Calibrator:
    """Return the isotonic calibrator of scores whose scaled probabilities p already sum to the positives.

    Knots are the mean scores of the blocks, and the ends of the first and the last.
    """
    bins = _bins(score, p, int(min(label.sum(), (1.0 - label).sum()) // BIN_POSITIVES))
    count = np.bincount(bins).astype(np.float64)
    _, weight = pava(np.bincount(bins, label) / count, count)
    block = np.searchsorted(np.cumsum(weight), np.cumsum(count) - 0.5 * count)[bins]
    n, expected, actual = (np.bincount(block, values) for values in (np.ones_like(label), p, label))
    misses = (n - actual + BLOCK_PRIOR) / (n - expected + BLOCK_PRIOR) * (n - expected)
    hits = (actual + BLOCK_PRIOR) / (expected + BLOCK_PRIOR) * expected
    centre, level = np.bincount(block, score) / n, np.log(hits) - np.log(misses)
    ends = np.array([score.min(), score.max()])
    outer = level[[0, -1]] + MIN_SLOPE * (ends - centre[[0, -1]])
    x, first = np.unique(np.concatenate([centre, ends]), return_index=True)
    y = np.concatenate([level, outer])[first]
    y = np.maximum.accumulate(y - MIN_SLOPE * x) + MIN_SLOPE * x
    shape = Calibrator(x, y)
    return Calibrator(x, y + _shift(logit(shape(sigmoid(score))), label.sum()))


def _bins(score: FloatArray, p: FloatArray, bins: int) -> IntArray:
    """Return the bin (n,) of every row: rising scores, about equal sums of p, equal scores together, none empty."""
    _, level = np.unique(score, return_inverse=True)
    mass = np.bincount(level, p)
    place = ((np.cumsum(mass) - 0.5 * mass) / mass.sum() * bins).astype(np.int64)
    return np.asarray(np.unique(place[level], return_inverse=True)[1], dtype=np.int64)


def _shift(score: FloatArray, positives: float) -> float:
    """Return s with sum sigmoid(score + s) = positives, by bisection."""
    low, high = -2.0 * LIMIT, 2.0 * LIMIT
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if sigmoid(score + middle).sum() < positives else (low, middle)
    return 0.5 * (low + high)
