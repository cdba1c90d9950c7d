"""What a campaign asks for, what it is told, and what happened: shared by simulator, environments and policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import EXACT, MICROS, FloatArray, IntArray
from bidpilot.envs.auctions import pricing_rule

COLUMNS = ("wins", "spend", "clicks", "conversions", "revenue", "predicted_clicks", "predicted", "expected")
"""Columns of every outcome table. Spend and revenue are micro-currency; predicted and expected worth currency."""


class Outcome(NamedTuple):
    """What a tick brought: offered (G,) and a table (G, len(COLUMNS)), G = 1 or one row per segment.

    All entries are whole numbers or lie on the exact grid, so float64 holds them without rounding. rows: (w,) the
    opportunities won, in time order, where the tick was scanned; wins: their number in each cell of the ladder, where
    that answered.
    """

    offered: IntArray
    table: FloatArray
    rows: IntArray | None = None
    wins: IntArray | None = None

    @property
    def spend(self) -> int:
        """Micro-currency spent."""
        return int(self.table[:, 1].sum())


class Feedback(NamedTuple):
    """What a bidder is told of past ticks: counts and currency, arrays (G,) by group (see envs/ops on other forms).

    The law's own expectation is not part of it: that is hidden. prices, priced: sum (currency) and number of the
    market prices that were seen: those of won impressions, or of all where the exchange reports them.
    """

    offered: Any
    wins: Any
    spend: Any
    clicks: Any
    conversions: Any
    revenue: Any
    predicted_clicks: Any
    predicted: Any
    prices: Any = 0.0
    priced: Any = 0.0

    @classmethod
    def of(cls, offered: IntArray, table: FloatArray) -> Feedback:
        """Strip a table (G, C) of what stays hidden and convert money to currency; no market price is seen yet."""
        wins, spend, clicks, conversions, revenue, likely, predicted, _ = table.T.copy()
        paid, earned, none = spend / MICROS, revenue / MICROS, np.zeros((2, *wins.shape))
        return cls(offered.astype(np.float64), wins, paid, clicks, conversions, earned, likely, predicted, *none)

    def plus(self, other: Feedback) -> Feedback:
        """Add two periods up."""
        return Feedback(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class CampaignState(NamedTuple):
    """What a policy knows between ticks: only what has arrived.

    tick: number of the tick about to begin. spent, left: currency. total: everything so far.
    last: the tick just over (zeros before the first). Policies get floats and arrays (G,); the environments' own
    forms are those of envs/ops.
    """

    tick: int
    spent: Any
    left: Any
    total: Feedback
    last: Feedback

    @classmethod
    def start(cls, campaign: Campaign, groups: int = 1) -> CampaignState:
        """Return the state before the first tick, for a bidder that keeps its own books."""
        nothing = Feedback.of(np.zeros(groups, dtype=np.int64), np.zeros((groups, len(COLUMNS))))
        return cls(0, 0.0, campaign.budget, nothing, nothing)

    def lifted(self) -> CampaignState:
        """Return a policy's state in the form of envs/ops: floats for one group, else arrays (1, 1) and (1, groups)."""
        if len(self.total.spend) == 1:
            total, last = (Feedback(*map(_only, told)) for told in (self.total, self.last))
            return CampaignState(self.tick, self.spent, self.left, total, last)
        total, last = (Feedback(*map(_row, told)) for told in (self.total, self.last))
        return CampaignState(self.tick, np.array([[self.spent]]), np.array([[self.left]]), total, last)

    def after(self, told: Feedback) -> CampaignState:
        """Return the state after a tick of which the bidder was told this much."""
        total = self.total.plus(told)
        spent = float(total.spend.sum())
        return CampaignState(self.tick + 1, spent, max(self.spent + self.left - spent, 0.0), total, told)


def _row(amount: Any) -> FloatArray:  # noqa: ANN401 - a float where nothing was told
    return amount[None] if isinstance(amount, np.ndarray) else np.full((1, 1), amount)


def _only(amount: Any) -> float:  # noqa: ANN401 - a float where nothing was told
    return float(amount[0]) if isinstance(amount, np.ndarray) else float(amount)


HOTTEST = 10.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What the exchange and the other bidders do.

    auction: name of the pricing rule. bid_tick: currency, bids are rounded down to whole multiples of it (0: to
    micro-currency). bid_cap: currency, no bid is higher (0: no cap). frequency_cap: most impressions per user and
    episode (0: no cap). censored: prices are seen only where won; else the exchange reports the price of every auction.
    reaction: rivals' prices are multiplied by exp(reaction x our recent win rate), so those who win much meet dearer
    auctions. Raises InputError for an unknown auction or a figure below 0.
    """

    auction: str = "second_price"
    bid_tick: float = 0.0
    bid_cap: float = 0.0
    frequency_cap: int = 0
    censored: bool = True
    reaction: float = 0.0

    def __post_init__(self) -> None:
        """Check the figures."""
        pricing_rule(self.auction)
        for name in ("bid_tick", "bid_cap", "frequency_cap", "reaction"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be at least 0; got {getattr(self, name)}")
            if not getattr(self, name) < EXACT / MICROS:
                raise InputError(f"{name} must be below 4.5e9 (0 for none); got {getattr(self, name)}")
        for name in ("bid_tick", "bid_cap"):
            if 0 < getattr(self, name) < 1 / MICROS:
                raise InputError(f"{name} must be 0 or at least a micro-currency, 0.000001; got {getattr(self, name)}")
        if self.frequency_cap != int(self.frequency_cap):
            raise InputError(f"frequency_cap must be a whole number of impressions; got {self.frequency_cap}")
        if self.reaction > HOTTEST:
            raise InputError(f"reaction must be at most {HOTTEST}, prices times e to that; got {self.reaction}")

    @property
    def plain(self) -> bool:
        """Tell whether the sorted index plays these rules exactly; where not, ticks are scanned."""
        return self.auction == "second_price" and not (
            self.bid_tick or self.bid_cap or self.frequency_cap or self.reaction
        )


@dataclass(frozen=True, slots=True)
class Campaign:
    """What the advertiser asks for.

    budget: currency per episode. horizon: ticks. full_cost: currency, what winning everything in an
    episode is expected to cost (the advertiser's forecast; it sets how scarce the budget is).
    rules: of the exchange. cost_limit: the most currency to spend per currency of worth won: 1 / ROAS, or CPA / worth
    of a conversion; infinite: no limit. Raises InputError for a budget, horizon, cost or limit not above 0, or a
    budget, horizon or cost that is not finite.
    """

    budget: float
    horizon: int
    full_cost: float
    rules: Rules = Rules()
    cost_limit: float = float("inf")

    def __post_init__(self) -> None:
        """Check the figures."""
        for name in ("budget", "horizon", "full_cost"):
            if not 0 < getattr(self, name) < EXACT / MICROS:
                raise InputError(f"{name} must be above 0 and below 4.5e9; got {getattr(self, name)}")
        if not self.cost_limit > 0:
            raise InputError(f"cost_limit must be above 0; got {self.cost_limit}")

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
