"""Scores of many episodes and training seeds in a few robust figures, with intervals (Agarwal et al. 2021).

The bootstrap is stratified: training seeds are drawn within each policy, days jointly for all policies, so that a
difference keeps only its own noise. Scores are (seeds, budgets, days); a seed's policy plays all budgets, so a drawn
seed brings all of its row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.experiments.statistics import day_weights, seed_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bidpilot.ctr.types import FloatArray, IntArray

REPLICATES = 2000
STEP = 0.005
"""Of the thresholds of a performance profile."""


def iqm(scores: FloatArray) -> FloatArray:
    """Return the interquartile mean (...) of scores (..., n): a quarter of them is cut off at either end.

    Equals scipy.stats.trim_mean(scores, 0.25, axis=-1). NaN where a score is.
    """
    count = scores.shape[-1]
    cut = count // 4
    return np.asarray(np.sort(scores, axis=-1)[..., cut : count - cut].mean(axis=-1))


def beats(mine: FloatArray, other: FloatArray) -> FloatArray:
    """Return 1 where a score is above the other, 1/2 where they are equal, else 0; broadcast."""
    return 0.5 * (np.asarray(mine > other, dtype=np.float64) + (mine >= other))


def thresholds(highest: float) -> FloatArray:
    """Return the thresholds of a performance profile, from 0 to 1 or the highest score, if that is above."""
    return np.arange(round(np.ceil(max(highest, 1.0) / STEP)) + 1) * STEP


def above(scores: FloatArray, taus: FloatArray) -> FloatArray:
    """Return whether scores (...) lie above thresholds (t,), as numbers (..., t)."""
    return (scores[..., None] > taus).astype(np.float64)


def percentiles(draws: FloatArray, level: tuple[float, float] = (2.5, 97.5)) -> tuple[FloatArray, FloatArray]:
    """Return the percentile interval (...) of draws (1 + replicates, ...): the estimate, then its replicates."""
    low, high = np.percentile(draws[1:], level, axis=0)
    return low, high


class Stratified:
    """The draws of one bootstrap; what its methods return is (1 + replicates, ...): the estimate, then replicates."""

    def __init__(
        self, seeds: Mapping[str, int], days: int, rng: np.random.Generator, replicates: int = REPLICATES
    ) -> None:
        """Draw. seeds: number of training seeds by policy."""
        self._days = np.concatenate([np.ones((1, days)), day_weights(days, replicates, rng)])
        self._seeds = {
            name: np.concatenate([np.ones((1, count)), seed_weights(count, replicates, rng)])
            for name, count in seeds.items()
        }

    def over_days(self, values: FloatArray) -> FloatArray:
        """Return sums over days (1 + replicates, ...) of values (..., days)."""
        days = values.shape[-1]
        sums = self._days @ values.reshape(-1, days).T
        return np.asarray(sums.reshape(-1, *values.shape[:-1]))

    def over_seeds(self, name: str, values: FloatArray) -> FloatArray:
        """Return means over a policy's seeds (1 + replicates, ...) of values (1 + replicates, seeds, ...)."""
        weights = self._seeds[name] / self._seeds[name].sum(axis=1, keepdims=True)
        return np.asarray(np.einsum("rs...,rs->r...", values, weights))

    def mean(self, name: str, values: FloatArray) -> FloatArray:
        """Return means (1 + replicates, ...) of a policy's values (seeds, ..., days) over seeds and days."""
        return np.asarray(self.over_seeds(name, self.over_days(values)) / values.shape[-1])

    def profile(self, name: str, scores: FloatArray, taus: FloatArray) -> FloatArray:
        """Return P(score > tau) (1 + replicates, t) of a policy's scores (seeds, budgets, days)."""
        shares = np.moveaxis(above(scores, taus).mean(axis=1), -1, 1)
        return self.mean(name, shares)

    def improvement(self, name: str, mine: FloatArray, other: str, theirs: FloatArray) -> FloatArray:
        """Return P(mine > theirs) + P(equal) / 2, (1 + replicates,): pairs of seeds on the same budget and day."""
        won = beats(mine[:, None], theirs[None]).mean(axis=2)
        pairs = self.over_seeds(other, self.over_seeds(name, self.over_days(won)))
        return np.asarray(pairs / won.shape[-1])

    def iqm(self, name: str, scores: FloatArray) -> FloatArray:
        """Return the interquartile mean (1 + replicates,) of a policy's scores (seeds, budgets, days), all pooled."""
        days, seeds = drawn(self._days[1:]), drawn(self._seeds[name][1:])
        pooled = np.moveaxis(scores, 1, -1)[seeds[:, :, None], days[:, None, :]]
        return np.append(iqm(scores.reshape(-1)), iqm(pooled.reshape(len(pooled), -1)))


def drawn(weights: FloatArray) -> IntArray:
    """Return which units (replicates, m) were drawn, where weights (replicates, n) say how often; m draws in each."""
    replicates, units = weights.shape
    each = np.tile(np.arange(units), replicates)
    return np.repeat(each, weights.astype(np.int64).ravel()).reshape(replicates, -1)
