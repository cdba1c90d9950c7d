"""The sorted index that makes one tick O(log n): with prices fixed, a multiplier wins a prefix.

For bids of the form multiplier x value the winners of a tick are the opportunities with r = price / value
at most the multiplier. Sorted by r, with prefix sums of everything that is counted, a tick is one binary
search and one look-up (exact: see Day on sums).
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
    from bidpilot.envs.blocks import Blocks
    from bidpilot.envs.day import Day

Keys = npt.NDArray[np.complex128]
KEPT = 4
"""Cells whose blocks are kept: money mostly runs out in the last ticks."""


@dataclass(frozen=True)
class Ladder:
    """Opportunities sorted by (tick, group, r): a cell is a group in a tick.

    ratio: (n,) sorted r. prefix: (n + cells, len(COLUMNS) - 1) sums of a cell's first 0, 1, 2 ... rows, cell after
    cell, without the number of wins, which is the place itself. starts: (cells + 1,) first place of every cell.
    order: (n,) row of the day at each place. converting: (m,) places of the conversions. groups: 1 or the segments.
    """

    ratio: FloatArray
    prefix: FloatArray
    starts: IntArray
    order: npt.NDArray[np.int32]
    converting: IntArray
    groups: int

    @classmethod
    def build(cls, day: Day, groups: int) -> Ladder:
        """Sort a day's opportunities: O(n log n), once per day."""
        tick = day.seen.tick.astype(np.int64)
        cell = tick if groups == 1 else tick * groups + day.seen.segment
        ratio = day.ratio
        order = np.lexsort((ratio, cell)).astype(np.int32)
        starts = np.searchsorted(cell[order], np.arange(day.ticks * groups + 1))
        converting = np.flatnonzero(day.hidden.conversion[order])
        return cls(ratio[order], _prefix(day, order, starts), starts, order, converting, groups)

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

    @cached_property
    def _blocks(self) -> dict[int, Blocks]:
        return {}

    def blocks(self, cell: int) -> Blocks:
        """Return a cell sorted by blocks of time, built when it is first asked for."""
        if cell not in self._blocks:
            from bidpilot.envs.blocks import Blocks  # it reads a Ladder

            if len(self._blocks) >= KEPT:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[cell] = Blocks(self, cell)
        return self._blocks[cell]

    def outcome(self, tick: int, multipliers: FloatArray) -> FloatArray:
        """Return the table (groups, len(COLUMNS)) of a tick at these multipliers (groups,), budget aside."""
        return self.sums(self.cells_of(tick), self.wins(tick, multipliers))

    def cells_of(self, tick: int) -> IntArray:
        """Return the numbers (groups,) of a tick's cells."""
        return np.arange(tick * self.groups, (tick + 1) * self.groups)

    def wins(self, tick: int, multipliers: FloatArray) -> IntArray:
        """Return how many opportunities (groups,) of a tick's cells these multipliers win."""
        cells = self.cells_of(tick)
        if self.groups == 1:
            part = self.ratio[self.cells[tick] : self.cells[tick + 1]]
            return part.searchsorted(multipliers, side="right") * (multipliers > 0)
        wanted = np.empty(self.groups, dtype=np.complex128)
        wanted.real, wanted.imag = cells, multipliers
        return np.where(multipliers > 0, self.keys.searchsorted(wanted, side="right") - self.starts[cells], 0)

    def sums(self, cells: IntArray, wins: IntArray) -> FloatArray:
        """Return the sums (..., len(COLUMNS)) of the first wins (...) rows of cells (...)."""
        table = np.empty((*np.shape(wins), len(COLUMNS)))
        table[..., 0] = wins
        table[..., 1:] = self.prefix[self.starts[cells] + cells + wins]
        return table

    def conversions(self, tick: int, wins: IntArray) -> IntArray:
        """Return the rows (m,) of the conversions among the first wins (groups,) rows of a tick's cells."""
        low = self.starts[self.cells_of(tick)]
        ends = self.converting.searchsorted(np.stack([low, low + wins], axis=-1))
        return np.concatenate([self.order[self.converting[a:b]] for a, b in ends]).astype(np.int64)


def _prefix(day: Day, order: npt.NDArray[np.int32], starts: IntArray) -> FloatArray:
    """Return the sums from each cell's start, see Ladder."""
    cells = len(starts) - 1
    cell = np.repeat(np.arange(cells), np.diff(starts) + 1)
    place = np.arange(len(order) + cells) - cell
    prefix = np.empty((len(place), len(COLUMNS) - 1))
    running = np.zeros(len(order) + 1)
    for column, amounts in enumerate((day.payable, *outcomes_of(day))):
        np.cumsum(amounts[order], dtype=np.float64, out=running[1:])
        np.subtract(running[place], running[starts[cell]], out=prefix[:, column])
    return prefix


def outcomes_of(day: Day) -> tuple[BoolArray, BoolArray, IntArray, FloatArray, FloatArray, FloatArray]:
    """Return what winning each row (n,) would bring, in the order of COLUMNS after wins and spend."""
    hidden, seen = day.hidden, day.seen
    return hidden.click, hidden.conversion, hidden.revenue, seen.pctr, seen.value, hidden.expected
