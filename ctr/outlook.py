"""What next days will be like beside those of the log: levels of price and volume by day, carried ahead with caution.

A level is a log factor on what is usual. The forecast weighs the last days most (simple exponential smoothing) and
adds a line over the days, but only the part of its slope that chance does not explain: a positive-part shrinkage in
the manner of James & Stein (1961), with the 95 % point of Student's t in place of the expected noise. Days that differ
by 15 % from one to the next need weeks to show a trend of 2 %; days alike show it at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit

from bidpilot.ctr.log import SECONDS_PER_DAY, SECONDS_PER_HOUR
from bidpilot.ctr.price_models.base import EXACT

if TYPE_CHECKING:
    from bidpilot.ctr.price_models.base import Observed, PriceLaws
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray

FADING = 0.7
"""Weight of a day beside that of the day after it: half of the weight lies on the last two days."""

FEWEST = 3
"""Days of the log from which on levels are compared; a line needs two more."""

FARTHEST, HALVINGS = 1.5, 16
"""Levels are sought up to so many units of log away, to 1 in 2 ** HALVINGS of that."""

SLACK = 300.0
"""Seconds by which an hour at an end of the log may lack traffic and still count as covered."""


class Level(NamedTuple):
    """Level of the days ahead (log factor), slope of it that is believed, slope as fitted and its standard error."""

    shift: float = 0.0
    slope: float = 0.0
    fitted: float = 0.0
    error: float = float("inf")


@dataclass(frozen=True, slots=True)
class Outlook:
    """How days ahead differ from those that models were fitted to. price, volume: log factors."""

    price: float = 0.0
    volume: float = 0.0


def carried(day: FloatArray, level: FloatArray, ahead: float) -> Level:
    """Carry levels (D,) of days (D,), in order, to the day ahead."""
    if len(day) < FEWEST:
        return Level()
    at = day - day.mean()
    spread = float(at @ at)
    fitted = float(at @ level) / spread
    slope, error = 0.0, float("inf")
    if len(day) > FEWEST + 1:
        rest = level - level.mean() - fitted * at
        error = float(np.sqrt(rest @ rest / (len(day) - 2) / spread))
        chance = float(stdtrit(len(day) - 2, 0.975)) * error
        slope = fitted * max(0.0, 1.0 - (chance / fitted) ** 2) if fitted else 0.0
    weight = FADING ** (day[-1] - day)
    return Level(float(weight @ (level + slope * (ahead - day)) / weight.sum()), slope, fitted, error)


def price_levels(laws: PriceLaws, seen: Observed, day: IntArray, learned: BoolArray) -> FloatArray:
    """Return by how much prices of each day (D,) lie above the laws of its rows, as a log factor.

    day: (n,) 0..D-1. learned: (n,) the rows that the laws were fitted to; their level is 0 by definition. The level
    makes the day's mean rank (P(price <= what was seen), halfway to 1 for a bid that lost) what it is on those rows:
    the censored rank test of Peto & Peto (1972), solved for the shift.
    """
    target = _ranks(laws, seen, np.zeros(len(day)))[learned].mean()
    days = int(day.max()) + 1
    low, high = np.full(days, -FARTHEST), np.full(days, FARTHEST)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        rank = np.bincount(day, _ranks(laws, seen, middle[day]), days) / np.bincount(day, minlength=days)
        low, high = np.where(rank > target, middle, low), np.where(rank > target, high, middle)
    return np.asarray(0.5 * (low + high))


def _ranks(laws: PriceLaws, seen: Observed, shift: FloatArray) -> FloatArray:
    """Return P(price <= what was seen) (n,) under laws of prices times exp(shift); halfway to 1 where it is above."""
    at = laws.cdf(seen.amount * np.exp(-shift))
    return np.where(seen.kind == EXACT, at, 0.5 * (1.0 + at))


def volume_levels(time: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return days (D,), numbered by their middle, and by how much their traffic lies above the usual (log factor).

    The usual is the mean of each hour of day over the days that have it, so a day that is not whole counts fairly.
    time: (n,) seconds, rising.
    """
    first, last = int(time[0] // SECONDS_PER_DAY), int(time[-1] // SECONDS_PER_DAY)
    hours = (time // SECONDS_PER_HOUR).astype(np.int64) - 24 * first
    count = np.bincount(hours, minlength=24 * (last - first + 1)).astype(np.float64)
    start = (24 * first + np.arange(len(count))) * SECONDS_PER_HOUR
    covered = (start >= time[0] - SLACK) & (start + SECONDS_PER_HOUR <= time[-1] + SLACK)
    count, covered = (part.reshape(-1, 24) for part in (np.where(covered, count, 0.0), covered))
    usual = count.sum(axis=0) / np.maximum(covered.sum(axis=0), 1)
    expected = covered @ usual
    some = (count.sum(axis=1) > 0) & (expected > 0.5 * usual.sum())
    level = np.log(count.sum(axis=1)[some] / expected[some])
    return np.asarray(first + np.flatnonzero(some) + 0.5), np.asarray(level)
