"""What past days say about the next one: the table that controllers, agents and bundles plan with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, FloatArray, whole_micros
from bidpilot.envs.auctions import pricing_rule
from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.envs.day import Day

    Amount: TypeAlias = float | FloatArray

SPEND, PREDICTED = COLUMNS.index("spend"), COLUMNS.index("predicted")
STEPS = 129


@dataclass(frozen=True)
class Forecast:
    """Mean of past days on a grid of multipliers (A,), scale-free so that it carries over to other volumes.

    Of a misjudged day the day itself is measured, not how its bidder saw it.

    multipliers: (A,) increasing. spend: (A, ticks) spend as a share of a day's full (second-price) cost.
    value: (A, ticks) predicted worth won as a share of a day's whole predicted worth.
    volume: (ticks,) share of a day's opportunities. full_cost: currency, mean cost of winning all of a day.
    full_value: currency, mean predicted worth of a day. parts: a forecast for each segment, where one was asked for.
    shades: (A, kinds) the multiplier of each kind of opportunity where bids are shaded, see envs/shading.
    """

    multipliers: FloatArray
    spend: FloatArray
    value: FloatArray
    volume: FloatArray
    full_cost: float
    full_value: float
    parts: tuple[Forecast, ...] = ()
    shades: FloatArray | None = None

    def __post_init__(self) -> None:
        """Check that the table is one."""
        grid = (len(self.multipliers), len(self.volume))
        rising = len(self.multipliers) > 1 and self.multipliers[0] > 0 and (np.diff(self.multipliers) > 0).all()
        if not rising or self.spend.shape != grid or self.value.shape != grid:
            raise InputError(
                f"a forecast needs rising multipliers above 0 and tables of {grid}; "
                f"got {self.spend.shape} and {self.value.shape}"
            )

    @classmethod
    def of(cls, days: Sequence[Day], auction: str = "second_price") -> Forecast:
        """Measure past days. Raises InputError when they hold nothing that can be won."""
        ratios = np.concatenate([day.ratio[np.isfinite(day.ratio) & (day.ratio > 0)] for day in days])
        if not ratios.size:
            raise InputError("no past opportunity has both a known price and a predicted worth above 0")
        low, high = np.quantile(ratios, [0.001, 1.0])
        grid = np.geomspace(low / 2, high, STEPS)
        tables = np.mean([_table(day, grid) for day in days], axis=0)
        full_cost = float(np.mean([day.full_cost for day in days])) / MICROS
        full_value = float(np.mean([day.seen.value.sum() for day in days]))
        volume = np.mean([day.offered.sum(axis=1) for day in days], axis=0)
        won = tables[..., PREDICTED]
        paid = won * grid[:, None] if auction == "first_price" else tables[..., SPEND] / MICROS
        if auction == "soft_floor":
            paid = np.mean([_paid(day, grid, auction) for day in days], axis=0) / MICROS
        return cls(grid, paid / full_cost, won / full_value, volume / volume.sum(), full_cost, full_value)

    @classmethod
    def with_parts(cls, days: Sequence[Day], auction: str = "second_price") -> Forecast:
        """Measure past days, and each of their segments by itself. Raises InputError as `of` does."""
        alone = [[day.only(segment) for day in days] for segment in range(days[0].segments)]
        return replace(cls.of(days, auction), parts=tuple(cls.of(each, auction) for each in alone))

    def spending(self, multiplier: Amount) -> FloatArray:
        """Return the expected spend (...) of a day as a share of its full cost at multipliers (...)."""
        return self._total(self._totals[0], multiplier)

    def earning(self, multiplier: Amount) -> FloatArray:
        """Return the expected worth won (...) on a day as a share of its whole worth at multipliers (...)."""
        return self._total(self._totals[1], multiplier)

    @property
    def ticks(self) -> int:
        """Number of ticks in a day."""
        return len(self.volume)

    def multiplier(self, scarcity: Amount) -> Any:  # noqa: ANN401 - of scarcity's shape
        """Return the multiplier at which an average day spends this share of its full cost; any shape."""
        return np.interp(scarcity, *self._spending)

    def affordable(self, cost_limit: Amount) -> Any:  # noqa: ANN401 - of cost_limit's shape
        """Return the multiplier, at least the limit itself, at which past days' cost per worth won meets a limit.

        cost_limit: currency per currency of worth. At second price that lies above the limit: most wins cost less.
        """
        return np.maximum(cost_limit, np.interp(cost_limit, *self._costs, left=0.0))

    def spend_at(self, multiplier: Amount) -> FloatArray:
        """Return the expected spend (..., ticks) as a share of full cost at multipliers (...)."""
        return self._rows(self.spend, multiplier)

    def value_at(self, multiplier: Amount) -> FloatArray:
        """Return the expected worth won (..., ticks) as a share of the day's at multipliers (...)."""
        return self._rows(self.value, multiplier)

    def shaded(self, multiplier: FloatArray) -> FloatArray:
        """Return the multipliers (n, kinds) that belong to shaded multipliers (n,): between rows of shades, in logs.

        Raises InputError where the forecast has no shades.
        """
        if self.shades is None:
            raise InputError("the forecast has no shades; see bidpilot.envs.shading.shaded_forecast")
        return np.exp(self._rows(np.log(self.shades), multiplier))

    def plan(self, scarcity: Amount) -> FloatArray:
        """Return the share (..., ticks) of the budget to spend in each tick: that of the right constant multiplier.

        The profile of traffic *and* prices; a small part of the volume profile keeps every tick above 0.
        """
        spend = self.spend_at(self.multiplier(scarcity)) + 1e-9
        return np.asarray(0.99 * spend / spend.sum(axis=-1, keepdims=True) + 0.01 * self.volume)

    @cached_property
    def _spending(self) -> tuple[FloatArray, FloatArray]:
        """A day's spend as a share of full cost, strictly rising, and the multipliers that bring it."""
        return _rising(self.spend.sum(axis=1), self.multipliers)

    @cached_property
    def _costs(self) -> tuple[FloatArray, FloatArray]:
        """A day's cost per worth won, rising, and the multipliers that bring it, where anything is won."""
        cost, worth = self.spend.sum(axis=1) * self.full_cost, self.value.sum(axis=1) * self.full_value
        some = worth > 0.0
        return np.maximum.accumulate(cost[some] / worth[some]), self.multipliers[some]

    @cached_property
    def _logs(self) -> FloatArray:
        return np.asarray(np.log(self.multipliers))

    @cached_property
    def _totals(self) -> tuple[FloatArray, FloatArray]:
        """A day's spend and worth (A,), as the shares that spending and earning tell."""
        return self.spend.sum(axis=1), self.value.sum(axis=1)

    def _total(self, totals: FloatArray, multiplier: Amount) -> FloatArray:
        return np.asarray(np.interp(np.log(np.maximum(multiplier, 1e-300)), self._logs, totals))

    def _rows(self, table: FloatArray, multiplier: Amount) -> FloatArray:
        steps = np.arange(len(self.multipliers))
        place = np.asarray(np.interp(np.log(np.maximum(multiplier, 1e-300)), self._logs, steps))
        low = np.minimum(place.astype(np.int64), len(steps) - 2)
        part = (place - low)[..., None]
        return np.asarray((1.0 - part) * table[low] + part * table[low + 1])


