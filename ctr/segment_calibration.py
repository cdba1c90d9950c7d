"""Calibration by segment: each has its own factor on the odds, drawn towards the overall one.

A segment's log factor is normal around 0 (no change beyond the overall calibration); how far segments differ is learnt
from all of them together. A segment of few clicks stays near the overall calibration, one of many goes its own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from bidpilot.ctr.calibration import LIMIT, check_probabilities, logit, sigmoid

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from bidpilot.ctr.types import FloatArray, IntArray

ROUNDS, ENOUGH = 200, 1e-4
"""Rounds of the fit at most, and the relative change of the spread at which they end."""

START, LEAST = 0.3, 1e-3
"""Log-sd of segments' factors that the fit begins with, and the least it ends with."""

LEAP = 2.0
"""Log-odds that a factor moves at most in a round."""


@dataclass(frozen=True, eq=False)
class SegmentShifts:
    """The shift (S,) on the log-odds of each named segment. spread: log-sd of the segments' factors."""

    names: tuple[str, ...]
    shift: FloatArray
    spread: float

    def __call__(self, p: FloatArray, segment: npt.ArrayLike) -> FloatArray:
        """Return the probabilities (n,) of calibrated predictions p (n,) in segments (n,) of these names.

        A segment that was not seen when this was fitted keeps the overall calibration.
        """
        place = pd.Index(self.names).get_indexer(pd.Index(np.asarray(segment, dtype=object)))
        shift = np.append(self.shift, 0.0)[place]
        return sigmoid(np.clip(logit(p) + shift, -LIMIT, LIMIT))

    @property
    def kind(self) -> str:
        """Say what it does."""
        return f"{len(self.shift)} segments, odds apart by a factor of {np.exp(self.spread):.3f}"

    def to_arrays(self) -> dict[str, FloatArray]:
        """Return the shifts and their spread; the names are text and are saved beside them."""
        return {"shift": self.shift, "spread": np.array([self.spread])}

    @classmethod
    def from_arrays(cls, names: Iterable[str], arrays: dict[str, FloatArray]) -> Self:
        """Rebuild what to_arrays returned."""
        return cls(tuple(names), arrays["shift"], float(arrays["spread"][0]))


def fit_segment_shifts(p: FloatArray, y: npt.ArrayLike, segment: npt.ArrayLike) -> SegmentShifts:
    """Fit to calibrated p (n,), outcomes y (n,) in 0/1 and segments (n,) of rows that the model has not seen.

    Empirical Bayes: the spread maximises the likelihood of all segments by EM, each segment's posterior taken as normal
    (Breslow & Clayton 1993). Raises InputError for a prediction that is no probability.
    """
    check_probabilities(p)
    names, place = np.unique(np.asarray(segment, dtype=object), return_inverse=True)
    score, label = logit(p), np.asarray(y, dtype=np.float64)
    shift, spread = np.zeros(len(names)), START
    for _ in range(ROUNDS):
        shift, variance = _round(score, label, place, shift, spread)
        before, spread = spread, max(float(np.sqrt(np.mean(shift**2 + variance))), LEAST)
        if abs(spread - before) < ENOUGH * before:
            break
    return SegmentShifts(tuple(map(str, names)), shift, spread)


def _round(
    score: FloatArray, label: FloatArray, segment: IntArray, shift: FloatArray, spread: float
) -> tuple[FloatArray, FloatArray]:
    """Return the shifts (S,) one Newton step nearer to their posterior mode, and the posterior variances (S,)."""
    p, precision = sigmoid(score + shift[segment]), 1.0 / spread**2
    surplus = np.bincount(segment, label - p, len(shift)) - precision * shift
    information = np.bincount(segment, p * (1.0 - p), len(shift)) + precision
    return np.asarray(shift + np.clip(surplus / information, -LEAP, LEAP)), np.asarray(1.0 / information)
