"""Intervals: the bootstrap over episodes, the same draws for every policy (paired)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

LEVEL = (2.5, 97.5)


def day_weights(episodes: int, replicates: int, rng: np.random.Generator) -> FloatArray:
    """Return how often each episode is drawn in each replicate (replicates, episodes), with replacement."""
    return rng.multinomial(episodes, np.full(episodes, 1.0 / episodes), size=replicates).astype(np.float64)


def interval(estimate: float, replicates: FloatArray) -> tuple[float, float]:
    """Return the 95 % percentile interval of bootstrap replicates (b,), less their bias; NaN when most are undefined.

    Resampling within an episode repeats some impressions, which shifts a share of the optimum: the replicates' mean is
    moved back onto the estimate, so that the interval lies around what was measured.
    """
    if np.isnan(replicates).mean() > 0.5:  # noqa: PLR2004 - a ratio undefined in most draws has no interval
        return float("nan"), float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        bias = np.nanmean(replicates) - estimate
        low, high = np.nanpercentile(replicates, LEVEL) - (0.0 if np.isnan(bias) else bias)
    return float(low), float(high)