def _table(day: Day, grid: FloatArray) -> FloatArray:
    """Return (A, ticks, len(COLUMNS)): the day at every multiplier of the grid, budget aside."""
    ladder = day.pooled
    bounds = [slice(int(a), int(b)) for a, b in zip(ladder.starts[:-1], ladder.starts[1:], strict=True)]
    places = [part.start + ladder.ratio[part].searchsorted(grid, side="right") for part in bounds]
    wins = np.stack(places, axis=1) - ladder.starts[:-1]
    return ladder.sums(np.arange(day.ticks), wins)


def _paid(day: Day, grid: FloatArray, auction: str) -> FloatArray:
    """Return what every multiplier of the grid pays (A, ticks), micro-currency, by the auction's own rule."""
    rule, value, price, ratio = pricing_rule(auction), day.seen.value, day.hidden.price, day.ratio
    soft = np.zeros(len(day)) if day.seen.soft_floor is None else day.seen.soft_floor
    floor, tick = whole_micros(soft).astype(np.int64), day.seen.tick
    paid = []
    for multiplier in grid.tolist():
        won = np.flatnonzero(ratio <= multiplier)
        cost = rule(price[won], multiplier * value[won] * MICROS, floor[won])
        paid.append(np.bincount(tick[won], cost, day.ticks))
    return np.array(paid)


def _rising(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Make x strictly rising for np.interp, keeping the first of equal entries."""
    keep = np.append(True, np.diff(x) > 0)
    return x[keep], y[keep]
