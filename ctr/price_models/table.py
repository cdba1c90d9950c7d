"""Laws by hour of day and by fifth of predicted worth, without a form: the product-limit estimator in each stratum.

Strata with few rows borrow from others, see bidpilot.ctr.prices. A log without predicted worths has one group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.price_models.base import EXACT, ROUNDING, SMALL, WORTH, Censoring, Observed, PriceLaws, knots_of
from bidpilot.ctr.prices import HourlyPrices

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray, IntArray

KNOTS = 200
"""Points, at most, between which the density is even."""

START = 0.1
"""Log price below the lowest known price over which that price's mass counts as spread."""


@dataclass(frozen=True)
class Config:
    """Settings. groups: of predicted worth, equally many rows in each. Raises InputError for fewer than 1."""

    groups: int = 5

    def __post_init__(self) -> None:
        """Check the figure."""
        if self.groups < 1:
            raise InputError(f"groups must be at least 1; got {self.groups}")

    def fit(
        self,
        train: AuctionLog,
        valid: AuctionLog,
        rng: np.random.Generator,  # noqa: ARG002
        censoring: Censoring = "right",
    ) -> Table:
        """Fit to all rows: nothing needs validation. Raises InputError as Observed.of does, or for no known price."""
        seen = [Observed.of(log, censoring) for log in (train, valid)]
        amount, kind = (np.concatenate([getattr(part, name) for part in seen]) for name in ("amount", "kind"))
        hour = np.concatenate([train.hour, valid.hour])
        worth = [log.frame[WORTH].to_numpy() for log in (train, valid) if WORTH in log.numeric]
        inner = np.arange(1, self.groups) / self.groups
        edges = np.quantile(np.concatenate(worth), inner) if worth else np.empty(0)
        group = np.concatenate([groups_of(log, edges) for log in (train, valid)])
        return Table(HourlyPrices.fit(amount, kind == EXACT, hour, group), edges)

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> Table:  # noqa: ARG002
        """Rebuild what Table.tensors returned."""
        return Table(HourlyPrices(tensors["grid"], tensors["cdf"], tensors["identified"]), tensors["edges"])


@dataclass(frozen=True)
class Table:
    """A fitted price model that knows hour and worth. edges: (G - 1,) currency, of the groups of worth."""

    prices: HourlyPrices
    edges: FloatArray
    stops: ClassVar[bool] = False

    def laws(self, log: AuctionLog) -> PriceLaws:
        """Return the laws of the rows of a log."""
        group = np.minimum(groups_of(log, self.edges), self.prices.cdf.shape[1] - 1)
        return TableLaws(self.prices, log.hour, group)

    def settings(self) -> dict[str, Any]:
        """Return nothing but the settings, which the arrays imply."""
        return {"config": {"groups": len(self.edges) + 1}}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the laws and the edges."""
        prices = self.prices
        return {"grid": prices.grid, "cdf": prices.cdf, "identified": prices.identified, "edges": self.edges}


class TableLaws(PriceLaws):
    """The laws of n rows: steps at known prices. The density has the mass between two knots spread evenly."""

    def __init__(self, prices: HourlyPrices, hour: IntArray, group: IntArray) -> None:
        """Keep the strata (n,) of the rows."""
        self._prices, self._hour, self._group = prices, hour, group
        self.identified = max(int(prices.identified.max()), 1)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._hour)

    def rows(self, part: IntArray) -> TableLaws:
        """See PriceLaws."""
        return TableLaws(self._prices, self._hour[part], self._group[part])

    def terms(self, amount: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """See PriceLaws."""
        at = np.floor(np.minimum(amount, float(self.identified))).astype(np.int64)
        below = self._prices.win_probability(at, self._hour, self._group)
        logs = [np.log(np.maximum(part, SMALL)) for part in (below, 1.0 - below, self._density(np.log(amount)))]
        return logs[0], logs[1], logs[2]

    def _density(self, z: FloatArray) -> FloatArray:
        """Return the density (n,) at log prices z (n,)."""
        prices = self._prices
        knots = knots_of(prices.cdf.mean(axis=(0, 1)), KNOTS)
        edges = np.log(np.maximum(prices.grid[knots], 1).astype(np.float64))
        place = np.searchsorted(edges, z - ROUNDING)
        last = np.minimum(place, len(knots) - 1)
        upper, lower = (prices.cdf[self._hour, self._group, knots[np.maximum(last - step, 0)]] for step in (0, 1))
        width = np.diff(edges, prepend=edges[0] - START)[last]
        inside = (place < len(knots)) & (z > edges[0] - START) & (width > 0)
        return np.where(inside, (upper - np.where(last > 0, lower, 0.0)) / np.where(width > 0, width, 1.0), 0.0)

    def inverse(self, q: FloatArray) -> FloatArray:
        """See PriceLaws."""
        return np.log(np.maximum(self._prices.quantile(np.nextafter(q, 0.0), self._hour, self._group), 1))


def groups_of(log: AuctionLog, edges: FloatArray) -> IntArray:
    """Return the group (n,) of each row's predicted worth; 0 where the log has none."""
    worth = log.frame[WORTH] if WORTH in log.numeric else pd.Series(np.zeros(len(log)))
    return np.asarray(np.searchsorted(edges, worth.to_numpy(), side="right"), dtype=np.int64)
