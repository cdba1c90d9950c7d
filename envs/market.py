"""Where days come from: a market simulated by learned models, an exchange of known truth, and distortions.

A log replayed is in envs/replay.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bidpilot.ctr.log import SECONDS_PER_DAY
from bidpilot.ctr.types import MICROS, UNWINNABLE, FloatArray, IntArray, Response, to_micros
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.goal import Goal
from bidpilot.envs.timeline import ROUNDING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.price_models.base import PriceLaws
    from bidpilot.ctr.synthetic import Exchange
    from bidpilot.ctr.types import ResponseModel
    from bidpilot.envs.beliefs import Beliefs, Segments
    from bidpilot.envs.timeline import Timeline


WHOLE_DAY = 0.99
"""A log of at least so many days has seen every time of day."""


class Market(Protocol):
    """A source of days."""

    @property
    def segment_count(self) -> int:
        """Number of user segments."""

    def day(self, rng: np.random.Generator) -> Day:
        """Draw one day of traffic."""


@dataclass(frozen=True)
class SimulatedMarket:
    """A market driven by the learned models: past visitors, with prices and outcomes drawn anew.

    seen: the past opportunities with what the models predict of them (tick: place in the cycle). amount: (n,)
    currency, predicted worth of a conversion. hour, group: strata of the price law per row. cycle: ticks after
    which the past repeats. offset: place in the cycle where an episode begins; None: anywhere.
    worlds: what each member of an ensemble of models says of the past opportunities. The bidder sees their mean; what
    happens follows one of them, drawn anew for each episode (Day.draws names it): the log does not tell which is true.
    size: mean opportunities per episode. level, drift: log-sd of an episode's price level and of its random
    walk over the episode, around a median of 1. shortfall, surge: the same of volume, which no forecast gets right,
    around a mean of 1.
    """

    beliefs: Beliefs
    seen: Opportunities
    amount: FloatArray
    laws: PriceLaws
    usual: FloatArray
    cycle: int
    offset: int | None
    worlds: tuple[Response, ...] = ()
    size: float = 20_000.0
    level: float = 0.15
    drift: float = 0.10
    shortfall: float = 0.15
    surge: float = 0.3

    @classmethod
    def of(cls, log: AuctionLog, beliefs: Beliefs, size: float = 20_000.0) -> SimulatedMarket:
        """Build the market of a training log.

        Where the log covers a day, a cycle is a day and episodes begin at their time of day; a shorter log is one
        cycle, and episodes begin anywhere in it.
        """
        response = beliefs.response.predict(log)
        worth = beliefs.goal.expected(response)
        time = log.frame["time"].to_numpy()
        cycle, offset, tick = _cycle(time, beliefs.timeline)
        order = np.argsort(tick, kind="stable")
        reserve, segment = log.frame["reserve"].to_numpy() / MICROS, beliefs.segments.codes(log)
        seen = Opportunities(response.pctr, response.pcvr, worth, reserve, segment, tick).rows(order)
        laws = beliefs.laws(log, worth).swift().rows(order)
        usual = _usual(time, tick, cycle, beliefs.timeline.tick_seconds)
        worlds = tuple(member.predict(log).rows(order) for member in members_of(beliefs.response))
        return cls(beliefs, seen, response.value[order], laws, usual, cycle, offset, worlds, size)

    @property
    def segment_count(self) -> int:
        """Number of user segments."""
        return len(self.beliefs.segments.names)

    def day(self, rng: np.random.Generator) -> Day:
        """Draw one episode."""
        ticks = self.beliefs.timeline.ticks
        rows, tick = self._visitors(rng)
        part = replace(self.seen.rows(rows), tick=tick)
        scale = np.exp(rng.normal(0.0, self.level) + _walk(self.drift, ticks, rng))[tick]
        price = self.laws.rows(rows).sample(rng)
        price = np.where(price < UNWINNABLE, np.rint(price * scale).astype(np.int64), price)
        price = np.maximum(price, to_micros(part.reserve))
        luck = rng.random((2, len(rows)))
        truth, expected, draws = Response(part.pctr, part.pcvr, self.amount[rows]), part.value, {}
        if self.worlds:
            world = int(rng.integers(len(self.worlds)))
            truth, draws = self.worlds[world].rows(rows), {"world": float(world)}
            expected = self.beliefs.goal.expected(truth)
        click = luck[0] < truth.pctr
        conversion = click & (luck[1] < truth.pcvr)
        revenue = self.beliefs.goal.realised(click, conversion, truth.value)
        hidden = Hidden(price, click, conversion, revenue, expected)
        return Day.build(part, hidden, ticks, self.segment_count, draws=draws)

    def _visitors(self, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Draw which past opportunities come again (n,), and in which tick (n,), in order."""
        ticks = self.beliefs.timeline.ticks
        starts = np.searchsorted(self.seen.tick, np.arange(self.cycle + 1))
        offset = int(rng.integers(self.cycle)) if self.offset is None else self.offset
        place = (offset + np.arange(ticks)) % self.cycle
        past, usual = (starts[1:] - starts[:-1])[place], self.usual[place]
        spread = self.shortfall**2 + self.surge**2 * np.arange(1, ticks + 1) / ticks
        wander = np.exp(rng.normal(0.0, self.shortfall) + _walk(self.surge, ticks, rng) - spread / 2.0)
        expected = self.size * usual / max(usual.sum(), 1.0)
        tick = np.repeat(np.arange(ticks), rng.poisson(expected * wander))
        rows = starts[place[tick]] + np.floor(rng.random(len(tick)) * past[tick]).astype(np.int64)
        return rows, tick


