"""What a day must not hold: said at once, where the day is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import EXACT, MICROS

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day


def check_day(day: Day) -> None:
    """Raise InputError for what a day must not hold, see Day."""
    tick, segment = day.seen.tick, day.seen.segment
    if day.ticks < 1 or day.segments < 1:
        raise InputError(f"a day needs at least 1 tick and 1 segment; got {day.ticks} and {day.segments}")
    if len(tick) and ((np.diff(tick) < 0).any() or tick[0] < 0 or tick[-1] >= day.ticks):
        raise InputError(f"ticks must run in order within 0..{day.ticks - 1}; got {tick.min()}..{tick.max()}")
    if len(segment) and not 0 <= segment.min() <= segment.max() < day.segments:
        raise InputError(f"segments must lie in 0..{day.segments - 1}; got {segment.min()}..{segment.max()}")
    for name, column in (("prices", day.hidden.price), ("delays", day.hidden.delay), ("users", day.seen.user)):
        if column is not None and len(column) and column.min() < 0:
            raise InputError(f"{name} must be at least 0; got {column.min()}")
    _check_amounts(day)


def _check_amounts(day: Day) -> None:
    for name in ("pctr", "pcvr"):
        rate: FloatArray = getattr(day.seen, name)
        if len(rate) and not 0.0 <= rate.min() <= rate.max() <= 1.0:
            raise InputError(f"{name} must lie in 0..1; got {rate.min()}..{rate.max()}")
    most = EXACT / MICROS
    totals = {"value": day.seen.value, "expected worth": day.hidden.expected}
    totals |= {"cost": day.payable / MICROS, "revenue": day.hidden.revenue / MICROS}
    for name, amounts in totals.items():
        with np.errstate(over="ignore"):
            total = float(np.abs(amounts).sum())
        if not total < most:  # true of NaN and infinity
            raise InputError(f"a day's total {name} must be below 4.5e9 currency, it is {total}: use a larger unit")
