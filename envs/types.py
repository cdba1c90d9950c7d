"""What a campaign asks for, what it is told, and what happened: shared by simulator, environments and policies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import EXACT, MICROS, FloatArray, IntArray
from bidpilot.envs.auctions import pricing_rule

COLUMNS = ("wins", "spend", "clicks", "conversions", "revenue", "predicted_clicks", "predicted", "expected")
"""Columns of every outcome table. Spend and revenue are micro-currency; predicted and expected worth currency."""


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
