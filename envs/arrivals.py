"""Conversions that arrive late: what was won is booked at once, what is told waits for its report.

Where clicks are what pays, only the number of conversions is late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Outcome

LATE = [COLUMNS.index("conversions"), COLUMNS.index("revenue")]


class Arrivals:
    """The reports to come of one episode: conversions and revenue by tick of arrival and bid group.

    What would arrive after the last tick is never told (the episode's result still counts it). day: with delays.
    late: the columns of an outcome table that wait.
    """

    def __init__(self, day: Day, groups: int) -> None:
        """Expect nothing yet."""
        self._day, self._groups = day, groups
        self.late = LATE[:1] if day.clicks_pay else LATE
        self._reports: FloatArray = np.zeros((day.ticks, groups, len(LATE)))

    def told(self, tick: int, outcome: Outcome) -> FloatArray:
        """Take in a tick's outcome; return its table as it is told at the end of the tick: only what has arrived."""
        rows = converted(self._day, tick, outcome, self._groups)
        hidden, segment = self._day.hidden, self._day.seen.segment[rows]
        delay = hidden.delay
        arrival = tick + (np.zeros(len(rows), np.int64) if delay is None else delay[rows].astype(np.int64))
        intime = arrival < self._day.ticks
        group = segment if self._groups > 1 else np.zeros(len(rows), np.int64)
        entry = np.column_stack([np.ones(len(rows)), hidden.revenue[rows]])[intime]
        np.add.at(self._reports, (arrival[intime], group[intime]), entry)
        table = outcome.table.copy()
        table[:, self.late] = self._reports[tick][:, : len(self.late)]
        return table


def converted(day: Day, tick: int, outcome: Outcome, groups: int) -> IntArray:
    """Return the rows (m,) won in a tick that convert, whichever way it was played."""
    if outcome.wins is not None:
        ladder = day.pooled if groups == 1 and day.belief is None else day.by_segment
        return ladder.conversions(tick, outcome.wins)
    rows = outcome.rows
    return rows[day.hidden.conversion[rows]] if rows is not None else np.zeros(0, dtype=np.int64)
