"""Bid shading for first price: a multiplier for every kind of opportunity, from one price of money.

Where the winner pays its own bid, the best bid for an opportunity of worth v at a price of money lambda maximises
(v - lambda b) P(b wins): kinds of opportunity whose prices lie close together or far below their worth are bid for
differently (Gligorijevic et al., CIKM 2020; Zhou et al., KDD 2021). Kinds are the segments of a market split by
predicted worth (Buckets). For each, the best multiplier at each lambda is read off past days. No law of prices is
assumed, but that they rise with worth as one power of it, and that neighbouring buckets are alike. So one number,
1 / lambda, sets the bids of all kinds, and the pacing of envs/controller works on it as on any multiplier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE
from bidpilot.envs.day import Day
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.residual import Residual

FINE = 1025
"""Bids that are tried for each kind."""

ALIKE = 1 / 25
"""Share of the buckets over which what bids win is smoothed, as the sd of a Gaussian."""

TAIL = 1e-4
"""Share of past prices, at either end, beyond which no bid is tried."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign, CampaignState, Feedback


@dataclass(frozen=True)
class Buckets:
    """Splits each segment by predicted worth. edges: (k,) rising, currency; they make k + 1 buckets."""

    edges: FloatArray

    @classmethod
    def of(cls, days: Sequence[Day], count: int) -> Buckets:
        """Cut past days' predicted worths into buckets that hold equal worth. Raises InputError for a count below 1.

        Money goes where worth is: buckets of equal numbers throw the few opportunities that small budgets buy together.
        """
        if count < 1:
            raise InputError(f"worth is split into at least 1 bucket; got {count}")
        worth = np.sort(np.concatenate([day.seen.value for day in days]))
        below = np.cumsum(worth)
        return cls(np.unique(worth[below.searchsorted(below[-1] * np.arange(1, count) / count)]))

    @property
    def count(self) -> int:
        """Number of buckets of a segment."""
        return len(self.edges) + 1

    def split(self, day: Day) -> Day:
        """Return the day with segments split: number segment x buckets + bucket."""
        if day.belief is not None:
            raise InputError("split a day before it is misjudged")
        size = self.count
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
        return self.market.segment_count * self.buckets.count

    def day(self, rng: np.random.Generator) -> Day:
        """Draw a day and split its segments."""
        return self.buckets.split(self.market.day(rng))


def shaded_forecast(days: Sequence[Day], buckets: int = 1) -> Forecast:
    """Measure past days of a split market at first price: a Forecast over 1 / lambda, with the bids that belong to it.

    buckets: of a segment, see Buckets.count. Raises InputError as Forecast.of does.
    """
    whole = Forecast.of(days, "first_price")
    shades = _best_bids(days, buckets, whole.multipliers)
    won = _won(days, shades)
    spend, value = (won * shades[:, None, :]).sum(axis=2) / whole.full_cost, won.sum(axis=2) / whole.full_value
    return replace(whole, spend=spend, value=value, shades=shades)


def slope_within(x: FloatArray, y: FloatArray, group: IntArray) -> float:
    """Return the slope of y (n,) on x (n,) within groups (n,), by least squares; 0 where x does not vary."""
    count = np.maximum(np.bincount(group), 1)
    dx, dy = (each - (np.bincount(group, each) / count)[group] for each in (x, y))
    spread = float(dx @ dx)
    return float(dx @ dy) / spread if spread > 1e-9 * len(x) else 0.0


def _best_bids(days: Sequence[Day], buckets: int, grid: FloatArray) -> FloatArray:
    """Return the multiplier (A, kinds) that maximises (worth - bid / a) x wins, for each a = 1 / lambda of a grid (A,).

    A higher a never bids less: the objective has increasing differences.
    """
    kinds = days[0].segments
    value, price, kind = (np.concatenate(parts) for parts in zip(*map(_priced, days), strict=True))
    slope = slope_within(np.log(value), np.log(price), kind // buckets)
    level = np.log(price) - slope * np.log(value)
    low, high = np.quantile(level, [TAIL, 1.0 - TAIL]).tolist()
    steps = np.linspace(low, high, FINE)
    wins = _smoothed(_counts(steps.searchsorted(level), kind, kinds), buckets)
    worth = _mean_worth(value, kind, kinds, buckets)
    bids = np.exp(steps)[:, None] * worth**slope
    best = np.stack([np.argmax((worth - bids / a) * wins, axis=0) for a in grid])
    wanted = np.minimum(np.take_along_axis(bids, best, axis=0) / worth, grid[:, None])  # never above worth / lambda
    return np.maximum.accumulate(wanted, axis=0)


def _priced(day: Day) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return predicted worth and price, currency, and kind of a day's opportunities that can be won for something."""
    price = day.hidden.price
    rows = np.flatnonzero((day.seen.value > 0) & (price < UNWINNABLE))
    return day.seen.value[rows], np.maximum(price[rows], 1) / MICROS, day.seen.segment[rows].astype(np.int64)


def _mean_worth(value: FloatArray, kind: IntArray, kinds: int, buckets: int) -> FloatArray:
    """Return each kind's mean worth (kinds,); of one never met, its bucket's in all segments, else anyone's."""
    total, count = np.bincount(kind, value, kinds), np.bincount(kind, minlength=kinds)
    every, met = (np.tile(each.reshape(-1, buckets).sum(axis=0), kinds // buckets) for each in (total, count))
    pooled = np.where(met > 0, every / np.maximum(met, 1), value.mean())
    return np.where(count > 0, total / np.maximum(count, 1), pooled)


def _counts(step: IntArray, kind: IntArray, kinds: int) -> FloatArray:
    """Return how many opportunities (FINE, kinds) each step wins."""
    counted = np.bincount(step * kinds + kind, minlength=(FINE + 1) * kinds).reshape(FINE + 1, kinds)
    return np.cumsum(counted[:FINE], axis=0, dtype=np.float64)


def _smoothed(wins: FloatArray, buckets: int) -> FloatArray:
    """Return wins (FINE, kinds) averaged over the neighbouring buckets of a segment: smooth without a law."""
    place = np.arange(buckets)
    weights = np.exp(-0.5 * ((place[:, None] - place) / (ALIKE * buckets)) ** 2)
    weights /= weights.sum(axis=0)
    return np.asarray((wins.reshape(FINE, -1, buckets) @ weights).reshape(FINE, -1))


def _won(days: Sequence[Day], shades: FloatArray) -> FloatArray:
    """Return the predicted worth (A, ticks, kinds) that a mean day gives at each row of multipliers (A, kinds)."""
    steps, kinds = shades.shape
    shape = (steps + 1, days[0].ticks, kinds)
    first = np.zeros(shape)  # by the row from which on it is won
    for day in days:
        level = _first(day, shades)
        cell = (level * day.ticks + day.seen.tick) * kinds + day.seen.segment
        first += np.bincount(cell, day.seen.value, first.size).reshape(shape)
    return np.cumsum(first[:steps], axis=0) / len(days)


def _first(day: Day, shades: FloatArray) -> IntArray:
    """Return the first row of multipliers (A, kinds) that wins each opportunity (n,); A where none does."""
    order, ratio = np.argsort(day.seen.segment, kind="stable"), day.ratio
    ends = np.cumsum(np.bincount(day.seen.segment, minlength=shades.shape[1]))
    level = np.empty(len(day), dtype=np.int64)
    for kind, rows in enumerate(np.split(order, ends[:-1])):
        level[rows] = shades[:, kind].searchsorted(ratio[rows])
    return level


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
