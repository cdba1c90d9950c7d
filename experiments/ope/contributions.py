"""What every estimator comes down to: sums over independent units, so that one bootstrap serves all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.experiments.statistics import day_weights, interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bidpilot.ctr.types import FloatArray, IntArray

UNITS = 2_000
"""Rows are put together at random into at most so many units: independent rows stay independent in groups, and a
bootstrap over the groups has the same variance at a fraction of the draws."""
CELLS = 4_000_000
"""Counts that are drawn at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Contributions:
    """An estimate sum(direct) / sum(size) + sum over h of sum(correction[:, h]) / sum(norm[:, h]).

    direct: (n,). correction, norm: (n, H); a bandit has H = 1, episodes have a column for each time. norm of ones gives
    a plain mean, norm of weights a self-normalised one. size: (n,) how many rows an entry is the sum of.
    """

    direct: FloatArray
    correction: FloatArray
    norm: FloatArray
    size: FloatArray

    @classmethod
    def mean(cls, direct: FloatArray) -> Contributions:
        """Return the plain mean of direct (n,)."""
        nothing = np.zeros((len(direct), 1))
        return cls(direct, nothing, np.ones_like(nothing), np.ones(len(direct)))

    def corrected(self, correction: FloatArray, norm: FloatArray | None = None) -> Contributions:
        """Add sums of correction (n,) or (n, H) over those of norm, of ones if not given."""
        table = correction.reshape(len(self.direct), -1)
        by = np.ones_like(table) if norm is None else norm.reshape(table.shape)
        return Contributions(self.direct, table, by, self.size)

    @property
    def estimate(self) -> float:
        """The estimate; NaN where all weights are 0."""
        return float(self.replicates(np.ones((1, len(self.direct))))[0])

    def replicates(self, counts: FloatArray) -> FloatArray:
        """Return the estimate (b,) with every entry counted counts (b, n) times."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (counts @ self.direct) / (counts @ self.size)
            return np.asarray(mean + ((counts @ self.correction) / (counts @ self.norm)).sum(axis=1))

    def by_unit(self, unit: IntArray) -> Contributions:
        """Return the sums over the rows of each unit (n,) 0 .. u - 1."""
        count = int(unit.max()) + 1

        def total(table: FloatArray) -> FloatArray:
            return np.stack([np.bincount(unit, column, count) for column in table.T], axis=1)

        direct, size = total(np.stack([self.direct, self.size], axis=1)).T
        return Contributions(direct, total(self.correction), total(self.norm), size)

    def bootstrap(self, unit: IntArray, replicates: int, rng: np.random.Generator) -> FloatArray:
        """Return estimates (replicates,) from units (n,) drawn with replacement."""
        summed = self.by_unit(unit)
        return np.concatenate([summed.replicates(counts) for counts in _draws(len(summed.size), replicates, rng)])


def units(n: int, group: IntArray | None, rng: np.random.Generator) -> IntArray:
    """Return the unit (n,) that each row is drawn with, 0 .. u - 1: its group, or itself, at most UNITS together.

    Fewer than 2 groups are no sample: rows are then drawn.
    """
    if group is not None and len(np.unique(group)) > 1:
        return np.unique(group, return_inverse=True)[1].astype(np.int64)
    own = np.arange(n, dtype=np.int64)
    return own if n <= UNITS else rng.permutation(own % UNITS)


def interval_of(found: Contributions, unit: IntArray, replicates: int, seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval over units; the same seed draws the same units for every estimator."""
    return interval(found.estimate, found.bootstrap(unit, replicates, np.random.default_rng(seed)))


def _draws(units_: int, replicates: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    step = max(1, CELLS // units_)
    for start in range(0, replicates, step):
        yield day_weights(units_, min(step, replicates - start), rng)
