"""The sorted index that makes one tick O(log n): with prices fixed, a multiplier wins a prefix.

For bids of the form multiplier x value the winners of a tick are the opportunities with r = price / value
at most the multiplier. Sorted by r, with prefix sums of everything that is counted, a tick is one binary
search and one subtraction (exact: see Day on sums).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.day import Day


@dataclass(frozen=True, slots=True)
class Ladder:
    """Opportunities sorted by (tick, group, r).

    ratio: (n,) sorted r. prefix: (n + 1, len(COLUMNS)) sums of the sorted rows before each place.
    starts: (ticks * groups + 1,) first place of every cell. groups: 1 or the number of segments.
    """

    ratio: FloatArray
    prefix: FloatArray
    starts: IntArray
    groups: int

    @classmethod
    def build(cls, day: Day, groups: int) -> Ladder:
        """Sort a day's opportunities: O(n log n), once per day."""
        cell = day.seen.tick if groups == 1 else day.seen.tick * groups + day.seen.segment
        order = np.lexsort((day.ratio, cell))
        starts = np.searchsorted(cell[order], np.arange(day.ticks * groups + 1))
        prefix = np.zeros((len(day) + 1, len(COLUMNS)))
        np.cumsum(rows_table(day, order), axis=0, out=prefix[1:])
        return cls(day.ratio[order], prefix, starts, groups)

    def outcome(self, tick: int, multipliers: FloatArray) -> FloatArray:
        """Return the table (groups, len(COLUMNS)) of a tick at these multipliers (groups,), budget aside."""
        table = np.empty((self.groups, len(COLUMNS)))
        cell = tick * self.groups
        for group in range(self.groups):
            low, high = self.starts[cell + group], self.starts[cell + group + 1]
            place = low
            if multipliers[group] > 0:
                place = low + self.ratio[low:high].searchsorted(multipliers[group], side="right")
            np.subtract(self.prefix[place], self.prefix[low], out=table[group])
        return table


def rows_table(day: Day, rows: IntArray) -> FloatArray:
    """Return (len(rows), len(COLUMNS)): what winning each of these rows would count at second price."""
    hidden, seen = day.hidden, day.seen
    won = np.ones(len(rows))
    parts = (day.payable, hidden.click, hidden.conversion, hidden.revenue, seen.pctr, seen.value, hidden.expected)
    return np.column_stack([won, *(part[rows] for part in parts)]).astype(np.float64, copy=False)
