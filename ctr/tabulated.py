"""Price laws tabulated at common points: many rows are drawn from at the cost of a few look-ups each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.price_models.base import SMALL, PriceLaws

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.types import FloatArray, IntArray


class TabulatedLaws(PriceLaws):
    """Laws of n rows, lines between points in log price.

    points: (K,) log micro-currency, rising; P is 0 up to the first. cdf: (N, K) P(price <= point), of N rows of which
    some, or some several times, are meant. index: (n,) which; None: all.
    """

    def __init__(
        self, points: FloatArray, cdf: npt.NDArray[np.float32], identified: int, index: IntArray | None = None
    ) -> None:
        """Keep the table; rows of it are not copied."""
        self._points, self._cdf, self.identified = points, cdf, identified
        self._index = np.arange(len(cdf)) if index is None else index

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._index)

    def rows(self, part: IntArray) -> TabulatedLaws:
        """See PriceLaws."""
        return TabulatedLaws(self._points, self._cdf, self.identified, self._index[part])

    def terms(self, amount: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """See PriceLaws."""
        z = np.log(amount)
        place = np.clip(np.searchsorted(self._points, z) - 1, 0, len(self._points) - 2)
        lower, upper = self._at(place), self._at(place + 1)
        width = self._points[place + 1] - self._points[place]
        part = (z - self._points[place]) / width
        below = np.where(part > 0.0, lower + np.clip(part, 0.0, 1.0) * (upper - lower), 0.0)
        density = np.where((part > 0.0) & (part <= 1.0), (upper - lower) / width, 0.0)
        logs: list[FloatArray] = [np.log(np.maximum(each, SMALL)) for each in (below, 1.0 - below, density)]
        return logs[0], logs[1], logs[2]

    def inverse(self, q: FloatArray) -> FloatArray:
        """See PriceLaws: the lowest point that reaches q, and the way back to where the line does."""
        low, high = np.zeros(len(q), dtype=np.int64), np.full(len(q), len(self._points) - 1)
        for _ in range(len(self._points).bit_length()):
            middle = (low + high) // 2
            enough = self._at(middle) >= q
            low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
        place = np.maximum(high, 1)
        lower, upper = self._at(place - 1), self._at(place)
        missing = np.clip((upper - q) / np.maximum(upper - lower, SMALL), 0.0, 1.0)
        return np.asarray(self._points[place] - missing * (self._points[place] - self._points[place - 1]))

    def _at(self, place: IntArray) -> FloatArray:
        """Return each row's P at its own point (n,)."""
        found = self._cdf[self._index, place].astype(np.float64)
        return np.where(place > 0, found, 0.0)
