"""What a bid wins, by what past days say: prices are a typical price times noise, log-normal.

log price = segment's intercept + slope x log(predicted worth) + sigma x noise. The typical price rises with worth as
it did on past days, at its own level in each segment; intercepts of rare segments lean on all segments together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE
from bidpilot.envs.shading import slope_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day, Opportunities

POINTS, REACH = 1025, 8.0
"""Points of the grid of prices, and how many sigmas it reaches either way."""

RARE = 20.0
"""Opportunities' worth of trust in the intercept of all segments."""

LEAST = 0.02
"""No sigma is lower, so that curves stay curves where prices are all but known."""


@dataclass(frozen=True)
class Shade:
    """The best first-price bids against prices exp(sigma x noise): everything as a multiple of the typical price."""

    sigma: float

    @cached_property
    def bids(self) -> FloatArray:
        """(POINTS,) rising bids."""
        return np.exp(self.sigma * np.linspace(-REACH, REACH, POINTS))

    @cached_property
    def share(self) -> FloatArray:
        """(POINTS,) share of prices that the bids win."""
        return np.array([NormalDist().cdf(z) for z in np.linspace(-REACH, REACH, POINTS).tolist()])

    @cached_property
    def worths(self) -> FloatArray:
        """(POINTS,) worths for which the bids are best: V = b + F(b) / f(b)."""
        z = np.linspace(-REACH, REACH, POINTS)
        density = np.exp(-(z**2) / 2.0) / np.sqrt(2.0 * np.pi)
        return np.asarray(self.bids * (1.0 + self.sigma * self.share / density))

    @cached_property
    def _below(self) -> FloatArray:
        """(POINTS,) integral of the share up to the bids."""
        steps = np.diff(self.bids) * (self.share[1:] + self.share[:-1]) / 2.0
        return np.append(0.0, np.cumsum(steps))

    def best(self, worth: FloatArray) -> FloatArray:
        """Return argmax over b of (worth - b) F(b) for worths (n,): below worth, rising with it."""
        lowest = worth * self.bids[0] / self.worths[0]
        found = np.interp(worth, self.worths, self.bids)
        return np.asarray(np.where(worth < self.worths[0], lowest, found))

    def wins(self, bid: FloatArray) -> FloatArray:
        """Return F(b), the share of prices that bids (n,) win."""
        return np.asarray(np.interp(bid, self.bids, self.share))

    def integral(self, bid: FloatArray) -> FloatArray:
        """Return the integral of F up to bids (n,): the surplus of a second-price auction at worth b."""
        return np.asarray(np.interp(bid, self.bids, self._below) + np.maximum(bid - self.bids[-1], 0.0))


@dataclass(frozen=True)
class PriceLaw:
    """log price = intercept[segment] + slope x log(worth) + sigma x noise; money in currency.

    intercept: (segments,).
    """

    intercept: FloatArray
    slope: float
    sigma: float

    @classmethod
    def of(cls, days: Sequence[Day]) -> PriceLaw:
        """Fit past days by least squares. Raises InputError when they hold no price that a bid could pay."""
        price = np.concatenate([day.hidden.price for day in days]) / MICROS
        value = np.concatenate([day.seen.value for day in days])
        segment = np.concatenate([day.seen.segment for day in days])
        rows = np.flatnonzero((value > 0) & (price > 0) & (price < UNWINNABLE / MICROS))
        if not rows.size:
            raise InputError("no past opportunity has both a known price and a predicted worth above 0")
        x, y, place = np.log(value[rows]), np.log(price[rows]), segment[rows].astype(np.int64)
        count = np.maximum(np.bincount(place, minlength=days[0].segments), 1)
        mean_x, mean_y = (np.bincount(place, each, len(count)) / count for each in (x, y))
        slope = slope_within(x, y, place)
        common = float(np.mean(y - slope * x))
        told = np.bincount(place, minlength=len(count))
        intercept = (told * (mean_y - slope * mean_x) + RARE * common) / (told + RARE)
        sigma = float(np.std(y - slope * x - intercept[place]))
        return cls(intercept, slope, max(sigma, LEAST))

    @cached_property
    def shade(self) -> Shade:
        """The best bids, relative to the typical price."""
        return Shade(self.sigma)

    def typical(self, seen: Opportunities) -> FloatArray:
        """Return the median price (n,) of opportunities, currency; any number where worth is not above 0."""
        log = np.log(np.where(seen.value > 0, seen.value, 1.0))
        return np.asarray(np.exp(self.intercept[seen.segment] + self.slope * log))
