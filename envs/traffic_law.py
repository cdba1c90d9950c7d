"""The law of drawn traffic: a few figures, and the tables that a day is looked up in."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import EXACT, MICROS, FloatArray
from bidpilot.envs.goal import Goal

if TYPE_CHECKING:
    import numpy.typing as npt

KIND_BITS = 16
KINDS = 2**KIND_BITS
"""Kinds of opportunity, and quantiles of every noise: what 16 random bits pick from."""

MOST_OPPORTUNITIES = 10_000_000
HIGHEST_PRICE = 2**39
"""Micro-currency: below UNWINNABLE."""

BUSIEST = 16.0
"""No day has a volume of more than so many times the mean one."""

COUNTS = {
    "ticks": (1, 10_000),
    "segments": (1, 1024),
    "users": (0, 2**30),
    "law_seed": (0, 2**63),
}
AMOUNTS = {
    **dict.fromkeys(("ctr", "cvr", "diurnal"), (0.0, 1.0)),
    **dict.fromkeys(("value_noise", "worth_noise", "price_noise", "segment_spread"), (0.0, 5.0)),
    **dict.fromkeys(("volume_noise", "surge", "level", "drift", "shock"), (0.0, 2.0)),
    "price_follows_value": (-5.0, 5.0),
    "delay": (0.0, 1e6),
    "reserve": (0.0, 1e3),
    "soft_floor": (0.0, 1e3),
}
"""Least and most of the figures. Beyond, 65,536 quantiles say little about a law, and prices no longer fit float32."""


@dataclass(frozen=True)
class TrafficLaw:
    """The figures that traffic is drawn by.

    opportunities: mean per day. ticks, segments: numbers of both. ctr: mean click rate; cvr: conversions per click.
    goal: what a win is worth; the realised worth of a conversion varies by worth_noise (log-sd, mean kept) where the
    goal is "value". price: currency, the median price (if prices of segments differ, the geometric mean).
    price_noise: log-sd of a price given the opportunity. value_noise: log-sd of click rates within a segment.
    price_follows_value: the typical price is in proportion to value to this power. segment_spread: log-sd of what
    segments have of their own, once of click rates and once of prices; law_seed draws it, the same for every day.

    diurnal: 0 for flat volume .. 1 for the full profile of a day (peaks at noon and in the evening). volume_noise,
    level: log-sd of a day's volume (mean kept) and price level. surge, drift: log-sd of the last step of a random walk
    of volume and of prices within the day. shock: log size of a price jump, up or down, at a random tick; 0: none.

    delay: mean ticks until a conversion is reported (geometric); 0: at once. users: number of users, user k being met
    in proportion to sqrt(k + 1) - sqrt(k), whatever the segment; 0: unknown. reserve, soft_floor: the floors of each
    opportunity as a multiple of its own typical price; 0: none. once: see Day.

    Raises InputError for figures out of range, and for amounts of money whose totals would not be exact.
    """

    opportunities: float = 5000.0
    ticks: int = 48
    segments: int = 8
    ctr: float = 0.02
    cvr: float = 0.12
    goal: Goal = field(default_factory=lambda: Goal("conversions", 4.0))
    worth_noise: float = 0.5
    price: float = 0.004
    price_noise: float = 0.55
    value_noise: float = 0.8
    price_follows_value: float = 0.35
    segment_spread: float = 0.3
    law_seed: int = 0
    diurnal: float = 1.0
    volume_noise: float = 0.15
    surge: float = 0.3
    level: float = 0.15
    drift: float = 0.1
    shock: float = 0.0
    delay: float = 0.0
    users: int = 0
    reserve: float = 0.0
    soft_floor: float = 0.0
    once: bool = True

    def __post_init__(self) -> None:
        """Check the figures."""
        for name, (least, most) in COUNTS.items():
            count = getattr(self, name)
            if not (isinstance(count, int) and least <= count <= most):
                raise InputError(f"{name} must be a whole number in {least}..{most}; got {count!r}")
        for name, (low, high) in AMOUNTS.items():
            amount = getattr(self, name)
            if not (isinstance(amount, int | float) and low <= amount <= high):
                raise InputError(f"{name} must lie in {low:g}..{high:g}; got {amount!r}")
        opportunities: Any = self.opportunities
        if not (isinstance(opportunities, int | float) and 0.0 < opportunities <= MOST_OPPORTUNITIES):
            raise InputError(f"opportunities must be above 0, at most {MOST_OPPORTUNITIES}; got {self.opportunities!r}")
        self._check_money()

    def _check_money(self) -> None:
        if not 1 / MICROS <= self.price <= self.highest_price / MICROS:
            raise InputError(
                f"price must lie in 0.000001..{self.highest_price / MICROS} currency, so that a day's cost is exact; "
                f"got {self.price}: use another unit of currency"
            )
        if not self.goal.worth * self.most <= EXACT / MICROS:
            raise InputError(
                f"the goal's worth must be at most {EXACT / MICROS / self.most} currency, so that a day's revenue is "
                f"exact; got {self.goal.worth}: use a larger unit of currency"
            )

    @cached_property
    def most(self) -> int:
        """More opportunities than any day has, a power of 2: twice what the busiest day is expected to have."""
        return 1 << int(np.ceil(np.log2(max(2 * BUSIEST * self.opportunities, 4096.0))))

    @cached_property
    def highest_price(self) -> int:
        """Micro-currency; no price is higher."""
        return min(EXACT // self.most, HIGHEST_PRICE)

    @cached_property
    def rate_bits(self) -> int:
        """Click rates are multiples of 2**-rate_bits."""
        return min(30, (EXACT // self.most).bit_length() - 1)

    @cached_property
    def worth(self) -> float:
        """Currency, expected worth of a click."""
        return self.goal.worth if self.goal.kind == "clicks" else self.goal.worth * self.cvr

    def profile(self) -> FloatArray:
        """Return the share (ticks,) of a day's volume that each tick is expected to have, surges aside."""
        hour = (np.arange(self.ticks) + 0.5) * (24.0 / self.ticks)
        shape = 0.3 + np.exp(-(((hour - 12.0) / 3.5) ** 2) / 2.0) + np.exp(-(((hour - 20.0) / 2.0) ** 2) / 2.0)
        share = 1.0 - self.diurnal + self.diurnal * shape / shape.mean()
        return np.asarray(share / share.sum())


