"""What is seen, what is hidden, and what happened: the types that markets, simulator and policies share.

What may be seen and what may not are two types, so a leak is a type error: a policy is handed
Opportunities and CampaignState, never Hidden.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, BoolArray, FloatArray, IntArray
from bidpilot.envs.auctions import pricing_rule

if TYPE_CHECKING:
    from bidpilot.envs.ladder import Ladder

COLUMNS = ("wins", "spend", "clicks", "conversions", "revenue", "predicted_clicks", "predicted", "expected")
"""Columns of every outcome table. Spend and revenue are micro-currency; predicted and expected worth currency."""


EXACT = 2**52
"""Totals below this are exact in float64, which holds the prefix sums."""


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tick brought: offered (G,) and a table (G, len(COLUMNS)), G = 1 or one row per segment.

    All entries are whole numbers or lie on the exact grid, so float64 holds them without rounding.
    """

    offered: IntArray
    table: FloatArray

    @property
    def spend(self) -> int:
        """Micro-currency spent."""
        return int(self.table[:, 1].sum())


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a bidder is told of past ticks, per group (G,): counts, and currency.

    The law's own expectation is not part of it: that is hidden.
    """

    offered: FloatArray
    wins: FloatArray
    spend: FloatArray
    clicks: FloatArray
    conversions: FloatArray
    revenue: FloatArray
    predicted_clicks: FloatArray
    predicted: FloatArray

    @classmethod
    def of(cls, offered: IntArray, table: FloatArray) -> Feedback:
        """Strip an outcome of what stays hidden and convert money to currency."""
        wins, spend, clicks, conversions, revenue, likely, predicted, _ = table.T.copy()  # the books go on
        return cls(
            offered.astype(np.float64), wins, spend / MICROS, clicks, conversions, revenue / MICROS, likely, predicted
        )

    def __add__(self, other: Feedback) -> Feedback:
        """Add two periods up."""
        return Feedback(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class CampaignState:
    """What a policy knows between ticks: only what has arrived.

    tick: number of the tick about to begin. spent, left: currency. total: everything so far.
    last: the tick just over (zeros before the first).
    """

    tick: int
    spent: float
    left: float
    total: Feedback
    last: Feedback

    @classmethod
    def start(cls, campaign: Campaign, groups: int = 1) -> CampaignState:
        """Return the state before the first tick, for a bidder that keeps its own books."""
        nothing = Feedback.of(np.zeros(groups, dtype=np.int64), np.zeros((groups, len(COLUMNS))))
        return cls(0, 0.0, campaign.budget, nothing, nothing)

    def after(self, told: Feedback) -> CampaignState:
        """Return the state after a tick of which the bidder was told this much."""
        total = self.total + told
        spent = float(total.spend.sum())
        return CampaignState(self.tick + 1, spent, max(self.spent + self.left - spent, 0.0), total, told)


@dataclass(frozen=True, slots=True)
class Campaign:
    """What the advertiser asks for.

    budget: currency per episode. horizon: ticks. full_cost: currency, what winning everything in an
    episode is expected to cost (the advertiser's forecast; it sets how scarce the budget is).
    auction: name of the pricing rule. Raises InputError for a budget, horizon or cost not above 0 or not finite, or
    an unknown auction.
    """

    budget: float
    horizon: int
    full_cost: float
    auction: str = "second_price"

    def __post_init__(self) -> None:
        """Check the figures."""
        for name in ("budget", "horizon", "full_cost"):
            if not 0 < getattr(self, name) < EXACT / MICROS:
                raise InputError(f"{name} must be above 0 and below 4.5e9; got {getattr(self, name)}")
        pricing_rule(self.auction)

    @property
    def scarcity(self) -> float:
        """Budget as a share of the expected cost of winning everything."""
        return self.budget / self.full_cost


@dataclass(frozen=True)
class EpisodeResult:
    """One policy's episode: tables (ticks, len(COLUMNS)) summed over groups, and what it was played on."""

    campaign: Campaign
    offered: IntArray
    table: FloatArray
    traffic_hash: str

    def total(self, column: str) -> float:
        """Return the episode's sum of a column of COLUMNS (micro-currency for spend and revenue)."""
        return float(self.table[:, COLUMNS.index(column)].sum())
