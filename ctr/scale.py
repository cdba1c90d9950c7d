"""Numbers a network can read: heavy tails tamed, standardised, clipped; a missing value becomes the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

LEAST = 1e-9
"""Deviation of squeezed numbers below which they differ by rounding alone."""

CLIP = 5.0
"""Standardised numbers end here, so that one outlier cannot move a prediction without bound."""


@dataclass(frozen=True)
class Scale:
    """How one numeric column is standardised: signed log1p of x / unit, less mean, over deviation."""

    unit: float
    mean: float
    deviation: float

    @classmethod
    def fit(cls, values: FloatArray) -> Self:
        """Learn from the finite values (n,); the unit is their median magnitude, so that units cancel."""
        known = values[np.isfinite(values)]
        sizes = np.abs(known[known != 0.0])
        unit = float(np.median(sizes)) if sizes.size else 1.0
        squeezed = cls(unit, 0.0, 1.0).squeeze(known)
        varies = known.size > 0 and known.max() > known.min()  # rounding gives a constant a deviation above 0
        deviation = max(float(squeezed.std()), LEAST) if varies else 1.0
        return cls(unit, float(squeezed.mean()) if known.size else 0.0, deviation)

    def squeeze(self, values: FloatArray) -> FloatArray:
        """Return sign(x) log(1 + |x| / unit), which tames heavy tails and keeps zero."""
        return np.asarray(np.sign(values) * np.log1p(np.abs(values) / self.unit))

    def transform(self, values: FloatArray) -> FloatArray:
        """Standardise (n,) and clip; a missing value becomes the mean, 0."""
        z = (self.squeeze(values) - self.mean) / self.deviation
        return np.asarray(np.where(np.isnan(values), 0.0, np.clip(z, -CLIP, CLIP)))


class EvenRows:
    """Evenly spaced rows of a table that comes in chunks: whenever more than limit are held, every second one goes."""

    def __init__(self, columns: int, limit: int) -> None:
        """Begin without rows."""
        self.held: FloatArray = np.empty((0, columns))
        self._limit, self._stride, self._seen = limit, 1, 0

    def add(self, values: FloatArray) -> None:
        """Take more rows (n, columns)."""
        self.held = np.concatenate([self.held, values[-self._seen % self._stride :: self._stride]])
        self._seen += len(values)
        while len(self.held) > self._limit:
            self.held, self._stride = self.held[::2], 2 * self._stride

    def scales(self, names: tuple[str, ...]) -> dict[str, Scale]:
        """Return the scale of every column, by name."""
        return {name: Scale.fit(column) for name, column in zip(names, self.held.T, strict=True)}
