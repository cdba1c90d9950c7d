"""Days that have happened: a log cut into its episodes, and bootstrap replicates of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, FloatArray, IntArray
from bidpilot.envs.day import Day, Hidden, Opportunities

if TYPE_CHECKING:
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import Response
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


def replay_days(log: AuctionLog, beliefs: Beliefs, rng: np.random.Generator) -> tuple[Day, ...]:
    """Turn a log into its episodes, what really happened in each.

    Where the buyer lost, the price is drawn from the price model above the bid that lost, and the outcome
    from the response model; report the share of such rows with the result (see coverage). Episodes that cover
    under three quarters of the ticks that the best covered one does (a log's ragged ends) are left out.
    """
    response = beliefs.response.predict(log)
    worth = beliefs.goal.expected(response)
    reserve = log.frame["reserve"].to_numpy()
    price = np.maximum(_prices(log, beliefs, worth, rng), reserve)
    episode, tick = beliefs.timeline.locate(log.frame["time"].to_numpy())
    segment = beliefs.segments.codes(log)
    seen = Opportunities(response.pctr, response.pcvr, worth, reserve / MICROS, segment, tick)
    hidden = _outcomes(log, beliefs, response, price, rng)
    days = [np.flatnonzero(episode == number) for number in np.unique(episode)]
    covered = np.array([len(np.unique(tick[rows])) / beliefs.timeline.ticks for rows in days])
    whole = covered >= WHOLE * covered.max()
    ticks, segments = beliefs.timeline.ticks, len(beliefs.segments.names)
    return tuple(
        Day.build(seen.rows(rows), hidden.rows(rows), ticks, segments)
        for rows, keep in zip(days, whole, strict=True)
        if keep
    )


def coverage(log: AuctionLog) -> float:
    """Return the share of opportunities whose price the log knows."""
    return float(log.frame["price_known"].mean()) if len(log) else 0.0


def resampled(day: Day, rng: np.random.Generator) -> Day:
    """Return a bootstrap replicate of a day: its opportunities drawn with replacement, in time order."""
    rows = np.sort(rng.integers(len(day), size=len(day)))
    return Day.build(day.seen.rows(rows), day.hidden.rows(rows), day.ticks, day.segments)


def _prices(log: AuctionLog, beliefs: Beliefs, worth: FloatArray, rng: np.random.Generator) -> IntArray:
    """Return the price to beat (n,): the log's where it is known, else drawn above the bid that lost."""
    price = log.frame["price"].to_numpy().copy()
    lost = np.flatnonzero(~log.frame["price_known"].to_numpy())
    if lost.size:
        laws = beliefs.laws(log.rows(lost), worth[lost])
        price[lost] = laws.sample(rng, log.frame["bid"].to_numpy()[lost])
    return price


def _outcomes(
    log: AuctionLog, beliefs: Beliefs, response: Response, price: IntArray, rng: np.random.Generator
) -> Hidden:
    """Return what showing each row brings: as logged where it was shown, else drawn from the response model."""
    frame, won = log.frame, log.frame["won"].to_numpy()
    drawn = rng.random((2, len(log)))
    click = np.where(won, frame["click"] == 1, drawn[0] < response.pctr)
    conversion = np.where(won, frame["conversion"] == 1, click & (drawn[1] < response.pcvr))
    value = np.where(won, frame["value"], response.value)
    revenue = beliefs.goal.realised(click, conversion, value)
    return Hidden(price, click, conversion, revenue, beliefs.goal.expected(response))
