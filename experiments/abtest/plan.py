"""Switchback plans as files: written for who runs them, read again with what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.switchback import HOURS, Switchback
from bidpilot.experiments.abtest.table import open_columns, parse_numbers

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.types import BoolArray, FloatArray

ARMS = ("control", "treated")
STAMPS = ("start", "counted_from", "end")
SECOND = 1.0 / 3600.0
"""Hours; times are written to the second."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that was written: its periods, the schedule (days, slots), and when it began."""

    switchback: Switchback
    schedule: BoolArray
    start: pd.Timestamp


def plan_table(switchback: Switchback, schedule: BoolArray, start: str) -> pd.DataFrame:
    """Return a row for each period: period, arm, start, counted_from, end (ISO times; a period begins at its start).

    Raises InputError when start is no date.
    """
    begin = _times(pd.Series([start], dtype="str"), "--start")[0]
    opens = np.arange(schedule.size) * switchback.period
    columns = dict(zip(STAMPS, (opens, opens + switchback.washout, opens + switchback.period), strict=True))
    stamps = {name: [_stamp(begin, hours) for hours in columns[name]] for name in STAMPS}
    names = np.array(ARMS)[schedule.ravel().astype(np.int64)]
    return pd.DataFrame({"period": np.arange(schedule.size), "arm": names, **stamps})


def read_plan(path: Path) -> Plan:
    """Read a plan. Raises InputError for a file that plan_table did not write."""
    cells = open_columns(path, ("arm", *STAMPS))
    opens, counted, ends = (_times(cells[name], f"{path}: column {name!r}") for name in STAMPS)
    if not cells["arm"].isin(ARMS).all():
        raise InputError(f"{path}: arms must be {' or '.join(ARMS)}, as bidpilot abtest schedule writes them")
    hours = [
        np.asarray((times - opens[0]) / pd.Timedelta(hours=1), dtype=np.float64) for times in (opens, counted, ends)
    ]
    slots = round(HOURS / max(hours[2][0], SECOND))
    period, washout = HOURS / max(slots, 1), float(hours[1][0])
    expected = [np.arange(len(cells)) * period + shift for shift in (0.0, washout, period)]
    if not np.allclose(hours, expected, rtol=0.0, atol=SECOND) or len(cells) % max(slots, 1):
        raise InputError(f"{path}: expected whole days of equal periods, as bidpilot abtest schedule writes them")
    switchback = Switchback(len(cells) // slots, period, washout)
    schedule = (cells["arm"] == ARMS[1]).to_numpy().reshape(switchback.days, switchback.slots)
    return Plan(switchback, schedule, opens[0])


def read_outcome(path: Path, plan: Plan, time: str, metric: str) -> tuple[FloatArray, int]:
    """Return the means (days, slots) of a metric by a plan, and how many rows lie outside the plan's days."""
    cells = open_columns(path, (time, metric))
    at = _hours(_clock(cells[time], f"{path}: column {time!r}"), plan.start)
    values = parse_numbers(path, cells[metric])
    inside = (at >= 0.0) & (at < plan.switchback.days * HOURS)
    if not inside.any():
        raise InputError(f"{path}: no time lies in the plan, which begins {plan.start.isoformat()}; compare the clocks")
    return plan.switchback.means(at[inside], values[inside]), int((~inside).sum())


def _hours(times: pd.DatetimeIndex, start: pd.Timestamp) -> FloatArray:
    return np.asarray((times - start) / pd.Timedelta(hours=1), dtype=np.float64)


def _stamp(begin: pd.Timestamp, hours: float) -> str:
    return (begin + pd.Timedelta(seconds=round(hours * 3600.0))).isoformat()


def _clock(cells: pd.Series, what: str) -> pd.DatetimeIndex:
    """Return times that are ISO or, all of them, seconds since 1970."""
    seconds = pd.to_numeric(cells, errors="coerce")
    if not np.isfinite(seconds).all():
        return _times(cells, what)
    try:
        return pd.DatetimeIndex(pd.to_datetime(seconds, unit="s"))
    except (ValueError, OverflowError) as error:
        raise InputError(f"{what}: expected seconds since 1970, got {cells.iloc[0]!r} and others") from error


def _times(cells: pd.Series, what: str) -> pd.DatetimeIndex:
    """Return ISO times without zone."""
    expected = f"{what}: expected ISO times in all rows, without a time zone, as 2026-01-31T14:00:00"
    try:
        found = pd.DatetimeIndex(pd.to_datetime(cells, format="ISO8601"))
    except (ValueError, OverflowError) as error:
        raise InputError(f"{expected}: {str(error).splitlines()[0]}") from error
    if found.tz is not None or found.isna().any():
        raise InputError(expected)
    return found