@dataclass(frozen=True, slots=True)
class Tables:
    """What 16 random bits are looked up in. Money is micro-currency.

    rate: (KINDS,) click rates x 2**rate_bits. price, reserve, soft_floor: (KINDS,) typical price and floors of each
    kind. noise: (KINDS,) quantiles of the factor of prices. worth: (KINDS,) quantiles of what a conversion brings.
    rounder: adding and subtracting it rounds a value to the grid on which a day's sum is exact.

    A kind's segment is kind * segments // KINDS: segments are equally large, and each has KINDS / segments kinds, the
    quantiles of its click rates.
    """

    rate: npt.NDArray[np.uint32]
    price: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]
    worth: FloatArray
    rounder: float
    reserve: npt.NDArray[np.float32] | None
    soft_floor: npt.NDArray[np.float32] | None

    @classmethod
    def of(cls, law: TrafficLaw) -> Tables:
        """Work the tables of a law out."""
        segment, place = np.divmod(np.arange(KINDS) * law.segments, KINDS)
        quantile = np.minimum(place + law.segments // 2, KINDS - 1)
        own = law.segment_spread * np.random.default_rng(law.law_seed).standard_normal((2, law.segments))
        quality = law.value_noise * normal_quantiles()[quantile] + own[0, segment]
        quality -= quality.mean()
        rate = np.rint(_capped(np.exp(quality), law.ctr) * 2.0**law.rate_bits)
        dearness = law.price_follows_value * quality + own[1, segment] - own[1, segment].mean()
        price = law.price * MICROS * np.exp(np.clip(dearness, -50.0, 50.0))
        floors = [_floor(price * share, law) if share else None for share in (law.reserve, law.soft_floor)]
        noise = lognormal(law.price_noise) * np.exp(law.price_noise**2 / 2.0)
        worth = np.minimum(law.goal.worth * MICROS * lognormal(law.worth_noise), EXACT // law.most)
        highest = float(rate.max()) * 2.0**-law.rate_bits * law.worth
        rounder = 1.5 * law.most * 2.0 ** np.ceil(np.log2(highest)) if highest else 1.0
        prices = np.minimum(price, law.highest_price).astype(np.float32)
        return cls(rate.astype(np.uint32), prices, noise.astype(np.float32), worth, float(rounder), *floors)


@lru_cache(maxsize=1)
def normal_quantiles() -> FloatArray:
    """Return KINDS quantiles (KINDS,) of the standard normal law, each in the middle of its share; they add up to 0."""
    law = NormalDist()
    upper = np.array([law.inv_cdf((place + 0.5) / KINDS) for place in range(KINDS // 2, KINDS)])
    quantiles: FloatArray = np.concatenate([-upper[::-1], upper])
    quantiles.flags.writeable = False
    return quantiles


def lognormal(spread: float) -> FloatArray:
    """Return KINDS quantiles (KINDS,) of a log-normal law of mean 1, which theirs is to the last digits."""
    quantiles: FloatArray = np.exp(spread * (normal_quantiles() - normal_quantiles()[-1]))
    quantiles /= quantiles.mean()
    return quantiles


def _capped(weight: FloatArray, mean: float) -> FloatArray:
    """Return rates (n,) of this mean, in proportion to weights (n,) above 0 but at most 1."""
    if mean >= 1.0:
        return np.ones(len(weight))
    rising = np.sort(weight)
    sums = np.cumsum(rising)
    free = np.arange(1, len(weight) + 1)  # number of rates below 1
    factor = (mean * len(weight) - (len(weight) - free)) / sums
    fits = (factor * rising <= 1.0) & (factor >= 0.0)
    return np.asarray(np.minimum(weight * factor[np.flatnonzero(fits)[-1]], 1.0))


def _floor(micros: FloatArray, law: TrafficLaw) -> npt.NDArray[np.float32]:
    """Return floors (n,) in whole micro-currency that float32 holds."""
    return np.rint(np.minimum(micros, law.highest_price).astype(np.float32))
