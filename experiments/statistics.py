"""Intervals and p-values: the bootstrap over episodes, the same draws for every policy (paired)."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

LEVEL = (2.5, 97.5)
MOST = 0.5
"""A ratio that is undefined in more than this share of the draws has neither interval nor p-value."""

RESOLVED = 10
"""With fewer replicates beyond 0, how many there are is mostly luck: the tail is then the normal law's."""


def day_weights(episodes: int, replicates: int, rng: np.random.Generator) -> FloatArray:
    """Return how often each episode is drawn in each replicate (replicates, episodes), with replacement."""
    return rng.multinomial(episodes, np.full(episodes, 1.0 / episodes), size=replicates).astype(np.float64)


def seed_weights(seeds: int, replicates: int, rng: np.random.Generator) -> FloatArray:
    """Return how often each training seed is drawn in each replicate (replicates, seeds), with replacement.

    One draw fewer than there are seeds (Rao and Wu 1988): they are few, and the usual bootstrap of five has a variance
    a fifth too small. A single seed is always drawn: nothing is known of how seeds differ.
    """
    return rng.multinomial(max(seeds - 1, 1), np.full(seeds, 1.0 / seeds), size=replicates).astype(np.float64)


def interval(estimate: float, replicates: FloatArray) -> tuple[float, float]:
    """Return the 95 % percentile interval of bootstrap replicates (b,), less their bias; NaN if most are undefined."""
    low, high = np.nanpercentile(centred(estimate, replicates), LEVEL) if _known(replicates) else (np.nan, np.nan)
    return float(low), float(high)


def centred(estimate: float, replicates: FloatArray) -> FloatArray:
    """Return bootstrap replicates (b,) moved so that their mean is the estimate.

    Resampling within an episode repeats some impressions, which shifts a share of the optimum: moved back, the
    replicates lie around what was measured.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        bias = np.nanmean(replicates) - estimate
    return replicates - (0.0 if np.isnan(bias) else bias)


def p_value(difference: float, replicates: FloatArray) -> float:
    """Return the two-sided p-value of "no difference", from bootstrap replicates (b,) of the difference.

    Twice the share of replicates on the other side of 0: below 0.05 just where the 95 % percentile interval leaves 0
    out. Where hardly any is, the normal law of their spread stands in for what the replicates cannot resolve; several
    claims at once need p-values far below 2 / b. NaN when most are undefined.
    """
    if not _known(replicates) or math.isnan(difference):
        return float("nan")
    known = replicates[~np.isnan(replicates)]
    beyond = min(int((known <= 0).sum()), int((known >= 0).sum()))
    share = min(1.0, 2 * (beyond + 1) / (len(known) + 1))
    spread = float(known.std())
    if beyond >= RESOLVED or spread == 0.0:
        return share
    return min(math.erfc(abs(difference) / spread / math.sqrt(2.0)), 2 * (RESOLVED + 1) / (len(known) + 1), 1.0)


def _known(replicates: FloatArray) -> bool:
    """Tell whether enough replicates are defined."""
    return bool(np.isnan(replicates).mean() <= MOST)
