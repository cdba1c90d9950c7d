"""The ways to calibrate, by name. Each gives a Calibrator, so that all are saved, loaded and applied alike.

platt and temperature are straight lines in log-odds. Their prior is the model as it stands: on little evidence they
change little, and no sample, separable or not, sends them to infinity (what Platt's smoothed targets are for).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from bidpilot.ctr.calibration import (
    ENDS,
    IDENTITY,
    MIN_SLOPE,
    TOTAL_PRIOR,
    Calibrator,
    check_probabilities,
    fit_calibrator,
    logit,
    settle,
    sigmoid,
)
from bidpilot.ctr.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import FloatArray

    Fit: TypeAlias = Callable[[FloatArray, npt.ArrayLike], Calibrator]

STEPS, ENOUGH = 50, 1e-9
"""Newton steps at most, and the step of log-odds at which they end."""

NEVER = 2**62
"""More positives than any log has: below them fit_calibrator scales the odds."""


def fit_platt(p: FloatArray, y: npt.ArrayLike) -> Calibrator:
    """Fit slope and intercept in log-odds (Platt 1999) to predictions p (n,) and outcomes y (n,) in 0/1.

    Without both outcomes: the identity. Raises InputError when a prediction is no probability.
    """
    check_probabilities(p)
    score, label = logit(p), np.asarray(y, dtype=np.float64)
    if not 0.0 < label.sum() < len(label):
        return IDENTITY
    # about the mean score of positives slope and level hardly depend on each other, so each has its own prior
    centre = float(score @ label / label.sum())
    slope, level = _newton(np.column_stack([score - centre, np.ones(len(score))]), score, label)
    return _line(1.0 + slope, level - slope * centre)


def fit_temperature(p: FloatArray, y: npt.ArrayLike) -> Calibrator:
    """Fit a slope in log-odds, 1 / temperature (Guo et al. 2017), to p (n,) and y (n,) as fit_platt.

    It turns about p = 1/2: for rare events it moves the level, too, which Platt's intercept can keep.
    """
    check_probabilities(p)
    score, label = logit(p), np.asarray(y, dtype=np.float64)
    if not 0.0 < label.sum() < len(label):
        return IDENTITY
    return _line(1.0 + float(_newton(score[:, None], score, label)[0]), 0.0)


def leave(p: FloatArray, y: npt.ArrayLike) -> Calibrator:
    """Return the identity, whatever p (n,) and y (n,) are; raises InputError as the others."""
    del y
    check_probabilities(p)
    return IDENTITY


CALIBRATORS: dict[str, Fit] = {
    "isotonic": fit_calibrator,
    "odds": partial(fit_calibrator, min_positives=NEVER),
    "platt": fit_platt,
    "temperature": fit_temperature,
    "none": leave,
}
"""Name -> fit(p, y). isotonic, which fit_response settles (settle), scales the odds where positives are few."""


def find_calibrator(name: str) -> Fit:
    """Return the fit of a name. Raises InputError for one that is not in CALIBRATORS."""
    if name not in CALIBRATORS:
        raise unknown("calibration", name, list(CALIBRATORS))
    return CALIBRATORS[name]


def settled(name: str, calibrator: Calibrator, p: FloatArray, y: npt.ArrayLike, learned: float) -> Calibrator:
    """Return a calibrator that was fitted under a name to p and y, as it is to be used: see calibration.settle.

    Only isotonic is settled: the others have priors of their own.
    """
    return settle(calibrator, p, y, learned) if name == "isotonic" else calibrator


def _line(slope: float, intercept: float) -> Calibrator:
    return Calibrator(ENDS, max(slope, MIN_SLOPE) * ENDS + intercept)


def _newton(design: FloatArray, offset: FloatArray, label: FloatArray) -> FloatArray:
    """Return the changes (k,) of log-odds offset + design @ changes that fit best, penalised by TOTAL_PRIOR / 2 each.

    A positive brings about as much information on a level as 1 unit of the penalty, so the prior weighs as many
    positives as that of the scaled odds.
    """
    change: FloatArray = np.zeros(design.shape[1])
    loss, step = np.inf, np.zeros_like(change)
    for _ in range(STEPS):
        trial = change + step
        score = offset + design @ trial
        now = float((np.logaddexp(0.0, score) - label * score).sum() + 0.5 * TOTAL_PRIOR * trial @ trial)
        if now > loss:
            step *= 0.5
            continue
        change, loss, p = trial, now, sigmoid(score)
        curve = (design.T * (p * (1.0 - p))) @ design + TOTAL_PRIOR * np.eye(len(change))
        slope = design.T @ (p - label) + TOTAL_PRIOR * change
        step = -np.asarray(np.linalg.solve(curve, slope), dtype=np.float64)
        if np.abs(step).max() < ENOUGH:
            break
    return change
