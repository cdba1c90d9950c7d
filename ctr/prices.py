"""The law of the price to beat, by hour of day and group, from a log that knows it only where the buyer won.

The product-limit estimator (Kaplan & Meier 1958): a win shows the price, a loss only that it was above the bid.
Ties win, so a loss at bid b was still at risk at price b. A stratum with few rows borrows: its hazards have a
beta-process prior (Hjort 1990) around those of its group and its hour, and these around the pooled ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import UNWINNABLE, BoolArray, FloatArray, IntArray

HOURS = 24
"""Hours of a day."""


@dataclass(frozen=True)
class PriceConfig:
    """Settings of the price law.

    points: a log with more different prices has them rounded up to so many quantiles (and as many of the bids
    that lost). strength: rows' worth of trust in what a stratum borrows from. enough: a group with fewer
    known prices borrows the range of prices it can identify, too.
    """

    points: int = 1000
    strength: float = 100.0
    enough: int = 200


@dataclass(frozen=True, eq=False)
class HourlyPrices:
    """One discrete law per hour of day and group.

    grid: (K,) int64 micro-currency, rising, the prices that can occur. cdf: (24, G, K) P(price <= grid).
    identified: (24, G) int64 micro-currency, the highest price about which the log says anything; what lies
    above it is UNWINNABLE.
    """

    grid: IntArray
    cdf: FloatArray
    identified: IntArray

    @classmethod
    def fit(
        cls, price: IntArray, known: BoolArray, hour: IntArray, group: IntArray, config: PriceConfig | None = None
    ) -> Self:
        """Fit to n opportunities.

        price: (n,) micro-currency; where not known, the bid that lost. known: (n,). hour: (n,) 0..23.
        group: (n,) 0..G-1. Raises InputError when no price is known, or one is below 0.
        """
        config = config or PriceConfig()
        if not known.any():
            raise InputError(f"the price to beat is known in none of {len(known)} rows; a price law needs some")
        if price.min() < 0:
            row = int(np.argmin(price))
            raise InputError(f"prices and bids must be at least 0 micro-currency; row {row} has {price[row]}")
        grid = _grid(price, known, config.points)
        deaths, at_risk = _counts(price, known, hour, group, grid)
        hazard = _hazards(deaths, at_risk, config.strength)
        identified = _identified(price, known, group, config.enough)
        hazard[:, grid[None, :] > identified[:, None]] = 0.0
        cdf = 1.0 - np.multiply.accumulate(1.0 - hazard, axis=2)
        return cls(grid, cdf, np.broadcast_to(identified, cdf.shape[:2]).copy())

    def win_probability(self, bid: IntArray, hour: IntArray, group: IntArray) -> FloatArray:
        """P(price to beat <= bid), (n,), for bids (n,) in micro-currency."""
        below = np.searchsorted(self.grid, bid, side="right")
        return np.where(below > 0, self.cdf[hour, group, np.maximum(below - 1, 0)], 0.0)

    def quantile(self, q: FloatArray, hour: IntArray, group: IntArray) -> IntArray:
        """Return the lowest price whose probability to win exceeds q, (n,); UNWINNABLE where none does."""
        hours, groups, points = self.cdf.shape
        stratum = np.ravel_multi_index((hour, group), (hours, groups))
        ladder = (self.cdf.reshape(-1, points) + np.arange(hours * groups)[:, None]).ravel()
        rung = np.minimum(stratum + q, np.nextafter(stratum + 1.0, 0.0))  # a sum may round up into the next stratum
        place = np.searchsorted(ladder, rung, side="right") - stratum * points
        return np.asarray(np.append(self.grid, UNWINNABLE)[np.minimum(place, points)])


def kaplan_meier(price: IntArray, known: BoolArray) -> tuple[IntArray, FloatArray]:
    """Return the known prices (k,), rising, and P(price <= them), (k,), from rows as in HourlyPrices.fit."""
    grid = np.unique(price[known])
    zeros = np.zeros(len(price), dtype=np.int64)
    deaths, at_risk = _counts(price, known, zeros, zeros, grid)
    return grid, 1.0 - np.cumprod(1.0 - deaths[0, 0] / at_risk[0, 0])


def _grid(price: IntArray, known: BoolArray, points: int) -> IntArray:
    """Return the prices to keep: all that occur, or quantiles of the known ones and of the bids that lost."""
    prices = np.unique(price[known])
    if len(prices) <= points:
        return prices
    levels = np.linspace(0.0, 1.0, points)
    parts = (price[known], price[~known]) if not known.all() else (price,)
    return np.unique(np.concatenate([np.quantile(part, levels, method="inverted_cdf") for part in parts]))


def _counts(
    price: IntArray, known: BoolArray, hour: IntArray, group: IntArray, grid: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return deaths and rows at risk, each (24, G, K).

    A known price counts at the lowest grid price not below it; a lost bid was at risk up to itself.
    """
    shape = (HOURS, int(group.max()) + 1, len(grid))
    place = np.where(known, np.searchsorted(grid, price), np.searchsorted(grid, price, side="right") - 1)
    cell = np.ravel_multi_index((hour, group), shape[:2]) * len(grid) + place
    deaths, losses = (np.bincount(cell[rows], minlength=np.prod(shape)) for rows in (known, ~known & (place >= 0)))
    leaving = (deaths + losses).reshape(shape)
    return deaths.reshape(shape).astype(np.float64), leaving[..., ::-1].cumsum(axis=2)[..., ::-1].astype(np.float64)


def _hazards(deaths: FloatArray, at_risk: FloatArray, strength: float) -> FloatArray:
    """Return P(price = grid | price >= grid), (24, G, K): of the stratum, drawn to group and hour, these to all.

    An hour acts on its groups' hazards by one power, the ratio of its deaths to those expected of them.
    """

    def shrink(died: FloatArray, exposed: FloatArray, prior: FloatArray) -> FloatArray:
        return (died + strength * prior) / (exposed + strength)

    pooled = deaths.sum((0, 1)) / at_risk.sum((0, 1))
    by_group = shrink(deaths.sum(0), at_risk.sum(0), pooled)
    ratio = (deaths.sum((1, 2)) + strength) / ((at_risk * by_group).sum((1, 2)) + strength)
    return shrink(deaths, at_risk, 1.0 - (1.0 - by_group) ** ratio[:, None, None])


def _identified(price: IntArray, known: BoolArray, group: IntArray, enough: int) -> IntArray:
    """Return the highest price that each group says anything about, (G,).

    That is its highest bid, if it lost there; a group without such a loss, or with few known prices, has the
    range of all.
    """
    groups = int(group.max()) + 1
    highest, lost = np.full(groups, -1), np.full(groups, -1)
    np.maximum.at(highest, group, price)
    np.maximum.at(lost, group[~known], price[~known])
    own = (lost == highest) & (np.bincount(group[known], minlength=groups) >= enough)
    return np.where(own, highest, price.max())
