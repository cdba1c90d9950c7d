"""Is a simulator true to days that it has not seen? Totals by hour of day, simulated beside logged.

A held-out opportunity keeps its features, hour and logged bid; its price is drawn from the price law, its click from
the response. A gap counts where it is larger than TOLERANCE and than what simulated periods differ among themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr import price_ranges
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import SECONDS_PER_HOUR
from bidpilot.ctr.prices import HOURS
from bidpilot.ctr.types import MICROS, UNWINNABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.price_models.base import PriceLaws
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray

TOLERANCE = 0.05
"""A ratio within 1 +- TOLERANCE is good, whatever chance allows."""

QUANTITIES = ("opportunities", "wins", "spend", "clicks")
"""What decides; spend in currency, the others are counts. All but the first are at the logged bids."""

LEVELS = (0.25, 0.5, 0.75)
PRICES = tuple(f"price q{100 * level:.0f}" for level in LEVELS)
"""Quantiles of the price to beat of what was won, currency per impression: both sides are won at the same bids."""

WHOLE = "all"
"""Name of the row about all hours together."""


@dataclass(frozen=True, eq=False)
class HeldOutRows:
    """n held-out opportunities as logged, with what the models say of them.

    bid, price, reserve: (n,) micro-currency. known: (n,) whether the price is. won, click: (n,). hour: (n,) 0..23.
    day: (n,) 0..D-1. laws: of the n prices. pctr: (M, n), of each member of an ensemble; a simulated
    period follows one of them. first_price: what is won costs the bid, not the price.
    """

    bid: IntArray
    price: IntArray
    reserve: IntArray
    known: BoolArray
    won: BoolArray
    click: BoolArray
    hour: IntArray
    day: IntArray
    laws: PriceLaws
    pctr: FloatArray
    first_price: bool = False

    @classmethod
    def of(cls, log: AuctionLog, pctr: FloatArray, laws: PriceLaws, *, first_price: bool = False) -> HeldOutRows:
        """Read a log; pctr (M, n) and laws (n,) as above.

        A log without bids is one of impressions that were bought: their bids count as above every price. Raises
        InputError where such a log has rows that were lost, or what was won costs the bid.
        """
        bid, price, reserve, known, won, click = (log.frame[name].to_numpy() for name in _COLUMNS)
        if "bid" not in log:
            if first_price or not won.all():
                raise InputError(f"{log.source}: no bids are recorded, so wins cannot be simulated; map the column bid")
            bid = np.full(len(log), UNWINNABLE - 1)
        day = np.unique(log.day, return_inverse=True)[1]
        return cls(bid, price, reserve, known, won, click == 1, log.hour, day, laws, pctr, first_price)

    @property
    def logged(self) -> FloatArray:
        """Logged wins, spend, clicks and PRICES as totals (6, 25); a win at no known price is free."""
        return self._totals(self.won, np.where(self.known, self.price, 0), self.click)

    def simulate(self, noise: DayNoise, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return one simulated copy of the period: totals as logged (6, 25), and quantiles of all prices (L, 25)."""
        price = self.laws.sample(rng)
        scale = noise.draw(int(self.day.max()) + 1, rng)[self.day, self.hour]
        price = np.where(price < UNWINNABLE, np.rint(price * scale).astype(np.int64), price)
        price = np.maximum(price, self.reserve)
        world = self.pctr[int(rng.integers(len(self.pctr)))]
        totals = self._totals((self.bid > 0) & (self.bid >= price), price, rng.random(len(world)) < world)
        told = self.told
        return totals, _by_hour(self.hour[told], price[told] / MICROS, price_ranges.LEVELS)

    @property
    def told(self) -> BoolArray:
        """Rows (n,) that say something of their price: it is known, or a bid was lost."""
        return self.known | (~self.won & (self.bid > 0))

    def prices(self, drawn: FloatArray) -> pd.DataFrame:
        """Compare all prices, the lost ones included, with copies' quantiles (R, L, 25): price_ranges.price_table."""
        told, names = self.told, [*(str(hour) for hour in range(HOURS)), WHOLE]
        amount = np.where(self.known, np.maximum(self.price, self.reserve), self.bid)[told]
        cell = np.append(self.hour[told], np.full(len(amount), HOURS))
        return price_ranges.price_table(np.tile(amount, 2), np.tile(self.known[told], 2), cell, names, drawn)

    def _totals(self, won: BoolArray, price: IntArray, click: BoolArray) -> FloatArray:
        """Return wins, spend, clicks and PRICES by hour and, last, of all hours: (6, 25)."""
        hour, cost = self.hour[won], (self.bid if self.first_price else price)[won] / MICROS
        sums = np.array([np.bincount(hour, weight, HOURS) for weight in (np.ones(len(cost)), cost, click[won])])
        total = np.column_stack([sums, sums.sum(axis=1)])
        return np.vstack([total, _by_hour(hour, price[won] / MICROS, LEVELS)])


