"""Who buys and what is offered in the marketplace: settings, buyers, and the opportunities of a tick.

Everything here is drawn whatever anybody bids. A buyer's value of a delivery is
quality of the opportunity x affinity of the buyer to the user's segment x noise of his own x worth of a click:
the noise takes LEVELS values, so that buyer, segment and noise are one look-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.types import EXACT, MICROS, UNWINNABLE, FloatArray, IntArray, to_micros
from bidpilot.envs.clearing import FEW, UNSOLD, check_factors, gsp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import BoolArray

LEVELS = 256
NORMAL = np.array([NormalDist().inv_cdf((level + 0.5) / LEVELS) for level in range(LEVELS)])
"""The quantiles of a standard normal law that a byte picks from."""

POLICIES = ("constant", "truthful", "pacing", "limited")
"""What plays a seat that no learner has taken, see bidpilot.envs.seats."""

ACTIONS = ("residual", "ladder")

RANGES: dict[str, tuple[float, float]] = {
    "buyers": (1, 4096),
    "slots": (1, 64),
    "ticks": (1, 100_000),
    "segments": (1, 2**16 // LEVELS),  # beside the noise in 16 bits
    "levels": (3, 1001),
    "opportunities": (0.0, 1e9),
    "click_rate": (1e-9, 1.0),
    "conversion_rate": (1e-9, 1.0),
    "reserve": (0.0, 1e5),
    "worth": (1e-6, 1e5),
    "reach": (0.0, 20.0),
    "rivals": (1e-3, 1e3),
} | dict.fromkeys(("volume_noise", "worth_spread", "affinity", "noise", "aggression", "gain"), (0.0, 3.0))
"""What each number of the settings may be, ends included; whole numbers where the ends are."""

QUALITY_SPREAD, QUALITY_CAP = 0.5, 8.0
"""Log-sd of the opportunities' click rates; none is above the cap times the mean."""

SWING = 0.6
"""How far the busiest tick is above an even share of the day, and the quietest below it."""

SAMPLE, ROUNDS, BALANCED = 500, 10, (0.02, 5.0)
"""Opportunities by which budgets are scaled; rounds to find multipliers that spend them, and where those may lie."""


@dataclass(frozen=True, slots=True)
class MarketplaceConfig:
    """Settings of a marketplace; the defaults are a small, quick one.

    buyers, slots, ticks, segments: counts. factors: chance of each slot to be seen, from the top.
    opportunities: expected number a day. volume_noise: log-sd of a day's volume.
    budgets: range of a buyer's budget, drawn log-uniformly, as a share of what one buyer would spend on average if all
    bid their value. reserve: currency per delivery. click_rate: mean, per delivery. conversion_rate: per click.
    worth: currency per conversion, median over buyers. worth_spread, affinity, noise, aggression: log-sd over buyers;
    over buyers and segments; over buyers and opportunities; of the buyers' first multipliers around balanced ones.
    limits: range of the spend per value that limited buyers accept. policies: weights of POLICIES among the seats.
    gain: of the pacing controllers. seat: the learner's; None: drawn at reset. action: "residual" or "ladder".
    reach: the action 1 multiplies the controller's bid by exp(reach). levels: rungs of the ladder, an odd number.
    rivals: factor on the budgets of all but the seat's, which has to be given then; nobody's first bids expect it.

    Raises InputError for figures that no market can have.
    """

    buyers: int = 48
    slots: int = 3
    factors: tuple[float, ...] = (1.0, 0.8, 0.6)
    ticks: int = 48
    opportunities: float = 4_800.0
    segments: int = 8
    volume_noise: float = 0.2
    budgets: tuple[float, float] = (0.25, 1.5)
    reserve: float = 0.001
    click_rate: float = 0.02
    conversion_rate: float = 0.1
    worth: float = 5.0
    worth_spread: float = 0.3
    affinity: float = 0.5
    noise: float = 0.5
    aggression: float = 0.3
    limits: tuple[float, float] = (0.5, 1.0)
    policies: tuple[float, ...] = (0.2, 0.15, 0.5, 0.15)
    gain: float = 0.15
    seat: int | None = None
    action: str = "residual"
    reach: float = 0.7
    levels: int = 9
    rivals: float = 1.0

    def __post_init__(self) -> None:
        """Check the figures."""
        self._check_numbers()
        check_factors(np.asarray(self.factors, dtype=np.float64))
        if self.slots > min(len(self.factors), self.buyers):
            raise InputError(
                f"{self.slots} slots need as many factors and buyers; got {len(self.factors)} and {self.buyers}"
            )
        for name in ("budgets", "limits"):
            low, high = getattr(self, name)
            if not 0 < low <= high < EXACT / MICROS:
                raise InputError(f"{name} must be a range of numbers above 0, (low, high); got {(low, high)}")
        weights = np.asarray(self.policies, dtype=np.float64)
        if weights.shape != (len(POLICIES),) or not ((weights >= 0).all() and 0 < weights.sum() < np.inf):
            raise InputError(f"policies must be a weight of 0 or more for each of {POLICIES}; got {self.policies}")
        if self.seat is not None:
            self.check_seat(self.seat)
        elif self.rivals != 1.0:
            raise InputError(f"rivals is a factor on the budgets of all but a seat's: give seat too; got {self.rivals}")
        if self.action not in ACTIONS:
            raise unknown("action", self.action, ACTIONS)

    def check_seat(self, seat: int) -> None:
        """Raise InputError unless there is such a seat."""
        if not 0 <= seat < self.buyers:
            raise InputError(f"a seat must be one of 0 to {self.buyers - 1}; got {seat}")

    def _check_numbers(self) -> None:
        """Raise InputError for a count, rate or spread out of its range."""
        for name, (low, high) in RANGES.items():
            given = getattr(self, name)
            if not low <= given <= high:
                raise InputError(f"{name} must be in {low:g}..{high:g}; got {given}")
            if type(low) is int and given != int(given):
                raise InputError(f"{name} must be a whole number; got {given}")
        if self.levels % 2 == 0:
            raise InputError(f"levels must be odd: the middle one is the controller's bid; got {self.levels}")

    @property
    def chances(self) -> FloatArray:
        """Chance (slots,) of each slot to be seen."""
        return np.asarray(self.factors[: self.slots], dtype=np.float64)

    @property
    def least(self) -> int:
        """Return the reserve in micro-currency."""
        return int(to_micros(self.reserve))

    @property
    def profile(self) -> FloatArray:
        """Share (ticks,) of the day's opportunities expected in each tick: quiet at night, busy in the evening."""
        shares = 1.0 - SWING * np.sin(2.0 * np.pi * (np.arange(self.ticks) + 0.5) / self.ticks)
        return np.asarray(shares / shares.sum())


