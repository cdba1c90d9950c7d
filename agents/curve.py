"""The common ground of policies whose bid is a curve of worth: bid = curve(level x predicted worth).

Every such policy has one number to find, the level. What past days say about it is again a Forecast, with levels in
place of multipliers: so plans and pacing are those of all controllers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS, UNWINNABLE, whole_micros
from bidpilot.envs.auctions import pricing_rule
from bidpilot.envs.forecast import Forecast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bidpilot.agents.base import Past
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day, Opportunities
    from bidpilot.envs.types import Campaign, CampaignState

LEVELS = 97
HIGHER = 100.0
"""The highest level, as a multiple of the highest multiplier: curves bid less than what they are given."""

MOST_ROWS = 100_000
"""Past opportunities that levels are measured on; of more, every k-th."""


class CurvePolicy(ABC):
    """A policy that bids a curve of level x worth."""

    groups = 1

    def __init__(self, past: Past) -> None:
        """Keep the past; levels are measured when the first campaign tells the auction."""
        self._past = past
        self._forecasts: dict[str, Forecast] = {}
        self.auction = "second_price"

    @abstractmethod
    def curve(self, worth: FloatArray, seen: Opportunities) -> FloatArray:
        """Return the bids (n,), currency, for level x predicted worth (n,); it rises with worth."""

    @abstractmethod
    def level(self, state: CampaignState) -> float:
        """Return the level of the coming tick. Called once per tick, in order."""

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Note the auction."""
        self.auction = campaign.rules.auction

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:
        """Return the bids (n,)."""
        return self.curve(self.level(state) * seen.value, seen)

    def forecast(self) -> Forecast:
        """Return what past days say about levels, by the campaign's auction."""
        if self.auction not in self._forecasts:
            past = self._past
            self._forecasts[self.auction] = measured(self.curve, past.days, past.forecast, self.auction)
        return self._forecasts[self.auction]


def measured(
    curve: Callable[[FloatArray, Opportunities], FloatArray], days: Sequence[Day], base: Forecast, auction: str
) -> Forecast:
    """Return the forecast of a curve: spend and worth of past days at LEVELS levels, budget aside."""
    every = 1 + sum(map(len, days)) // MOST_ROWS
    grid = np.geomspace(base.multipliers[0], HIGHER * base.multipliers[-1], LEVELS)
    tables = np.sum([_table(curve, day, grid, auction, every) for day in days], axis=0) * every / len(days)
    return Forecast(
        grid, tables[0] / MICROS / base.full_cost, tables[1] / base.full_value, base.volume, base.full_cost,
        base.full_value,
    )  # fmt: skip


def _table(
    curve: Callable[[FloatArray, Opportunities], FloatArray], day: Day, grid: FloatArray, auction: str, every: int
) -> FloatArray:
    """Return (2, levels, ticks): spend in micro-currency and predicted worth won, of every k-th opportunity."""
    rows = np.arange(0, len(day), every)
    rows = rows[(day.seen.value[rows] > 0) & (day.hidden.price[rows] < UNWINNABLE)]
    seen, price, rule = day.seen.rows(rows), day.hidden.price[rows], pricing_rule(auction)
    floor = np.zeros(len(rows), np.int64) if seen.soft_floor is None else whole_micros(seen.soft_floor).astype(np.int64)
    table = np.zeros((2, len(grid), day.ticks))
    for place, level in enumerate(grid.tolist()):
        bid = curve(level * seen.value, seen) * MICROS
        won = np.flatnonzero((bid >= price) & (bid > 0))
        table[0, place] = np.bincount(seen.tick[won], rule(price[won], bid[won], floor[won]), day.ticks)
        table[1, place] = np.bincount(seen.tick[won], seen.value[won], day.ticks)
    return table


class FixedLevel(CurvePolicy):
    """A curve at the level at which past days spent the budget, all day; factor: a multiple of it."""

    def __init__(self, past: Past, factor: float) -> None:
        """Keep the factor."""
        super().__init__(past)
        self.factor = factor
        self._level = 0.0

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Set the level for the budget."""
        super().reset(campaign, rng)
        self._level = self.factor * float(self.forecast().multiplier(campaign.scarcity))

    def level(self, state: CampaignState) -> float:  # noqa: ARG002 - never looks
        """Return the level."""
        return self._level
