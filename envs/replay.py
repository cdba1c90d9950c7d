"""Days that have happened: a log cut into its episodes, and bootstrap replicates of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, IntArray
from bidpilot.envs.day import Day, Hidden, Opportunities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.envs.beliefs import Beliefs


WHOLE = 0.75
"""An episode whose ticks with traffic are fewer than this share of the fullest one's is a ragged end."""


@dataclass(frozen=True)
class ReplayMarket:
    """Days that have happened (or were drawn beforehand), kept to be played again; a draw picks one uniformly."""

    days: tuple[Day, ...]

    def __post_init__(self) -> None:
        """Check that there is a day, and keep all for replaying."""
        if not self.days:
            raise InputError("a replay market needs at least one day")
        object.__setattr__(self, "days", tuple(day.kept() for day in self.days))

    @property
    def segment_count(self) -> int:
        """Number of user segments."""
        return self.days[0].segments

    def day(self, rng: np.random.Generator) -> Day:
        """Pick a day."""
        return self.days[int(rng.integers(len(self.days)))]


class Draws(NamedTuple):
    """Streams of what a log does not tell. Each gives one number to a row, so rows may come in any pieces."""

    price: np.random.Generator
    click: np.random.Generator
    conversion: np.random.Generator

    @classmethod
    def of(cls, rng: np.random.Generator) -> Self:
        """Spawn the streams."""
        return cls(*rng.spawn(3))


class Happened:
    """What happened in the rows of a log, as far as it tells; the rest is drawn, as often as hidden is asked for.

    Attributes: seen, of the n rows. episode: (n,) their episodes. known: (n,) prices that the log knows. won: (n,) rows
    that were shown. bid: (n,) micro-currency, what was bid.
    """

    def __init__(self, log: AuctionLog, beliefs: Beliefs) -> None:
        """Predict every row."""
        self._beliefs, self._frame, self._response = beliefs, log.frame, beliefs.response.predict(log)
        frame, worth = log.frame, beliefs.goal.expected(self._response)
        self.known, self.won, self.bid = (frame[name].to_numpy() for name in ("price_known", "won", "bid"))
        self.episode, tick = beliefs.timeline.locate(frame["time"].to_numpy())
        self._reserve = frame["reserve"].to_numpy()
        rates, segment = (self._response.pctr, self._response.pcvr), beliefs.segments.codes(log)
        self.seen = Opportunities(*rates, worth, self._reserve / MICROS, segment, tick)
        lost = np.flatnonzero(~self.known)
        self._laws = beliefs.laws(log.rows(lost), worth[lost]) if lost.size else None

    def hidden(self, draws: Draws) -> Hidden:
        """Return prices and outcomes: the log's where it knows them.

        Else the price is drawn from the price model above the bid that lost, and the outcome from the response model.
        """
        price = self._frame["price"].to_numpy().copy()
        if self._laws is not None:
            lost = ~self.known
            price[lost] = self._laws.sample(draws.price, self.bid[lost])
        return self._outcomes(np.maximum(price, self._reserve), draws)

    def _outcomes(self, price: IntArray, draws: Draws) -> Hidden:
        """Return what showing each row brings: as logged where it was shown, else drawn from the response model."""
        frame, response, goal = self._frame, self._response, self._beliefs.goal
        won, count = self.won, len(frame)
        drawn = draws.click.random(count) < response.pctr, draws.conversion.random(count) < response.pcvr
        click = np.where(won, frame["click"] == 1, drawn[0])
        conversion = np.where(won, frame["conversion"] == 1, click & drawn[1])
        value = np.where(won, frame["value"], response.value)
        return Hidden(price, click, conversion, goal.realised(click, conversion, value), self.seen.value)


def replay_days(log: AuctionLog, beliefs: Beliefs, rng: np.random.Generator) -> tuple[Day, ...]:
    """Turn a log into its episodes, what really happened in each.

    Where the buyer lost, prices and outcomes are drawn, see Happened; report the share of such rows with the result
    (see coverage). Episodes that cover under three quarters of the ticks that the best covered one does (a log's
    ragged ends) are left out. envs/replay_stream does the same without holding a day in memory.
    """
    happened = Happened(log, beliefs)
    seen, hidden = happened.seen, happened.hidden(Draws.of(rng))
    days = [np.flatnonzero(happened.episode == number) for number in np.unique(happened.episode)]
    whole = whole_episodes([len(np.unique(seen.tick[rows])) for rows in days])
    ticks, segments = beliefs.timeline.ticks, len(beliefs.segments.names)
    return tuple(
        Day.build(seen.rows(rows), hidden.rows(rows), ticks, segments)
        for rows, keep in zip(days, whole, strict=True)
        if keep
    )


def whole_episodes(covered: Sequence[int]) -> list[bool]:
    """Tell which episodes are no ragged ends, from how many ticks each of them has rows in."""
    return [count >= WHOLE * max(covered) for count in covered]


def coverage(log: AuctionLog) -> float:
    """Return the share of opportunities whose price the log knows."""
    return float(log.frame["price_known"].mean()) if len(log) else 0.0


def resampled(day: Day, rng: np.random.Generator) -> Day:
    """Return a bootstrap replicate of a day: its opportunities drawn with replacement, in time order."""
    rows = np.sort(rng.integers(len(day), size=len(day)))
    return Day.build(day.seen.rows(rows), day.hidden.rows(rows), day.ticks, day.segments)