@dataclass(frozen=True, slots=True)
class Buyers:
    """The buyers of an episode.

    rate: (B, segments x LEVELS) click probability per quality of the opportunity. worth: (B,) expected currency per
    click. budget: (B,) int64 micro-currency. scarcity: (B,) budget as a share of what an average buyer would spend if
    all bid their value. start: (B,) first multiplier. limit: (B,) spend per value. policy: (B,) number in POLICIES.
    """

    rate: FloatArray
    worth: FloatArray
    budget: IntArray
    scarcity: FloatArray
    start: FloatArray
    limit: FloatArray
    policy: IntArray

    @property
    def value(self) -> FloatArray:
        """Micro-currency a delivery is worth per quality of the opportunity, laid out as rate."""
        return self.rate * (self.worth * MICROS)[:, None]


@dataclass(frozen=True, slots=True)
class Traffic:
    """The n opportunities of a tick, in time order.

    quality: (n,) mean click probability. segment: (n,) the user's, times LEVELS. noise: (B, n) one byte per buyer and
    opportunity. Hidden, and attached to the opportunity whoever wins it: seen (n,), click and conversion (slots, n),
    uniform numbers; a slot is seen iff seen < its factor.
    """

    quality: FloatArray
    segment: npt.NDArray[np.uint16]
    noise: npt.NDArray[np.uint8]
    seen: FloatArray
    click: FloatArray
    conversion: FloatArray

    def __len__(self) -> int:
        """Return the number of opportunities."""
        return len(self.quality)


def draw_traffic(
    config: MarketplaceConfig, n: int, offered: np.random.Generator, response: np.random.Generator
) -> Traffic:
    """Draw n opportunities: what is offered from one stream, what would come of it from another."""
    mean = np.log(config.click_rate) - QUALITY_SPREAD**2 / 2.0
    quality = np.minimum(offered.lognormal(mean, QUALITY_SPREAD, n), _best_quality(config))
    segment = offered.integers(config.segments, size=n, dtype=np.uint16) * np.uint16(LEVELS)
    noise = offered.integers(LEVELS, size=(config.buyers, n), dtype=np.uint8)
    click, conversion = response.random((2, config.slots, n))
    return Traffic(quality, segment, noise, response.random(n), click, conversion)


