"""Several ads of one campaign on the same traffic: which one an impression shows decides what comes of it.

An ad fits a segment by a factor: it multiplies the click rate, and so the worth of winning. The bidder takes all ads
to be alike (factor 1), therefore bids and prices do not depend on the ad; only outcomes do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import BoolArray, FloatArray, IntArray, to_micros
from bidpilot.envs.day import Day, Hidden
from bidpilot.envs.grid import on_grid
from bidpilot.envs.market import factors
from bidpilot.envs.simulator import FRESH, PLAIN, Memory, climb, scan
from bidpilot.envs.simulator import spread as spread_out
from bidpilot.envs.types import COLUMNS, Outcome, Rules

if TYPE_CHECKING:
    from bidpilot.envs.market import Market

OUTCOMES = tuple(COLUMNS.index(name) for name in ("clicks", "conversions", "revenue", "expected"))
"""Columns that depend on the ad."""


@dataclass(frozen=True)
class AdDay:
    """One episode's traffic with what each of A ads would bring: ads[a] is the day on which every win shows ad a.

    base: what all ads share (sight, prices, belief) and the outcomes of an ad of factor 1. factors: (A, segments).
    click, conversion: (A, n) bool. revenue: (A, n) int64 micro-currency. expected: (A, n) currency, on one grid, so
    that sums over any choice of ads are exact. once: it will not be replayed, so it is scanned (the results are the
    same). Made by ad_day.
    """

    base: Day
    factors: FloatArray
    click: BoolArray
    conversion: BoolArray
    revenue: IntArray
    expected: FloatArray
    once: bool = False

    def __len__(self) -> int:
        """Return the number of ads."""
        return len(self.factors)

    def __getitem__(self, ad: int) -> Day:
        """Return the day of one ad."""
        return self.days[ad]

    @cached_property
    def days(self) -> tuple[Day, ...]:
        """A day per ad; all share the arrays of prices, ticks and segments."""
        columns = zip(self.click, self.conversion, self.revenue, self.expected, strict=True)
        return tuple(self._day(*each) for each in columns)

    @cached_property
    def best(self) -> Day:
        """The day on which every win shows the ad that suits it best: no choice earns more."""
        parts = (self.click, self.conversion, self.revenue, self.expected)
        return self._day(*(part.max(axis=0) for part in parts))

    @cached_property
    def traffic_hash(self) -> str:
        """Fingerprint of everything in the day and its ads: equal for paired comparisons."""
        digest = hashlib.blake2b(self.base.traffic_hash.encode(), digest_size=8)
        for part in (self.factors, self.click, self.conversion, self.revenue, self.expected):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    @property
    def outcomes(self) -> tuple[BoolArray, BoolArray, IntArray, FloatArray]:
        """What depends on the ad (A, n), in the order of OUTCOMES."""
        return self.click, self.conversion, self.revenue, self.expected

    def _day(self, click: BoolArray, conversion: BoolArray, revenue: IntArray, expected: FloatArray) -> Day:
        """Return the base day with other outcomes; it is checked as every day is."""
        base = self.base
        hidden = Hidden(base.hidden.price, click, conversion, revenue, expected, base.hidden.delay)
        return Day(base.seen, hidden, base.ticks, base.segments, base.once, base.belief, base.draws)


@dataclass(frozen=True)
class AdMarket:
    """A market of days, each with ads of its own.

    market: where the traffic comes from. ads: their number. spread: log-sd of the factors by which an ad fits a
    segment (log-normal of mean 1, new every episode). Raises InputError for no ads or a spread that is none.
    """

    market: Market
    ads: int = 4
    spread: float = 0.5

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.ads < 1:
            raise InputError(f"a campaign needs at least 1 ad; got {self.ads}")
        if not 0 <= self.spread < np.inf:
            raise InputError(f"the spread of ads must be a number at least 0; got {self.spread}")

    @property
    def segment_count(self) -> int:
        """Number of user segments."""
        return self.market.segment_count

    def day(self, rng: np.random.Generator) -> AdDay:
        """Draw a day and its ads; the traffic does not depend on how many ads there are."""
        traffic, ads = rng.spawn(2)
        return self.over(self.market.day(traffic), ads)

    def over(self, day: Day, rng: np.random.Generator, fits: FloatArray | None = None) -> AdDay:
        """Draw ads for a given day; fits (A, segments): factors that are given too."""
        drawn, click, conversion = rng.spawn(3)
        if fits is None:
            fits = factors(self.spread, self.ads * day.segments, drawn).reshape(self.ads, day.segments)
        if len(fits) != self.ads:
            raise InputError(f"the factors must have a row for each of {self.ads} ads; got {len(fits)}")
        return ad_day(day, fits, click.random(len(day)), conversion.random(len(day)))


def ad_day(day: Day, fits: FloatArray, click: FloatArray, conversion: FloatArray) -> AdDay:
    """Make the day of ads that fit the segments by factors (A, segments).

    The true click rate of an ad is min(rate x factor, 1), with the market's own law behind rate (see true_rate); the
    expected worth grows alike. click, conversion: (n,) uniform, one of each per opportunity for all ads. Given what
    came of an ad of factor 1, a worse ad loses some of its clicks and a better one adds some, so a better ad clicks
    whenever a worse one does, and factors of 1 change nothing. An added click converts as often as predicted (pcvr)
    and brings the expected worth of a conversion; a day whose clicks pay without converting pays added clicks.
    Raises InputError for factors of another shape or not above 0, and as Day does for totals.
    """
    if fits.ndim != 2 or fits.shape[1] != day.segments or not ((fits > 0) & np.isfinite(fits)).all():  # noqa: PLR2004 - (A, segments)
        raise InputError(f"factors must be (ads, {day.segments}) numbers above 0; got {fits}")
    base, rate = day.hidden, true_rate(day)
    with np.errstate(divide="ignore"):
        most = np.where(rate > 0, 1.0 / rate, 1.0)
    lift = np.where(rate > 0, np.minimum(fits[:, day.seen.segment], most), 1.0)
    kept, added = click < lift, click * (1.0 - rate) < rate * (lift - 1.0)
    clicks = np.where(base.click, kept, added)
    fresh = added & ~base.click
    converts = fresh & (conversion < day.seen.pcvr)
    lost = base.click & ~kept
    made = AdDay(
        day,
        fits,
        clicks,
        (base.conversion & ~lost) | converts,
        np.where(lost, 0, base.revenue) + _earned(day, rate, fresh, converts),
        on_grid(base.expected * lift),
    )
    _ = made.best  # its totals bound those of every choice, and it is checked
    return made


def true_rate(day: Day) -> FloatArray:
    """Return the click rate (n,) under the market's law: as predicted, times expected by predicted worth.

    So all that the bidder mistakes about worth counts as a mistake about clicks; where nothing is predicted to be
    worth anything, the predicted rate is taken to be true.
    """
    value, expected = day.seen.value, day.hidden.expected
    some = value > 0
    ratio = np.where(some, expected / np.where(some, value, 1.0), 1.0)
    return np.clip(day.seen.pctr * ratio, 0.0, 1.0)


def play_ads(
    ads: AdDay,
    choice: IntArray,
    tick: int,
    multipliers: FloatArray,
    left: int,
    rules: Rules = PLAIN,
    memory: Memory = FRESH,
) -> Outcome:
    """Play one tick with bids multiplier x believed value, showing each segment one ad.

    choice: (segments,) numbers of the ads. multipliers: (segments,). left: micro-currency that may be spent. One
    row per segment comes back. Tie and budget rule are those of simulator.play; rows are known where it was scanned.
    Raises InputError for another shape, or an ad that is none.
    """
    day = ads.base
    if np.shape(choice) != (day.segments,) or np.shape(multipliers) != (day.segments,):
        shapes = f"{np.shape(choice)} and {np.shape(multipliers)}"
        raise InputError(f"expected an ad and a multiplier for each of {day.segments} segments; got {shapes}")
    if not 0 <= choice.min() <= choice.max() < len(ads):
        raise InputError(f"ads are numbered 0..{len(ads) - 1}; got {choice.tolist()}")
    if rules.plain and not (ads.once or day.once) and day.hidden.delay is None:
        outcome = _climbed(ads, choice, tick, multipliers)
        if outcome.spend <= left:
            return outcome
    return _scanned(ads, choice, tick, multipliers, left, rules, memory)


def _climbed(ads: AdDay, choice: IntArray, tick: int, multipliers: FloatArray) -> Outcome:
    """Play by the sorted index of each chosen ad, as if money were no limit; other segments' multipliers are 0."""
    segments = ads.base.segments
    table = np.zeros((segments, len(COLUMNS)))
    for ad in np.unique(choice):
        table += climb(ads[ad], tick, np.where(choice == ad, multipliers, 0.0), segments).table
    return Outcome(ads.base.offered[tick], table)


