"""A synthetic ad exchange whose click, conversion and price laws are known.

It stands in for a real log (the demo) and is the yardstick for the models: what they miss of the truth
can be measured. Clicks follow a logistic law with a segment x slot interaction, prices a log-normal law
that is correlated with click probability, moves with the hour and drifts from day to day.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.log import SECONDS_PER_DAY, SECONDS_PER_HOUR, AuctionLog
from bidpilot.ctr.types import MICROS, BoolArray, FloatArray, IntArray, Response

if TYPE_CHECKING:
    from collections.abc import Iterable

SEGMENTS = ("bargain", "browser", "family", "gadget", "loyal", "new", "sport", "style")
DEVICES = ("desktop", "phone", "tablet")
SLOTS = ("top", "side", "feed", "footer")


@dataclass(frozen=True)
class ExchangeConfig:
    """Size and levels of the exchange.

    opportunities: mean number per day. sites: number of web sites. ctr, cvr: levels of the two rates.
    worth: mean worth of a conversion, currency. price: median price to beat, currency per impression.
    price_noise: log-sd of a price around its law. trend: log drift of prices per day. day_noise: log-sd
    of a day's price level. bid: the logging buyer's median bid as a multiple of the median price.
    taste: log-sd by which a segment's click rate moves from day to day, from day number taste_from on (models
    fitted to the days before cannot know). law_seed: fixes the laws themselves (not the traffic).
    """

    opportunities: float = 28_600.0
    sites: int = 40
    ctr: float = 0.02
    cvr: float = 0.12
    worth: float = 4.0
    price: float = 0.004
    price_noise: float = 0.55
    trend: float = 0.02
    day_noise: float = 0.15
    bid: float = 1.6
    taste: float = 0.0
    taste_from: int = 7
    law_seed: int = 2026


@dataclass(frozen=True)
class Traffic:
    """n opportunities with everything about them, the truth included.

    log: features and time. truth: the true rates and values. price: (n,) micro-currency to beat.
    click, conversion: (n,) what would happen if the impression were shown. value: (n,) currency, the
    worth of the conversion where there is one.
    """

    log: AuctionLog
    truth: Response
    price: IntArray
    click: BoolArray
    conversion: BoolArray
    value: FloatArray


class Exchange:
    """Draws traffic from the known laws; the laws depend on the Config only, the draws on rng."""

    def __init__(self, config: ExchangeConfig | None = None) -> None:
        """Fix the laws."""
        self.config = config or ExchangeConfig()
        law = np.random.default_rng(self.config.law_seed)
        self._segment = law.normal(0.0, 0.35, len(SEGMENTS))
        self._slot = law.normal(0.0, 0.3, len(SLOTS))
        self._pair = law.normal(0.0, 0.4, (len(SEGMENTS), len(SLOTS)))
        self._site = law.normal(0.0, 0.35, self.config.sites)
        self._device = np.array([0.05, 0.1, -0.25])
        self._cvr_segment = law.normal(0.0, 0.3, len(SEGMENTS))
        self._price_segment = law.normal(0.0, 0.2, len(SEGMENTS))
        self._site_weight = 1.0 / np.arange(1, self.config.sites + 1)

    @cached_property
    def profile(self) -> FloatArray:
        """(24,) share of a day's traffic by hour: a low at night, peaks at noon and in the evening."""
        hour = np.arange(24)
        bumps = np.exp(-((hour - 12.5) ** 2) / 18.0) + 1.3 * np.exp(-((hour - 20.0) ** 2) / 8.0)
        shape = 0.18 + bumps
        return np.asarray(shape / shape.sum())

    def draw(self, days: Iterable[int], rng: np.random.Generator) -> Traffic:
        """Draw the traffic of some days; days are numbers, the drift depends on them."""
        numbers = tuple(days)
        time, level = self._times(numbers, rng)
        n = len(time)
        codes = {
            "segment": rng.integers(len(SEGMENTS), size=n),
            "device": rng.choice(len(DEVICES), size=n, p=(0.35, 0.55, 0.1)),
            "slot": rng.integers(len(SLOTS), size=n),
            "site": rng.choice(self.config.sites, size=n, p=self._site_weight / self._site_weight.sum()),
        }
        recency = rng.lognormal(1.0, 1.0, n)
        truth = self._response(codes, recency, self._moods(numbers, time, codes["segment"], rng))
        price = self._prices(codes, truth, time, level, rng)
        click = rng.random(n) < truth.pctr
        conversion = click & (rng.random(n) < truth.pcvr)
        value = np.where(conversion, truth.value * rng.lognormal(-0.125, 0.5, n), 0.0)
        return Traffic(self._log(time, codes, recency), truth, price, click, conversion, value)

    def logged(self, days: int, rng: np.random.Generator) -> tuple[AuctionLog, Response]:
        """Draw the log of a buyer who bid around a fixed level; return it with the true response of its rows.

        The price is known only where the buyer won, clicks and conversions likewise.
        """
        traffic = self.draw(range(days), rng)
        centre = self.config.bid * self.config.price * MICROS
        bid = np.rint(centre * rng.lognormal(0.0, 0.4, len(traffic.price))).astype(np.int64)
        won = bid >= traffic.price
        frame = traffic.log.frame
        columns = {name: frame[name] for name in ("time", "segment", "device", "slot", "site", "recency")}
        columns |= {"user_segment": frame["segment"]}
        log = AuctionLog.from_columns(
            columns
            | {
                "price": np.where(won, traffic.price, 0),
                "price_known": won,
                "bid": bid,
                "won": won,
                "click": (traffic.click & won).astype(np.int8),
                "conversion": (traffic.conversion & won).astype(np.int8),
                "value": np.where(won, traffic.value, 0.0),
            },
            categorical=traffic.log.categorical,
            numeric=traffic.log.numeric,
            currency=traffic.log.currency,
            source="synthetic exchange",
        )
        return log, traffic.truth

    def _times(self, days: tuple[int, ...], rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Draw times (n,) in order and the log price level (n,) of their day."""
        counts = rng.poisson(self.config.opportunities * self.profile, (len(days), 24))
        start = np.array(days)[:, None] * SECONDS_PER_DAY + np.arange(24) * SECONDS_PER_HOUR
        level = self.config.trend * np.array(days) + rng.normal(0.0, self.config.day_noise, len(days))
        time = np.repeat(start.ravel(), counts.ravel()) + rng.random(counts.sum()) * SECONDS_PER_HOUR
        order = np.argsort(time, kind="stable")
        return time[order], np.repeat(level, counts.sum(axis=1))[order]

    def _moods(
        self, days: tuple[int, ...], time: FloatArray, segment: IntArray, rng: np.random.Generator
    ) -> FloatArray:
        """Draw the shift (n,) of the click log-odds by day and segment."""
        shift = rng.normal(0.0, self.config.taste, (len(days), len(SEGMENTS)))
        shift[np.array(days) < self.config.taste_from] = 0.0
        day = np.searchsorted(np.sort(days), (time // SECONDS_PER_DAY).astype(np.int64))
        return np.asarray(shift[np.argsort(days)][day, segment])

    def _response(self, codes: dict[str, IntArray], recency: FloatArray, mood: FloatArray) -> Response:
        """Return the true rates of opportunities with these features."""
        segment, slot = codes["segment"], codes["slot"]
        score = self._segment[segment] + self._slot[slot] + self._pair[segment, slot] + self._device[codes["device"]]
        score += self._site[codes["site"]] - 0.25 * np.log1p(recency) + mood
        pctr = _sigmoid(_logit(self.config.ctr) + score)
        pcvr = _sigmoid(_logit(self.config.cvr) + self._cvr_segment[segment] - 0.15 * np.log1p(recency))
        return Response(pctr, pcvr, np.full(len(pctr), self.config.worth))

    def _prices(
        self, codes: dict[str, IntArray], truth: Response, time: FloatArray, level: FloatArray, rng: np.random.Generator
    ) -> IntArray:
        """Draw the prices to beat: dearer for better impressions, in the evening and in some segments."""
        hour = (time % SECONDS_PER_DAY) / SECONDS_PER_HOUR
        law = 0.35 * (_logit(truth.pctr) - _logit(self.config.ctr)) + self._price_segment[codes["segment"]]
        law += 0.2 * np.sin(2.0 * np.pi * (hour - 14.0) / 24.0) + level
        noise = rng.normal(0.0, self.config.price_noise, len(time))
        return np.maximum(1, np.rint(self.config.price * MICROS * np.exp(law + noise))).astype(np.int64)

    @staticmethod
    def _log(time: FloatArray, codes: dict[str, IntArray], recency: FloatArray) -> AuctionLog:
        """Return the features as a log without prices and outcomes."""
        names = {"segment": SEGMENTS, "device": DEVICES, "slot": SLOTS}
        columns = {key: np.array(values)[codes[key]] for key, values in names.items()}
        columns |= {"site": np.char.add("site", codes["site"].astype(str)), "user_segment": columns["segment"]}
        return AuctionLog.from_columns(
            {"time": time, "recency": recency} | columns,
            categorical=("user_segment", "device", "slot", "site"),
            numeric=("recency",),
            currency="EUR",
            source="synthetic exchange",
        )


def _sigmoid(score: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-score)))


def _logit(rate: FloatArray | float) -> FloatArray:
    return np.asarray(np.log(rate) - np.log1p(-np.asarray(rate)))