def draw_buyers(config: MarketplaceConfig, rng: np.random.Generator) -> Buyers:
    """Draw the buyers of an episode.

    A sample of traffic scales the budgets, by what it costs if all bid their value, and gives the first multipliers:
    those that spend the budgets, but for the aggression.
    """
    count = config.buyers
    affinity = rng.normal(0.0, config.affinity, (count, config.segments))
    logs = affinity[:, :, None] + config.noise * NORMAL - (config.affinity**2 + config.noise**2) / 2.0
    rate = np.minimum(np.exp(logs).reshape(count, -1), 1.0 / _best_quality(config))
    worth = config.worth * np.exp(rng.normal(0.0, config.worth_spread, count)) * config.conversion_rate
    scarcity, limit = _log_range(config.budgets, rng.random(count)), _log_range(config.limits, rng.random(count))
    policy = rng.choice(len(POLICIES), size=count, p=np.asarray(config.policies) / sum(config.policies))
    value, sample = rate * (worth * MICROS)[:, None], draw_traffic(config, SAMPLE, rng, rng)
    fair = float(_spend(config, value, sample, np.ones(count)).mean()) * config.opportunities
    budget = np.clip(np.rint(fair * scarcity), 1.0, EXACT).astype(np.int64)
    balanced = _balance(config, value, sample, budget, policy == POLICIES.index("truthful"))
    start = balanced * np.exp(rng.normal(0.0, config.aggression, count))
    richer = np.where(np.arange(count) == config.seat, 1.0, config.rivals)
    budget = np.clip(np.rint(budget * richer), 1.0, EXACT).astype(np.int64)
    return Buyers(rate, worth, budget, scarcity * richer, start, limit, policy)


def offers(value: FloatArray, traffic: Traffic, multipliers: FloatArray, most: IntArray) -> IntArray:
    """Return the bids (B, n), int64 micro-currency: multiplier x value, cut off at the most a buyer may bid.

    value: (B, segments x LEVELS), see Buyers. multipliers: (B,), 0 or more, inf allowed. most: (B,) micro-currency.
    """
    limit = np.minimum(most, UNWINNABLE - 1).astype(np.float64)
    if len(traffic) <= FEW:
        return _few_offers(value, traffic, multipliers, limit)
    bids = np.empty(traffic.noise.shape, dtype=np.int64)
    code, amount = np.empty(len(traffic), dtype=np.uint16), np.empty(len(traffic))
    with np.errstate(over="ignore"):
        worths = value * multipliers[:, None]
        for buyer, noise in enumerate(traffic.noise):
            np.add(traffic.segment, noise, out=code)
            worths[buyer].take(code, out=amount, mode="clip")  # other modes copy; no code is out of range
            np.multiply(amount, traffic.quality, out=amount)
            bids[buyer] = np.minimum(amount, limit[buyer], out=amount)
    return bids


def _few_offers(value: FloatArray, traffic: Traffic, multipliers: FloatArray, limit: FloatArray) -> IntArray:
    """Return what offers returns, all rows at once: quicker while they fit into the cache, the same to the bit."""
    code = (traffic.segment + traffic.noise).astype(np.intp)
    with np.errstate(over="ignore"):
        amounts = np.take_along_axis(value, code, axis=1) * multipliers[:, None] * traffic.quality
    return np.minimum(amounts, limit[:, None]).astype(np.int64)


def _spend(config: MarketplaceConfig, value: FloatArray, sample: Traffic, multipliers: FloatArray) -> FloatArray:
    """Return the micro-currency (B,) that each buyer is expected to spend per opportunity, budgets aside."""
    bids = offers(value, sample, multipliers, np.full(config.buyers, UNWINNABLE))
    sale = gsp(bids, config.chances, config.least)
    owed, sold = config.chances[:, None] * sale.price, sale.winner != UNSOLD
    return np.bincount(sale.winner[sold], owed[sold], minlength=config.buyers) / len(sample)


def _balance(
    config: MarketplaceConfig, value: FloatArray, sample: Traffic, budget: IntArray, truthful: BoolArray
) -> FloatArray:
    """Return multipliers (B,) with which all would spend about their budgets, as past days would show them.

    Each round moves every multiplier half of the way, in logs, to where its own spend would fit if spend were in
    proportion and the others stood still; the truthful go on bidding their value.
    """
    balanced, wanted = np.ones(config.buyers), budget / max(config.opportunities, 1.0)
    for _ in range(ROUNDS):
        multipliers = np.where(truthful, 1.0, balanced)
        ratio = wanted / np.maximum(_spend(config, value, sample, multipliers), 1e-9)
        balanced = np.clip(multipliers * np.sqrt(np.clip(ratio, 0.25, 4.0)), *BALANCED)
    return balanced


def _best_quality(config: MarketplaceConfig) -> float:
    return min(config.click_rate * QUALITY_CAP, 1.0)


def _log_range(bounds: Sequence[float], share: FloatArray) -> FloatArray:
    low, high = np.log(bounds)
    return np.asarray(np.exp(low + (high - low) * share))
