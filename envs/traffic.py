"""A market whose laws are a few figures, drawn as fast as it is played: what environments play by default.

Each opportunity costs 64 random bits: 16 pick its kind (segment, click rate, typical price), 16 the noise of its
price, 32 decide the click. The rest is looked up (envs/traffic_law). So every noise has 65,536 quantiles: means are
those of the law, tails end at 4.3 standard deviations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bidpilot.ctr.types import MICROS, FloatArray, IntArray, to_micros
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.traffic_law import BUSIEST, KIND_BITS, KINDS, Tables, TrafficLaw

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from bidpilot.ctr.types import BoolArray

LONGEST = 2**15 - 1
"""Ticks; no report takes longer."""

LARGEST = 2**25 - 2**16
"""Bytes; glibc keeps no block of 32 MB."""


class _Course(NamedTuple):
    """How days go: share of volume and factor of prices (days, ticks), mean volume (days,), draws by name of each."""

    share: FloatArray
    price: npt.NDArray[np.float32]
    volume: FloatArray
    draws: list[dict[str, float]]


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
        keep_memory()
        return Tables.of(self.law)

    @cached_property
    def profile(self) -> FloatArray:
        """(ticks,) share of a day's volume, surges aside."""
        return self.law.profile()

    @property
    def segment_count(self) -> int:
        """Number of segments."""
        return self.law.segments

    def __reduce__(self) -> tuple[type[TrafficMarket], tuple[TrafficLaw]]:
        """Be copied and sent as the law alone: tables are worked out again."""
        return TrafficMarket, (self.law,)

    def day(self, rng: np.random.Generator) -> Day:
        """Draw one day."""
        return self._draw([rng], once=self.law.once)[0]

    def many(self, rngs: Sequence[np.random.Generator]) -> list[Day]:
        """Draw a day from each stream, the same as one by one but looked up together, for being played once together.

        Their columns lie end to end in the same arrays.
        """
        return self._draw(rngs, once=True)

    def _draw(self, rngs: Sequence[np.random.Generator], *, once: bool) -> list[Day]:
        law = self.law
        course = self._course(rngs)
        counts = self._counts(course, rngs)
        sizes = counts.sum(axis=1).tolist()
        bits = _joined(
            [rng.integers(0, 2**64 - 1, size, np.uint64, endpoint=True) for rng, size in zip(rngs, sizes, strict=True)]
        )
        ends = np.append(0, np.cumsum(sizes))
        quarters = bits.view(np.uint16)
        kind, noise = quarters[::4].astype(np.intp), quarters[1::4].astype(np.intp)
        rate = self.tables.rate[kind]
        click = (bits.view(np.uint32)[1::2] >> (32 - law.rate_bits)) < rate
        price = self._prices(kind, noise, np.repeat(course.price.ravel(), counts.ravel()))
        conversion, revenue, delay = self._outcomes(click, ends, rngs)
        seen = self._seen(kind, rate, counts, rngs)
        hidden = Hidden(price, click, conversion, revenue, seen.value, delay)
        return [
            self._cut(seen, hidden, slice(*part), count, draws, once=once)
            for part, count, draws in zip(pairwise(ends.tolist()), counts, course.draws, strict=True)
        ]

    def _counts(self, course: _Course, rngs: Sequence[np.random.Generator]) -> IntArray:
        """Draw the numbers of opportunities (days, ticks)."""
        each = zip(rngs, (self.law.opportunities * course.volume).tolist(), course.share, strict=True)
        return np.array([rng.multinomial(rng.poisson(mean), share) for rng, mean, share in each])

    def _cut(
        self, seen: Opportunities, hidden: Hidden, part: slice, counts: IntArray, draws: dict[str, float], *, once: bool
    ) -> Day:
        """Return one of the days that were looked up together."""
        law = self.law
        if part.stop - part.start < len(seen.value):
            seen, hidden = seen.rows(part), hidden.rows(part)
        return Day.trusted(seen, hidden, counts, law.segments, once=once, draws=draws)

    @cached_property
    def _ticks(self) -> npt.NDArray[np.int16]:
        """(ticks,) their numbers."""
        return np.arange(self.law.ticks, dtype=np.int16)

    @cached_property
    def _steps(self) -> FloatArray:
        """(2, 1) log-sd of a step of the walks of volume and of prices."""
        return np.array([[self.law.surge], [self.law.drift]]) / math.sqrt(self.law.ticks)

    @cached_property
    def _same(self) -> tuple[FloatArray, FloatArray]:
        """The columns that are the same in every row, cvr and no reserve: as long as any days, without memory."""
        cvr, nothing = (np.broadcast_to(number, 2**40) for number in (self.law.cvr, 0.0))
        return cvr, nothing

    @cached_property
    def _worth(self) -> int:
        """Micro-currency, what a click or conversion is worth."""
        return int(to_micros(self.law.goal.worth))

    def _course(self, rngs: Sequence[np.random.Generator]) -> _Course:
        """Draw how days go, each from its own stream."""
        law, ticks = self.law, self.law.ticks
        drawn = [(rng.standard_normal(3 + 2 * ticks), rng.random()) for rng in rngs]
        normal = np.stack([each for each, _ in drawn])
        volume = np.minimum(np.exp(law.volume_noise * (normal[:, 0] - law.volume_noise / 2.0)), BUSIEST)
        level = np.exp(law.level * normal[:, 1])
        walk = np.exp(normal[:, 3:].reshape(-1, 2, ticks).cumsum(axis=2) * self._steps)
        share, price = self.profile * walk[:, 0], walk[:, 1] * level[:, None]
        named = {"volume": volume.tolist(), "price_level": level.tolist(), "price_drift": walk[:, 1, -1].tolist()}
        if law.shock:
            shock = np.copysign(law.shock, normal[:, 2])
            tick = 1 + (np.array([place for _, place in drawn]) * (ticks - 1)).astype(np.intp)
            price *= np.where(self._ticks >= tick[:, None], np.exp(shock)[:, None], 1.0)
            named |= {"shock": shock.tolist(), "shock_tick": tick.astype(np.float64).tolist()}
        draws = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
        return _Course(share / share.sum(axis=1, keepdims=True), price.astype(np.float32), volume, draws)

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
        self, click: BoolArray, ends: IntArray, rngs: Sequence[np.random.Generator]
    ) -> tuple[BoolArray, IntArray, npt.NDArray[np.int16] | None]:
        """Draw what clicks (n,) lead to: conversion (n,), revenue (n,) in micro-currency and delay (n,) in ticks.

        ends: (days + 1,) where each day's opportunities end; each draws from its own stream.
        """
        law, n = self.law, len(click)
        clicked = click.nonzero()[0]
        clicks = np.diff(clicked.searchsorted(ends)).tolist()
        converts, worth, wait = np.concatenate(
            [rng.random((3, count)) for rng, count in zip(rngs, clicks, strict=True)], axis=1
        )
        chosen = converts < law.cvr
        rows = clicked[chosen]
        conversion, revenue = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.int64)
        conversion[rows] = True
        if law.goal.kind == "value":
            revenue[rows] = self.tables.worth[(worth[chosen] * KINDS).astype(np.intp)]
        else:
            revenue[clicked if law.goal.kind == "clicks" else rows] = self._worth
        if not law.delay:
            return conversion, revenue, None
        delay = np.zeros(n, dtype=np.int16)
        delay[rows] = np.minimum(np.log1p(-wait[chosen]) / np.log(law.delay / (1.0 + law.delay)), LONGEST)
        return conversion, revenue, delay

    def _seen(
        self, kind: IntArray, rate: npt.NDArray[np.uint32], counts: IntArray, rngs: Sequence[np.random.Generator]
    ) -> Opportunities:
        """Return what is seen of kinds (n,) with these click rates (n,), counts (days, ticks) of them in each tick."""
        law, tables, n = self.law, self.tables, len(kind)
        pctr: FloatArray = np.multiply(rate.view(np.int32), 2.0**-law.rate_bits)
        value = pctr * law.worth
        value += tables.rounder
        value -= tables.rounder
        cvr, nothing = self._same
        tick = np.repeat(np.tile(self._ticks, len(counts)), counts.ravel())
        segment = ((kind.astype(np.uint32) * np.uint32(law.segments)) >> KIND_BITS).astype(np.int16)
        user = None
        if law.users:
            met = [rng.random(count) for rng, count in zip(rngs, counts.sum(axis=1).tolist(), strict=True)]
            user = (np.concatenate(met) ** 2 * law.users).astype(np.int32)
        reserve = nothing[:n] if tables.reserve is None else _currency(tables.reserve[kind])
        soft = None if tables.soft_floor is None else _currency(tables.soft_floor[kind])
        return Opportunities(pctr, cvr[:n], value, reserve, segment, tick, user, soft)


def keep_memory() -> None:
    """Let the C library keep the memory of a day for the next one; without effect where it is not glibc.

    glibc gives large blocks back to the system at once, until one is freed: it then keeps blocks up to that size. New
    pages would take a third of the time that traffic takes. This block is never touched, so it costs nothing.
    """
    np.empty(LARGEST, dtype=np.int8)


def _joined(parts: list[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    """Lay arrays end to end; a single one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _currency(micros: npt.NDArray[np.float32]) -> FloatArray:
    """Return whole micro-currency (n,) as currency that to_micros takes back to the same unit."""
    return micros.astype(np.float64) / MICROS
