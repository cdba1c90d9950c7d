"""Bid shading for first price: a multiplier for every kind of opportunity, from one price of money.

Where the winner pays its own bid, the best bid for an opportunity of worth v at a price of money lambda maximises
(v - lambda b) P(b wins): kinds of opportunity whose prices lie close together or far below their worth are bid for
differently (Gligorijevic et al., CIKM 2020; Zhou et al., KDD 2021). Kinds are the segments of a market split by
predicted worth (Split). For each, the best multiplier at each lambda is read off past days: no law of prices is
assumed. So one number, 1 / lambda, sets the bids of all kinds, and the pacing of envs/controller works on it as on
any multiplier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.envs.day import Day
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.residual import Residual

FINE = 1025
"""Multipliers that are tried for each kind."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign, CampaignState, Feedback


@dataclass(frozen=True)
class Buckets:
    """Splits each segment by predicted worth. edges: (k,) rising, currency; they make k + 1 buckets."""

    edges: FloatArray

    @classmethod
    def of(cls, days: Sequence[Day], count: int) -> Buckets:
        """Cut past days' predicted worths into buckets of equal size. Raises InputError for a count below 1."""
        if count < 1:
            raise InputError(f"worth is split into at least 1 bucket; got {count}")
        worth = np.concatenate([day.seen.value for day in days])
        return cls(np.unique(np.quantile(worth, np.arange(1, count) / count)))

    def split(self, day: Day) -> Day:
        """Return the day with segments split: number segment x buckets + bucket."""
        if day.belief is not None:
            raise InputError("split a day before it is misjudged")
        size = len(self.edges) + 1
        segment = day.seen.segment * size + self.edges.searchsorted(day.seen.value, side="right")
        seen = replace(day.seen, segment=segment)
        return Day.build(seen, day.hidden, day.ticks, day.segments * size, once=day.once, draws=day.draws)


@dataclass(frozen=True)
class SplitMarket:
    """Another market whose segments are split by predicted worth."""

    market: Market
    buckets: Buckets

    @property
    def segment_count(self) -> int:
        """Number of kinds of opportunity."""
        return self.market.segment_count * (len(self.buckets.edges) + 1)

    def day(self, rng: np.random.Generator) -> Day:
        """Draw a day and split its segments."""
        return self.buckets.split(self.market.day(rng))


def shaded_forecast(days: Sequence[Day]) -> Forecast:
    """Measure past days of a split market at first price: a Forecast over 1 / lambda, with the bids that belong to it.

    Raises InputError as Forecast.of does.
    """
    whole = Forecast.of(days, "first_price")
    grid = whole.multipliers
    fine = np.geomspace(grid[0], grid[-1], FINE)
    shades = _best_bids(np.sum([_worth_won(day, fine) for day in days], axis=0), fine, grid)
    won = np.mean([_won(day, shades) for day in days], axis=0)
    spend, value = (won * shades[:, None, :]).sum(axis=2) / whole.full_cost, won.sum(axis=2) / whole.full_value
    return replace(whole, spend=spend, value=value, shades=shades)


def _best_bids(worth: FloatArray, fine: FloatArray, grid: FloatArray) -> FloatArray:
    """Return the multiplier (A, kinds) that maximises worth - spend / a for each a = 1 / lambda of the grid (A,).

    worth: (FINE, kinds) won at each multiplier of `fine`; spend is the multiplier times that. A higher a never bids
    less: the objective has increasing differences.
    """
    best = np.stack([np.argmax(worth * (1.0 - fine / a)[:, None], axis=0) for a in grid])
    return np.maximum.accumulate(fine[best], axis=0)


def _worth_won(day: Day, fine: FloatArray) -> FloatArray:
    """Return the predicted worth (FINE, kinds) that a day gives at each multiplier."""
    step = fine.searchsorted(day.ratio)
    cell = step * day.segments + day.seen.segment
    counted = np.bincount(cell, day.seen.value, (FINE + 1) * day.segments).reshape(FINE + 1, -1)
    return np.cumsum(counted[:FINE], axis=0)


def _won(day: Day, shades: FloatArray) -> FloatArray:
    """Return the predicted worth (A, ticks, kinds) that a day gives at each row of multipliers (A, kinds)."""
    steps, kinds = shades.shape
    level = np.empty(len(day), dtype=np.int64)
    for kind in range(kinds):
        rows = np.flatnonzero(day.seen.segment == kind)
        level[rows] = shades[:, kind].searchsorted(day.ratio[rows])
    cell = (level * day.ticks + day.seen.tick) * kinds + day.seen.segment
    counted = np.bincount(cell, day.seen.value, (steps + 1) * day.ticks * kinds)
    return np.cumsum(counted.reshape(steps + 1, day.ticks, kinds)[:steps], axis=0)


class Shaded(Residual):
    """The residual on 1 / lambda: one action, bids for every kind of opportunity by the forecast's shades.

    What is observed and paced are the sums over kinds. Raises InputError where the forecast has no shades.
    """

    def __init__(
        self, campaigns: Sequence[Campaign], forecast: Forecast, groups: int, scenario: Scenario, *, floats: bool = True
    ) -> None:
        """Start the episodes. groups: kinds of opportunity."""
        del floats  # kinds are many: always arrays
        if forecast.shades is None or forecast.shades.shape[1] != groups:
            raise InputError(
                f"shading {groups} kinds of opportunity needs the forecast of envs.shading.shaded_forecast"
            )
        super().__init__(campaigns, forecast, 1, scenario, floats=False)

    def take(self, state: CampaignState) -> None:
        """Take in the last tick, summed over kinds."""
        super().take(state._replace(total=_pooled(state.total), last=_pooled(state.last)))

    def multipliers(self, action: Any) -> Any:  # noqa: ANN401 - as the base class
        """Return the multipliers (episodes, kinds) of an action: a float, or (episodes, 1)."""
        wanted = super().multipliers(np.full((self.episodes, 1), action) if np.ndim(action) == 0 else action)
        return self.forecast.shaded(wanted[:, 0])


def _pooled(told: Feedback) -> Feedback:
    """Return feedback (episodes, kinds) summed over kinds, (episodes, 1)."""
    return type(told)(*(np.asarray(column).sum(axis=1, keepdims=True) for column in told))
