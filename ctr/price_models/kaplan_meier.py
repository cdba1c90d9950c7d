"""One law for all opportunities, without a form: the product-limit estimator, or isotonic regression at first price.

Right-censored prices: Kaplan & Meier 1958. Left-censored ones (a win says only that the price was not above the bid):
the likelihood's maximum is the isotonic regression of wins on bids (Groeneboom & Wellner 1992, current status data).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bidpilot.ctr.calibration import pava
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.price_models.base import ABOVE, EXACT, SMALL, Censoring, Observed, PriceLaws, knots_of
from bidpilot.ctr.prices import kaplan_meier

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray, IntArray

FEWEST = 5


@dataclass(frozen=True)
class Config:
    """Settings. knots: points of the law, at most, between which log price is uniform; see knots_of."""

    knots: int = 400

    def __post_init__(self) -> None:
        """Raise InputError for too few knots."""
        if self.knots < FEWEST:
            raise InputError(f"knots must be at least {FEWEST}; got {self.knots}")

    def fit(
        self,
        train: AuctionLog,
        valid: AuctionLog,
        rng: np.random.Generator,  # noqa: ARG002
        censoring: Censoring = "right",
    ) -> OneLaw:
        """Fit the law to all rows: nothing needs validation. Raises InputError as Observed.of does."""
        early, late = Observed.of(train, censoring), Observed.of(valid, censoring)
        amount = np.concatenate([early.amount, late.amount])
        kind = np.concatenate([early.kind, late.kind])
        grid, cdf = kaplan_meier(amount, kind == EXACT) if (kind == EXACT).any() else _isotonic(amount, kind)
        keep = knots_of(cdf, self.knots)
        knots = np.maximum(grid[keep], 1)
        last = np.append(np.diff(knots) > 0, True)  # prices of 0 and 1 share a knot
        return OneLaw(knots[last], cdf[keep][last], max(int(amount.max()), 1))

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> OneLaw:
        """Rebuild what OneLaw.settings and .tensors returned."""
        return OneLaw(tensors["grid"], tensors["cdf"], settings["identified"])


@dataclass(frozen=True)
class OneLaw:
    """A fitted price model that knows no features. grid: (K,) micro-currency, rising. cdf: (K,)."""

    grid: IntArray
    cdf: FloatArray
    identified: int
    stops: ClassVar[bool] = False

    def laws(self, log: AuctionLog) -> PriceLaws:
        """Return the law, once for every row."""
        return Same(self.grid, self.cdf, self.identified, len(log))

    def settings(self) -> dict[str, Any]:
        """Return the identified range."""
        return {"config": {}, "identified": self.identified}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the law."""
        return {"grid": self.grid, "cdf": self.cdf}


class Same(PriceLaws):
    """The same law for n rows: piecewise uniform in log price."""

    def __init__(self, grid: IntArray, cdf: FloatArray, identified: int, count: int) -> None:
        """Begin a knot below the lowest price, where the law is 0."""
        start = np.log(float(grid[0])) - 0.1
        self._grid, self._cdf = grid, cdf
        self._x = np.concatenate([[start], np.log(grid.astype(np.float64))])
        self._y = np.concatenate([[0.0], np.maximum.accumulate(cdf)])
        self.identified, self._count = identified, count

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    def rows(self, part: IntArray) -> Same:
        """See PriceLaws."""
        return Same(self._grid, self._cdf, self.identified, len(part))

    def terms(self, amount: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """See PriceLaws."""
        z = np.log(amount)
        f = np.interp(z, self._x, self._y)
        place = np.clip(np.searchsorted(self._x, z) - 1, 0, len(self._x) - 2)
        slope = np.diff(self._y)[place] / np.diff(self._x)[place]
        inside = (z > self._x[0]) & (z <= self._x[-1])
        density = np.where(inside, slope, 0.0)
        below, above, dense = (np.log(np.maximum(part, SMALL)) for part in (f, 1.0 - f, density))
        return below, above, dense

    def inverse(self, q: FloatArray) -> FloatArray:
        """See PriceLaws: the lowest knot that reaches q, and the way back to where the line does."""
        place = np.clip(np.searchsorted(self._y, q), 1, len(self._y) - 1)
        rise = self._y[place] - self._y[place - 1]
        missing = np.clip((self._y[place] - q) / np.where(rise > 0, rise, 1.0), 0.0, 1.0)
        return self._x[place] - missing * np.diff(self._x)[place - 1]


def _isotonic(bid: IntArray, kind: npt.NDArray[np.int8]) -> tuple[IntArray, FloatArray]:
    """Return bids (k,), rising, and P(price <= bid), (k,), from wins and losses at bids (n,)."""
    grid, place, count = np.unique(bid, return_inverse=True, return_counts=True)
    share = np.bincount(place, kind != ABOVE) / count
    means, weights = pava(share, count.astype(np.float64))
    ends = np.searchsorted(np.cumsum(count), np.cumsum(weights) - 0.5) + 1
    return grid, np.repeat(means, np.diff(ends, prepend=0))
