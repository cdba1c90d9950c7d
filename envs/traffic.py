"""A market whose laws are a few figures, drawn as fast as it is played: what environments play by default.

Each opportunity costs 64 random bits: 16 pick its kind (segment, click rate, typical price), 16 the noise of its
price, 32 decide the click. The rest is looked up (envs/traffic_law). So every noise has 65,536 quantiles: means are
those of the law, tails end at 4.3 standard deviations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS, FloatArray, IntArray, to_micros
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.traffic_law import BUSIEST, KIND_BITS, KINDS, Tables, TrafficLaw

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.types import BoolArray

LONGEST = 2**15 - 1
"""Ticks; no report takes longer."""

SLOWEST, DEAREST = 1e-6, 1e6
"""Limits of the factor by which a day's prices move together."""


@dataclass(frozen=True)
class TrafficMarket:
    """Draws days by a law. One stream a day, in a fixed order: a switch of the law changes only what it is about.

    (Volume apart: another number of opportunities is another day.) Day.draws names price_level, price_drift (the
    factor that the walk ends at), volume (factor on the mean), and where prices jump shock (log factor) and
    shock_tick.
    """

    law: TrafficLaw

    @cached_property
    def tables(self) -> Tables:
        """What the bits are looked up in."""
        return Tables.of(self.law)

    @cached_property
    def profile(self) -> FloatArray:
        """(ticks,) share of a day's volume, surges aside."""
        return self.law.profile()

    @cached_property
    def _ticks(self) -> npt.NDArray[np.int16]:
        return np.arange(self.law.ticks, dtype=np.int16)

    @property
    def segment_count(self) -> int:
        """Number of segments."""
        return self.law.segments

    def day(self, rng: np.random.Generator) -> Day:
        """Draw one day."""
        law = self.law
        share, level, draws = self._course(rng)
        n = rng.poisson(law.opportunities * draws["volume"])
        counts = rng.multinomial(n, share)
        bits = rng.integers(0, 2**64 - 1, n, dtype=np.uint64, endpoint=True)
        kind, noise = (bits.view(np.uint16)[place::4].astype(np.intp) for place in (0, 1))
        rate = self.tables.rate[kind]
        click = (bits.view(np.uint32)[1::2] >> (32 - law.rate_bits)) < rate
        price = self._prices(kind, noise, np.repeat(level, counts))
        conversion, revenue, delay = self._outcomes(click, rng)
        seen = self._seen(kind, rate, counts, rng)
        hidden = Hidden(price, click, conversion, revenue, seen.value, delay)
        return Day.trusted(seen, hidden, law.ticks, law.segments, once=law.once, draws=draws)

    def _course(self, rng: np.random.Generator) -> tuple[FloatArray, npt.NDArray[np.float32], dict[str, float]]:
        """Draw how the day goes: shares of its volume (ticks,), factors of prices (ticks,), and draws by name."""
        law, ticks = self.law, self.law.ticks
        normal, place = rng.standard_normal(3 + 2 * ticks), rng.random()
        volume = min(float(np.exp(law.volume_noise * (normal[0] - law.volume_noise / 2.0))), BUSIEST)
        share = self.profile
        if law.surge:
            share = share * np.exp(normal[3 : 3 + ticks].cumsum() * (law.surge / np.sqrt(ticks)))
            share /= share.sum()
        log_price = np.full(ticks, law.level * normal[1])
        if law.drift:
            log_price += normal[3 + ticks :].cumsum() * (law.drift / np.sqrt(ticks))
        draws = {"volume": volume, "price_level": float(np.exp(law.level * normal[1]))}
        draws["price_drift"] = float(np.exp(log_price[-1])) / draws["price_level"]
        if law.shock:
            shock, tick = float(np.copysign(law.shock, normal[2])), 1 + int(place * (ticks - 1))
            log_price[tick:] += shock
            draws |= {"shock": shock, "shock_tick": float(tick)}
        level = np.minimum(np.maximum(np.exp(log_price), SLOWEST), DEAREST)
        return share, level.astype(np.float32), draws

    def _prices(self, kind: IntArray, noise: IntArray, level: npt.NDArray[np.float32]) -> IntArray:
        """Return the prices (n,) of kinds (n,) with this noise (n,) at price levels (n,), micro-currency."""
        price = self.tables.price[kind]
        price *= self.tables.noise[noise]
        price *= level
        if self.tables.reserve is not None:
            np.maximum(price, self.tables.reserve[kind], out=price)
        np.maximum(price, 1.0, out=price)
        np.minimum(price, self.law.highest_price, out=price)
        return np.rint(price, out=price).astype(np.int64)

    def _outcomes(
        self, click: BoolArray, rng: np.random.Generator
    ) -> tuple[BoolArray, IntArray, npt.NDArray[np.int16] | None]:
        """Draw what clicks (n,) lead to: conversion (n,), revenue (n,) in micro-currency and delay (n,) in ticks."""
        law, n = self.law, len(click)
        clicked = np.flatnonzero(click)
        converts, worth, wait = rng.random((3, len(clicked)))
        chosen = converts < law.cvr
        rows = clicked[chosen]
        conversion, revenue = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.int64)
        conversion[rows] = True
        if law.goal.kind == "value":
            revenue[rows] = self.tables.worth[(worth[chosen] * KINDS).astype(np.intp)]
        else:
            revenue[clicked if law.goal.kind == "clicks" else rows] = int(to_micros(law.goal.worth))
        if not law.delay:
            return conversion, revenue, None
        delay = np.zeros(n, dtype=np.int16)
        delay[rows] = np.minimum(np.log1p(-wait[chosen]) / np.log(law.delay / (1.0 + law.delay)), LONGEST)
        return conversion, revenue, delay

    def _seen(
        self, kind: IntArray, rate: npt.NDArray[np.uint32], counts: IntArray, rng: np.random.Generator
    ) -> Opportunities:
        """Return what is seen of kinds (n,) with these click rates (n,), counts (ticks,) of them in each tick."""
        law, tables = self.law, self.tables
        pctr: FloatArray = np.multiply(rate.view(np.int32), 2.0**-law.rate_bits)
        value = pctr * law.worth
        value += tables.rounder
        value -= tables.rounder
        tick = np.repeat(self._ticks, counts)
        segment = ((kind.astype(np.uint32) * np.uint32(law.segments)) >> KIND_BITS).astype(np.int16)
        user = (rng.random(len(kind)) ** 2 * law.users).astype(np.int32) if law.users else None
        reserve = _constant(0.0, len(kind)) if tables.reserve is None else _currency(tables.reserve[kind])
        soft = None if tables.soft_floor is None else _currency(tables.soft_floor[kind])
        return Opportunities(pctr, _constant(law.cvr, len(kind)), value, reserve, segment, tick, user, soft)


def _constant(number: float, n: int) -> FloatArray:
    """Return a column (n,) that holds the same number in every row and takes no memory."""
    return np.ndarray((n,), np.float64, np.float64(number).tobytes(), strides=(0,))


def _currency(micros: npt.NDArray[np.float32]) -> FloatArray:
    """Return whole micro-currency (n,) as currency that to_micros takes back to the same unit."""
    return micros.astype(np.float64) / MICROS
