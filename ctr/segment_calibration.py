"""Calibration by segment: each has its own factor on the odds, drawn towards the overall one.

A segment's log factor is normal around 0 (no change beyond the overall calibration); how far segments differ is learnt
from all of them together. A segment of few clicks stays near the overall calibration, one of many goes its own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bidpilot.ctr.calibration import LIMIT, Calibrator, logit, sigmoid
from bidpilot.ctr.calibrators import find_calibrator
from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.types import FloatArray, IntArray

ROUNDS, ENOUGH = 200, 1e-4
"""Rounds of the fit at most, and the relative change of the spread at which they end."""

START, LEAST = 0.3, 1e-3
"""Log-sd of segments' factors that the fit begins with, and the least it ends with."""

LEAP = 2.0
"""Log-odds that a factor moves at most in a round."""


@dataclass(frozen=True, eq=False)
class SegmentCalibrator:
    """An overall calibrator, then shift (S,) on the log-odds of each segment. spread: log-sd of the factors."""

    overall: Calibrator
    shift: FloatArray
    spread: float

    def __call__(self, p: FloatArray, segment: IntArray) -> FloatArray:
        """Return calibrated probabilities (n,) of predictions p (n,) in segments (n,).

        A segment outside 0..S-1 was not seen when this was fitted: it gets the overall calibration.
        """
        known = (segment >= 0) & (segment < len(self.shift))
        shift = np.where(known, np.append(self.shift, 0.0)[np.where(known, segment, -1)], 0.0)
        return sigmoid(np.clip(logit(self.overall(p)) + shift, -LIMIT, LIMIT))

    @property
    def kind(self) -> str:
        """Say what it does."""
        return f"{self.overall.kind}; {len(self.shift)} segments, odds apart by a factor of {np.exp(self.spread):.3f}"

    def to_arrays(self) -> dict[str, FloatArray]:
        """Return the knots of the overall calibrator, the shifts and their spread."""
        return self.overall.to_arrays() | {"shift": self.shift, "spread": np.array([self.spread])}

    @classmethod
    def from_arrays(cls, arrays: dict[str, FloatArray]) -> Self:
        """Rebuild what to_arrays returned."""
        return cls(Calibrator.from_arrays(arrays), arrays["shift"], float(arrays["spread"][0]))


def fit_segment_calibrator(
    p: FloatArray, y: npt.ArrayLike, segment: IntArray, segments: int, method: str = "isotonic"
) -> SegmentCalibrator:
    """Fit to p (n,), outcomes y (n,) in 0/1 and segments (n,) in 0..segments-1 of rows that the model has not seen.

    method: of the overall calibration, a name of CALIBRATORS. Empirical Bayes: the spread maximises the likelihood
    of all segments by EM, each segment's posterior taken as normal (Breslow & Clayton 1993). Raises InputError for an
    unknown method, a prediction that is no probability, or a segment out of range.
    """
    wrong = np.flatnonzero((segment < 0) | (segment >= segments))
    if len(wrong):
        raise InputError(f"a segment must lie in 0..{segments - 1}; row {wrong[0]} has {segment[wrong[0]]}")
    overall = find_calibrator(method)(p, y)
    score, label = logit(overall(p)), np.asarray(y, dtype=np.float64)
    shift, spread = np.zeros(segments), START
    for _ in range(ROUNDS):
        shift, variance = _round(score, label, segment, shift, spread)
        before, spread = spread, max(float(np.sqrt(np.mean(shift**2 + variance))), LEAST)
        if abs(spread - before) < ENOUGH * before:
            break
    return SegmentCalibrator(overall, shift, spread)


def _round(
    score: FloatArray, label: FloatArray, segment: IntArray, shift: FloatArray, spread: float
) -> tuple[FloatArray, FloatArray]:
    """Return the shifts (S,) one Newton step nearer to their posterior mode, and the posterior variances (S,)."""
    p, precision = sigmoid(score + shift[segment]), 1.0 / spread**2
    surplus = np.bincount(segment, label - p, len(shift)) - precision * shift
    information = np.bincount(segment, p * (1.0 - p), len(shift)) + precision
    return np.asarray(shift + np.clip(surplus / information, -LEAP, LEAP)), np.asarray(1.0 / information)
