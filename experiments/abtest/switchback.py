"""Switchback: the whole market is switched between two arms in periods, where units would take from each other.

Two campaigns that share a budget or meet in the same auctions disturb each other, so a split by user compares the
wrong things; a split by time does not (Bojinov, Simchi-Levi & Zhao 2023). What the earlier arm left behind is washed
out: the first hours of a period are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bidpilot.ctr.types import BoolArray, FloatArray

HOURS = 24.0


@dataclass(frozen=True, slots=True)
class Switchback:
    """A plan of periods. days: an even number; period: hours, a divisor of 24; washout: hours of each not counted."""

    days: int
    period: float
    washout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse plans that cannot be balanced."""
        if self.days < 2 or self.days % 2:  # noqa: PLR2004 - days come in pairs
            raise InputError(f"days must be an even number from 2 on, as days are paired; got {self.days}")
        slots = HOURS / self.period if self.period > 0.0 else 0.0
        if slots < 1.0 or abs(slots - round(slots)) > 1e-9:  # noqa: PLR2004 - rounding
            raise InputError(f"a period must divide the 24 hours of a day; got {self.period} hours")
        if not 0.0 <= self.washout < self.period:
            raise InputError(f"the washout ({self.washout} h) must be shorter than a period ({self.period} h)")

    @property
    def slots(self) -> int:
        """Periods in a day."""
        return round(HOURS / self.period)

    def draw(self, rng: np.random.Generator) -> BoolArray:
        """Return a schedule (days, slots), True where treated.

        Days go in pairs. In the first of a pair half of the slots, drawn at random, are treated, in the second the
        others: each hour of the day is seen once under each arm, and each day is half and half (by one, if slots are
        odd in number, in favour of either arm).
        """
        treated = self.slots // 2 + (self.slots % 2) * rng.integers(0, 2, self.days // 2)
        order = np.argsort(rng.random((self.days // 2, self.slots)), axis=1)
        first = order < treated[:, None]
        return np.stack([first, ~first], axis=1).reshape(self.days, self.slots)

    def means(self, hour: ArrayLike, value: ArrayLike) -> FloatArray:
        """Return the mean (days, slots) of values (n,) at hours (n,) since the start, those of the washout left out.

        NaN where nothing was counted. Raises InputError for values that are missing or lie outside the plan.
        """
        hours, values = np.asarray(hour, dtype=float), np.asarray(value, dtype=float)
        if hours.shape != values.shape or hours.ndim != 1 or not np.isfinite(values).all():
            raise InputError(f"expected hours (n,) and as many numbers, got {hours.shape} and {values.shape}")
        if not ((hours >= 0.0) & (hours < self.days * HOURS)).all():
            raise InputError(f"hours must lie in the plan, from 0 to {self.days * HOURS:g}; leave the others out")
        place = np.floor(hours / self.period).astype(np.int64)
        kept = hours - place * self.period >= self.washout
        cells = self.days * self.slots
        count = np.bincount(place[kept], minlength=cells)
        total = np.bincount(place[kept], weights=values[kept], minlength=cells)
        mean = np.divide(total, count, out=np.full(cells, np.nan), where=count > 0)
        return np.asarray(mean.reshape(self.days, self.slots), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Effect:
    """What switching did. value: treated - control; low, high: exact interval; p_value: of "no effect"; pairs: used."""

    value: float
    low: float
    high: float
    p_value: float
    pairs: int


def effect(
    plan: Switchback,
    schedule: BoolArray,
    means: FloatArray,
    rng: np.random.Generator,
    alpha: float = 0.05,
    draws: int = 4000,
) -> Effect:
    """Return the effect from the means (days, slots) of a schedule (days, slots), with randomisation inference.

    Each slot is compared with itself on the other day of the pair, less how much the two days differ: a regression on
    treatment, day and slot within pairs of days. Chance is what other schedules of the same plan would have shown, so
    no law of the noise is assumed, however the periods hang together; the interval holds all constant effects that this
    test does not refuse at alpha. Pairs with a NaN are left out. Raises InputError when too little is left.
    """
    shape = (plan.days, plan.slots)
    if schedule.shape != shape or means.shape != shape or (schedule[::2] == schedule[1::2]).any():
        raise InputError(f"expected a schedule and means of {shape} whose pairs of days mirror each other; see draw")
    gap = means[::2] - means[1::2]
    known = np.isfinite(gap)
    used = int(known.sum())
    direction = _direction(_signs(schedule), known)
    length = float(np.sqrt(np.sum(direction**2)))
    if length == 0.0:
        raise InputError("no pair of days has values in slots of both arms on both days; run it for longer")
    gap = np.where(known, gap, 0.0)
    seen = float(np.sum(direction * gap)) / length
    others = _unit(_direction(_redrawn(plan, draws, rng), known))
    shown, shared = np.tensordot(others, gap, 2), np.tensordot(others, direction, 2)
    low, high = _refused(seen, length, shown, shared)
    exceeded = int(np.sum(np.abs(shown) >= abs(seen) * (1.0 - 1e-12)))
    # the schedule that was run is one of the draws: among draws + 1 of them the test is exact
    rank = int(np.floor(alpha * (draws + 1))) - 1
    bounds = (np.sort(low)[rank], np.sort(high)[::-1][rank]) if rank >= 0 else (-np.inf, np.inf)
    return Effect(seen / length, float(bounds[0]), float(bounds[1]), (1 + exceeded) / (1 + draws), used)


def _signs(schedule: BoolArray) -> FloatArray:
    """Return +1 where the first day of a pair (pairs, slots) is treated, else -1."""
    return np.where(schedule[::2], 1.0, -1.0)


def _redrawn(plan: Switchback, draws: int, rng: np.random.Generator) -> FloatArray:
    """Return the signs (draws, pairs, slots) of other schedules: pairs of days are drawn alike and independently."""
    signs = _signs(replace(plan, days=plan.days * draws).draw(rng))
    return signs.reshape(draws, plan.days // 2, plan.slots)


def _direction(sign: FloatArray, known: BoolArray) -> FloatArray:
    """Return the signs (..., pairs, slots) less their mean within each pair of days, 0 where nothing is known."""
    count = np.maximum(known.sum(axis=-1, keepdims=True), 1)
    mean = np.where(known, sign, 0.0).sum(axis=-1, keepdims=True) / count
    return np.where(known, sign - mean, 0.0)


def _unit(direction: FloatArray) -> FloatArray:
    """Return directions (draws, pairs, slots) at length 1; those of length 0 stay."""
    length = np.sqrt(np.sum(direction**2, axis=(1, 2), keepdims=True))
    return np.asarray(direction / np.where(length > 0.0, length, 1.0))


def _refused(seen: float, along: float, shown: FloatArray, shared: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return between which effects (draws,) each other schedule shows at least as much as the one that was run.

    If the effect is d, the run schedule shows |seen - along d| beyond it and another |shown - shared d|; as
    |shared| <= along, the latter is the larger one between two values of d, on both sides of the estimate.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = np.stack([(seen - shown) / (along - shared), (seen + shown) / (along + shared)])
    same = (along - np.abs(shared)) <= 1e-9 * along
    low, high = roots.min(axis=0), roots.max(axis=0)
    return np.where(same, -np.inf, low), np.where(same, np.inf, high)
