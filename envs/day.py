"""One episode's traffic: what is seen and what is hidden are two types.

So a leak is a type error: a policy is handed Opportunities and CampaignState, never Hidden.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import EXACT, MICROS, UNWINNABLE, BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from bidpilot.envs.ladder import Ladder


@dataclass(frozen=True, slots=True)
class Opportunities:
    """What a bidder sees of n bid opportunities before bidding.

    pctr, pcvr: (n,) predicted probabilities. value: (n,) currency, predicted worth of winning.
    reserve: (n,) currency. segment, tick: (n,) int64.
    """

    pctr: FloatArray
    pcvr: FloatArray
    value: FloatArray
    reserve: FloatArray
    segment: IntArray
    tick: IntArray

    def rows(self, part: slice | IntArray) -> Opportunities:
        """Return the opportunities of some rows."""
        return Opportunities(*(getattr(self, name)[part] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Hidden:
    """What a bidder cannot see: prices, and the outcomes if the impression were shown.

    price: (n,) int64 micro-currency, the lowest bid that wins (the reserve included).
    click, conversion: (n,) bool. revenue: (n,) int64 micro-currency, the worth that is realised.
    expected: (n,) currency, the expected worth under the law of this market.
    """

    price: IntArray
    click: BoolArray
    conversion: BoolArray
    revenue: IntArray
    expected: FloatArray

    def rows(self, part: slice | IntArray) -> Hidden:
        """Return what is hidden of some rows."""
        return Hidden(*(getattr(self, name)[part] for name in self.__slots__))


@dataclass(frozen=True)
class Day:
    """One episode's traffic, in time order: what is seen and what is hidden of every opportunity.

    Potential outcomes are drawn once, so that every policy meets the same people (common random numbers).
    Worths and click rates must lie on a binary grid on which float64 sums are exact in any order (build rounds
    them, see on_grid): totals do not depend on how they were added up. Raises InputError for prices below
    0, rates outside 0..1, ticks out of order or range, and totals that are not numbers or too large to be exact.
    """

    seen: Opportunities
    hidden: Hidden
    ticks: int
    segments: int = 1

    def __post_init__(self) -> None:
        """Check order and range."""
        tick, segment = self.seen.tick, self.seen.segment
        if len(tick) and ((np.diff(tick) < 0).any() or tick[0] < 0 or tick[-1] >= self.ticks):
            raise InputError(f"ticks must run in order within 0..{self.ticks - 1}; got {tick.min()}..{tick.max()}")
        if len(segment) and not 0 <= segment.min() <= segment.max() < self.segments:
            raise InputError(f"segments must lie in 0..{self.segments - 1}; got {segment.min()}..{segment.max()}")
        if len(tick) and self.hidden.price.min() < 0:
            raise InputError(f"prices must be at least 0 micro-currency; got {self.hidden.price.min()}")
        self._check_amounts()

    def _check_amounts(self) -> None:
        for name in ("pctr", "pcvr"):
            rate: FloatArray = getattr(self.seen, name)
            if len(rate) and not 0.0 <= rate.min() <= rate.max() <= 1.0:
                raise InputError(f"{name} must lie in 0..1; got {rate.min()}..{rate.max()}")
        most = EXACT / MICROS
        totals = {"value": self.seen.value, "expected worth": self.hidden.expected}
        totals |= {"cost": self.payable / MICROS, "revenue": self.hidden.revenue / MICROS}
        for name, amounts in totals.items():
            with np.errstate(over="ignore"):
                total = float(np.abs(amounts).sum())
            if not total < most:  # true of NaN and infinity
                raise InputError(f"a day's total {name} must be below 4.5e9 currency, it is {total}: use a larger unit")

    @classmethod
    def build(cls, seen: Opportunities, hidden: Hidden, ticks: int, segments: int = 1) -> Day:
        """Make a day of arrays as they come: sums of worth and clicks are made exact; a NaN is 0, so no bid."""
        exact = replace(seen, pctr=on_grid(seen.pctr), pcvr=np.nan_to_num(seen.pcvr), value=on_grid(seen.value))
        return cls(exact, replace(hidden, expected=on_grid(hidden.expected)), ticks, segments)

    def __len__(self) -> int:
        """Return the number of opportunities."""
        return len(self.seen.tick)

    @cached_property
    def starts(self) -> IntArray:
        """(ticks + 1,) first row of every tick."""
        return np.searchsorted(self.seen.tick, np.arange(self.ticks + 1))

    @cached_property
    def ratio(self) -> FloatArray:
        """(n,) r = price / value, computed once: the multiplier from which on an opportunity is won.

        Infinite where the value is not above 0 (no bid on a worthless impression) or no bid can win.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            worth = self.seen.value * MICROS
            return np.where((worth > 0) & (self.hidden.price < UNWINNABLE), self.hidden.price / worth, np.inf)

    @cached_property
    def payable(self) -> IntArray:
        """(n,) micro-currency: the price where a bid can win, else 0 (keeps sums of prices exact)."""
        return np.where(np.isfinite(self.ratio), self.hidden.price, 0)

    @cached_property
    def offered(self) -> IntArray:
        """(ticks, segments) number of opportunities."""
        cell = self.seen.tick * self.segments + self.seen.segment
        return np.bincount(cell, minlength=self.ticks * self.segments).reshape(self.ticks, self.segments)

    @cached_property
    def pooled(self) -> Ladder:
        """The sorted index over all segments together: one multiplier a tick."""
        from bidpilot.envs.ladder import Ladder  # the index is built from a Day

        return Ladder.build(self, groups=1)

    @cached_property
    def by_segment(self) -> Ladder:
        """The sorted index per segment: one multiplier a segment and tick."""
        from bidpilot.envs.ladder import Ladder  # the index is built from a Day

        return Ladder.build(self, groups=self.segments)

    @cached_property
    def full_cost(self) -> int:
        """Micro-currency that winning every winnable opportunity would cost at second price."""
        return int(self.payable.sum())

    @cached_property
    def traffic_hash(self) -> str:
        """Fingerprint of everything in the day: equal for paired comparisons."""
        digest = hashlib.blake2b(digest_size=8)
        for part in (self.seen, self.hidden):
            for name in part.__slots__:
                digest.update(np.ascontiguousarray(getattr(part, name)).tobytes())
        return digest.hexdigest()


def on_grid(worth: FloatArray) -> FloatArray:
    """Round worths (n,) to a binary grid fine enough for 1e-9 and coarse enough that all sums are exact.

    With total V the grid step is 2**(ceil(log2 V) - 51), so no partial sum needs more than 53 bits. NaN becomes 0;
    where the total is infinite nothing is rounded.
    """
    known = np.where(np.isnan(worth), 0.0, worth)
    with np.errstate(over="ignore"):
        total = float(np.abs(known).sum())
    if not 0.0 < total < np.inf:
        return known
    step = 2.0 ** max(np.ceil(np.log2(total)) - 51, -1074)
    return np.asarray(np.rint(known / step) * step)