_COLUMNS = ("bid", "price", "reserve", "price_known", "won", "click")


@dataclass(frozen=True)
class DayNoise:
    """How simulated days differ: log-sd of a day's price level, and of the level's random walk over the day."""

    level: float = 0.0
    drift: float = 0.0

    def draw(self, days: int, rng: np.random.Generator) -> FloatArray:
        """Return factors on prices, (days, 24)."""
        walk = rng.normal(0.0, self.drift / HOURS**0.5, (days, HOURS)).cumsum(axis=1)
        return np.asarray(np.exp(rng.normal(0.0, self.level, (days, 1)) + walk))


def arrivals(log: AuctionLog) -> tuple[FloatArray, IntArray]:
    """Return opportunities by hour of day and in all (25,), and on how many days each hour of day has some (24,)."""
    instant = np.unique((log.frame["time"].to_numpy() // SECONDS_PER_HOUR).astype(np.int64))
    count = np.bincount(log.hour, minlength=HOURS).astype(np.float64)
    return np.append(count, count.sum()), np.bincount(instant % HOURS, minlength=HOURS)


def periods(days: FloatArray, covered: IntArray, copies: int, rng: np.random.Generator) -> FloatArray:
    """Return opportunities by hour and in all, (copies, 25), of periods put together from simulated days.

    days: (d, 24) opportunities of each, drawn with replacement. covered: (24,), of how many days a period has an hour.
    """
    chosen = days[rng.integers(len(days), size=(copies, int(covered.max(initial=0))))]
    count = (chosen * (np.arange(chosen.shape[1])[:, None] < covered)).sum(axis=1)
    return np.column_stack([count, count.sum(axis=1)])


def fidelity_table(simulated: Mapping[str, FloatArray], logged: Mapping[str, FloatArray]) -> pd.DataFrame:
    """Return simulated against logged: for each quantity a row for each hour with any, and one for all.

    simulated: (R, 25) of R simulated periods, logged: (25,), by quantity. Columns: quantity, hour ("all", "0".."23"),
    simulated (median), logged, ratio (simulated / logged) and its 95 % range low..high over simulated periods,
    within_5_percent, explained_by_noise (the logged figure lies in the range).
    """
    return pd.concat([_compared(name, simulated[name], logged[name]) for name in simulated], ignore_index=True)


def failures(table: pd.DataFrame) -> list[str]:
    """Return the quantities whose total is off by more than TOLERANCE and than chance; none: the simulator is true."""
    total = table[(table["hour"] == WHOLE) & table["quantity"].isin(QUANTITIES)]
    return [str(name) for name in total.loc[~(total["within_5_percent"] | total["explained_by_noise"]), "quantity"]]


def _compared(quantity: str, simulated: FloatArray, logged: FloatArray) -> pd.DataFrame:
    """Return the rows of one quantity; a price that only one side has is left out."""
    drawn = np.nan_to_num(simulated)
    kept = np.flatnonzero(np.isfinite(logged) & ((logged > 0) | (drawn.max(axis=0) > 0)))
    low, middle, high = np.quantile(drawn[:, kept], (0.025, 0.5, 0.975), axis=0)
    actual = logged[kept]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, least, most = (value / actual for value in (middle, low, high))
    return pd.DataFrame(
        {
            "quantity": quantity,
            "hour": [WHOLE if hour == HOURS else str(hour) for hour in kept],
            "simulated": middle,
            "logged": actual,
            "ratio": ratio,
            "low": least,
            "high": most,
            "within_5_percent": np.abs(ratio - 1.0) <= TOLERANCE,
            "explained_by_noise": (low <= actual) & (actual <= high),
        }
    )


def _by_hour(hour: IntArray, amount: FloatArray, levels: tuple[float, ...]) -> FloatArray:
    """Return the levels of amounts (n,) in each hour and, last, of all (len(levels), 25); NaN where there are none."""
    at, both = np.append(hour, np.full(len(hour), HOURS)), np.tile(amount, 2)
    order, count = np.lexsort((both, at)), np.bincount(at, minlength=HOURS + 1)
    place = np.cumsum(count) - count + (np.array(levels)[:, None] * np.maximum(count - 1, 0)).astype(np.int64)
    ranked = np.append(both[order], np.nan)
    return np.asarray(ranked[np.where(count > 0, place, len(both))])