def _scanned(
    ads: AdDay, choice: IntArray, tick: int, multipliers: FloatArray, left: int, rules: Rules, memory: Memory
) -> Outcome:
    """Play the auctions in time order: what is won and paid is the same for all ads, what comes of it the chosen's."""
    day = ads.base
    outcome = scan(day, tick, spread_out(day, tick, multipliers), left, rules, day.segments, memory)
    rows = outcome.rows
    if rows is None:
        return outcome
    segment = day.seen.segment[rows]
    shown = choice[segment]
    for column, amounts in zip(OUTCOMES, ads.outcomes, strict=True):
        outcome.table[:, column] = np.bincount(segment, amounts[shown, rows], minlength=day.segments)
    return outcome


def _earned(day: Day, rate: FloatArray, fresh: BoolArray, converts: BoolArray) -> IntArray:
    """Return the revenue (A, n), micro-currency, of clicks that the base day does not have."""
    base, pcvr = day.hidden, day.seen.pcvr
    by_click = bool((base.click & ~base.conversion & (base.revenue > 0)).any())
    pays = fresh if by_click else converts | (fresh & (pcvr <= 0.0))
    chance = rate if by_click else rate * np.where(pcvr > 0.0, pcvr, 1.0)
    earned = np.zeros(fresh.shape, dtype=np.int64)
    ad, row = np.nonzero(pays)
    earned[ad, row] = to_micros(np.maximum(base.expected[row], 0.0) / chance[row])
    return earned
