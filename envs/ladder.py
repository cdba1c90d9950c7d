"""The sorted index that makes one tick O(log n): with prices fixed, a multiplier wins a prefix.

For bids of the form multiplier x value the winners of a tick are the opportunities with r = price / value
at most the multiplier. Sorted by r, with prefix sums of everything that is counted, a tick is one binary
search and one subtraction (exact: see Day on sums).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray
    from bidpilot.envs.day import Day

Keys = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Ladder:
    """Opportunities sorted by (tick, group, r).

    ratio: (n,) sorted r. prefix: (n + 1, len(COLUMNS) - 1) sums of the sorted rows before each place, without the
    number of wins, which is the place itself. starts: (ticks * groups + 1,) first place of every cell.
    converting: (m, 2) place and row of the conversions, sorted by place. groups: 1 or the number of segments.
    """

    ratio: FloatArray
    prefix: FloatArray
    starts: IntArray
    converting: IntArray
    groups: int

    @classmethod
    def build(cls, day: Day, groups: int) -> Ladder:
        """Sort a day's opportunities: O(n log n), once per day."""
        tick = day.seen.tick.astype(np.int64)
        cell = tick if groups == 1 else tick * groups + day.seen.segment
        ratio = day.ratio
        order = np.lexsort((ratio, cell))
        starts = np.searchsorted(cell[order], np.arange(day.ticks * groups + 1))
        prefix = np.zeros((len(day) + 1, len(COLUMNS) - 1))
        for column, amounts in enumerate((day.payable, *outcomes_of(day))):
            np.cumsum(amounts[order], dtype=np.float64, out=prefix[1:, column])
        places = np.flatnonzero(day.hidden.conversion[order])
        return cls(ratio[order], prefix, starts, np.column_stack([places, order[places]]), groups)

    @cached_property
    def cells(self) -> list[int]:
        """First place of every cell, as Python numbers: indexing them is quicker."""
        cells: list[int] = self.starts.tolist()
        return cells

    @cached_property
    def keys(self) -> Keys:
        """(n,) cell + r j. NumPy orders complex numbers by their real part first: one search finds many places."""
        keys = np.empty(len(self.ratio), dtype=np.complex128)
        keys.real = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        keys.imag = self.ratio
        return keys

    def place(self, cell: int, multiplier: float) -> int:
        """Return the place after the last opportunity of a cell that this multiplier wins."""
        low, high = self.cells[cell], self.cells[cell + 1]
        if not multiplier > 0:
            return low
        return low + int(self.ratio[low:high].searchsorted(multiplier, side="right"))

    def outcome(self, tick: int, multipliers: FloatArray) -> FloatArray:
        """Return the table (groups, len(COLUMNS)) of a tick at these multipliers (groups,), budget aside."""
        return self.between(self.places(tick, multipliers))

    def places(self, tick: int, multipliers: FloatArray) -> IntArray:
        """Return the first place and the place after the last win (groups, 2) of a tick's cells."""
        first = tick * self.groups
        if self.groups == 1:
            return np.array([[self.cells[first], self.place(first, float(multipliers[0]))]])
        low = self.starts[first : first + self.groups]
        wanted = np.empty(self.groups, dtype=np.complex128)
        wanted.real, wanted.imag = np.arange(first, first + self.groups), multipliers
        high = np.where(multipliers > 0, self.keys.searchsorted(wanted, side="right"), low)
        return np.column_stack([low, high])

    def between(self, places: IntArray) -> FloatArray:
        """Return the sums (..., len(COLUMNS)) of what lies between first and last places (..., 2)."""
        low, high = places[..., 0], places[..., 1]
        table = np.empty((*low.shape, len(COLUMNS)))
        table[..., 0] = high - low
        np.subtract(self.prefix[high], self.prefix[low], out=table[..., 1:])
        return table

    def conversions(self, places: IntArray) -> IntArray:
        """Return the rows (m,) of the conversions between first and last places (groups, 2)."""
        ends = self.converting[:, 0].searchsorted(places)
        return np.concatenate([self.converting[low:high, 1] for low, high in ends])


def outcomes_of(day: Day) -> tuple[BoolArray, BoolArray, IntArray, FloatArray, FloatArray, FloatArray]:
    """Return what winning each row (n,) would bring, in the order of COLUMNS after wins and spend."""
    hidden, seen = day.hidden, day.seen
    return hidden.click, hidden.conversion, hidden.revenue, seen.pctr, seen.value, hidden.expected