@dataclass(frozen=True)
class SyntheticMarket:
    """The synthetic exchange itself: true laws, seen through a bidder's models.

    belief: what the bidder predicts with; None lets it see the true probabilities. first_day: day numbers are
    drawn from first_day..first_day + spread - 1 (the price level drifts with the day).
    """

    exchange: Exchange
    timeline: Timeline
    segments: Segments
    goal: Goal = field(default_factory=Goal)
    belief: ResponseModel | None = None
    first_day: int = 0
    spread: int = 7

    @property
    def segment_count(self) -> int:
        """Number of user segments."""
        return len(self.segments.names)

    def day(self, rng: np.random.Generator) -> Day:
        """Draw one day."""
        number = self.first_day + int(rng.integers(self.spread))
        traffic = self.exchange.draw([number], rng)
        believed = traffic.truth if self.belief is None else self.belief.predict(traffic.log)
        _, tick = self.timeline.locate(traffic.log.frame["time"].to_numpy())
        worth, segment = self.goal.expected(believed), self.segments.codes(traffic.log)
        seen = Opportunities(believed.pctr, believed.pcvr, worth, np.zeros(len(tick)), segment, tick)
        revenue = self.goal.realised(traffic.click, traffic.conversion, traffic.value)
        expected = self.goal.expected(traffic.truth)
        hidden = Hidden(traffic.price, traffic.click, traffic.conversion, revenue, expected)
        return Day.build(seen, hidden, self.timeline.ticks, self.segment_count)


@dataclass(frozen=True)
class MiscalibratedMarket:
    """Another market whose bidder misjudges each segment's click rate by its own factor, new every episode.

    spread: range of the factor's log-sd (mean 1). What is seen is wrong; what happens is not.
    """

    market: Market
    spread: tuple[float, float] = (0.3, 0.3)

    @property
    def segment_count(self) -> int:
        """Number of user segments."""
        return self.market.segment_count

    def day(self, rng: np.random.Generator) -> Day:
        """Draw a day and distort what is seen of it."""
        day = self.market.day(rng)
        if self.spread[1] == 0.0:
            return day
        return day.misjudged(factors(rng.uniform(*self.spread), day.segments, rng))


def members_of(model: ResponseModel) -> tuple[ResponseModel, ...]:
    """Return the members of an ensemble; of a single model, none."""
    members: tuple[ResponseModel, ...] = getattr(model, "members", ())
    return members if len(members) > 1 else ()


def factors(spread: float, segments: int, rng: np.random.Generator) -> FloatArray:
    """Draw the factors (segments,) by which a bidder misjudges: log-normal, of mean 1 and this log-sd."""
    return np.exp(rng.normal(-(spread**2) / 2, spread, segments))


def _cycle(time: FloatArray, timeline: Timeline) -> tuple[int, int | None, IntArray]:
    """Return the cycle's length, where episodes begin in it, and the place (n,) of each time."""
    if time[-1] - time[0] < WHOLE_DAY * SECONDS_PER_DAY:
        tick, _ = replace(timeline, start=float(time[0]), ticks=1).locate(time)
        return int(tick[-1]) + 1, None, tick
    ticks = round(SECONDS_PER_DAY / timeline.tick_seconds)
    clock = replace(timeline, start=0.0, ticks=ticks)
    return ticks, int(clock.locate(np.array([timeline.start]))[1][0]), clock.locate(time)[1]


def _usual(time: FloatArray, tick: IntArray, cycle: int, seconds: float) -> FloatArray:
    """Return the mean opportunities of each place of the cycle (cycle,), over the ticks of the log there."""
    count = np.bincount(tick, minlength=cycle).astype(np.float64)
    ticks = int(np.ceil((time[-1] - time[0]) / seconds - ROUNDING)) if len(time) else 0
    often = np.bincount((tick[0] + np.arange(max(ticks, 1))) % cycle, minlength=cycle)
    return count / np.maximum(often, 1)


def day_size(log: AuctionLog, beliefs: Beliefs) -> float:
    """Return the opportunities that an episode ahead is expected to have, by the traffic of a log."""
    time = log.frame["time"].to_numpy()
    seconds = beliefs.timeline.ticks * beliefs.timeline.tick_seconds
    span = max(float(time[-1] - time[0]), beliefs.timeline.tick_seconds)
    return float(len(time) * seconds / span * np.exp(beliefs.outlook.volume))


def _walk(spread: float, steps: int, rng: np.random.Generator) -> FloatArray:
    """Return a random walk (steps,) whose last step has this standard deviation."""
    return rng.normal(0.0, spread / np.sqrt(steps), steps).cumsum()


def days_of(market: Market, streams: Sequence[np.random.Generator]) -> Sequence[Day]:
    """Draw a day from each stream, together where the market can."""
    together = getattr(market, "many", None)
    return together(streams) if together is not None else [market.day(stream) for stream in streams]


def draw_days(market: Market, count: int, rng: np.random.Generator) -> tuple[Day, ...]:
    """Draw days, each from a stream of its own, so that day i does not depend on how many are drawn."""
    return tuple(market.day(stream) for stream in rng.spawn(count))
