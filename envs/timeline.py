"""Where an instant lies: which episode and which tick of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import SECONDS_PER_DAY, SECONDS_PER_HOUR, AuctionLog

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray, IntArray

DAYS_FOR_DAILY = 4
"""A log of at least this many whole days is cut into daily episodes; a shorter one is one episode."""

ROUNDING = 1e-8
"""Share of a tick that float division may be off by: without it, midnight of some days is the day before's."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A grid of ticks: `ticks` ticks of `tick_seconds` an episode, the first episode begins at `start`."""

    start: float
    tick_seconds: float
    ticks: int

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.ticks < 1 or not self.tick_seconds > 0:
            raise InputError(f"a timeline needs ticks >= 1 of more than 0 s; got {self.ticks} of {self.tick_seconds}")

    def locate(self, time: FloatArray) -> tuple[IntArray, IntArray]:
        """Return the episode (n,) and the tick within it (n,) of each time (n,)."""
        tick = np.floor((time - self.start) / self.tick_seconds + ROUNDING).astype(np.int64)
        return tick // self.ticks, tick % self.ticks


def split(log: AuctionLog, train_share: float) -> tuple[AuctionLog, AuctionLog]:
    """Cut a log in time, at the end of the first train_share of its hours (whole days for a log of many days).

    Never by row. Raises InputError when one side would be empty.
    """
    time = log.frame["time"].to_numpy()
    before = time < boundary(time, train_share, log.source)
    return log.rows(before), log.rows(~before)


def boundary(time: FloatArray, train_share: float, source: str) -> float:
    """Return when the held-out part of a log begins, see split. time: (n,) of its rows, rising; source: its name."""
    unit = SECONDS_PER_DAY if _whole_days(time) >= DAYS_FOR_DAILY else SECONDS_PER_HOUR
    known = np.unique((time // unit).astype(np.int64))
    count = int(train_share * len(known) + 0.5) if unit == SECONDS_PER_DAY else int(train_share * len(known))
    if not 0 < count < len(known):
        raise InputError(
            f"{source}: {len(known)} distinct {'days' if unit == SECONDS_PER_DAY else 'hours'} cannot be split "
            f"{train_share:.0%} / {1 - train_share:.0%} in time; give a log that covers more time"
        )
    return float((known[count - 1] + 1) * unit)


def timeline_of(log: AuctionLog, held_out: AuctionLog, ticks_per_day: int) -> Timeline:
    """Choose the episodes: calendar days for a log of many days, else the held-out period as one episode."""
    seconds = SECONDS_PER_DAY / ticks_per_day
    if _whole_days(log.frame["time"].to_numpy()) >= DAYS_FOR_DAILY:
        return Timeline(0.0, seconds, ticks_per_day)
    time = held_out.frame["time"].to_numpy()
    start = float(time[0] // seconds * seconds)
    return Timeline(start, seconds, max(1, int(np.ceil((time[-1] + 1e-6 - start) / seconds))))


def _whole_days(time: FloatArray) -> float:
    """Return the span of a log in days, rounded to a tenth so that a first visitor at 00:03 does not matter."""
    return round(float(time[-1] - time[0]) / SECONDS_PER_DAY + 0.05, 1) if len(time) else 0.0
