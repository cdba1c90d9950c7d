"""The tick in which the money runs out, on a large tick: its rows by blocks of time, each block sorted by r.

What a multiplier wins in a block is a prefix of it, so whole blocks are counted by one search each; only the few blocks
in which something no longer fits are looked at row by row. Built for a cell when it is first needed, and kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.acceptance import affordable

if TYPE_CHECKING:
    from bidpilot.ctr.types import IntArray
    from bidpilot.envs.ladder import Ladder

SIZE = 2048
"""Rows of a block: large enough that blocks are few, small enough that one is looked through in microseconds."""


class Blocks:
    """One cell of a ladder, for one bidder: settle gives what simulator.scan gives. size: rows of a block."""

    def __init__(self, ladder: Ladder, cell: int, size: int = SIZE) -> None:
        """Sort the cell's rows by block and place."""
        low, high = ladder.cells[cell], ladder.cells[cell + 1]
        self._prefix = ladder.prefix[low + cell : high + cell + 1]
        self._size, rows = size, high - low
        self._in_time: IntArray = np.argsort(ladder.order[low:high], kind="stable")
        self._cost = np.diff(self._prefix[:, 0])[self._in_time].astype(np.int64)
        self._keys = np.sort((np.arange(rows) // size << 32) + self._in_time)
        self._starts = np.arange(0, rows, size)
        self._build()

    def _build(self) -> None:
        """Sum up every block, and find its cheapest rows so far."""
        place = self._keys & 0xFFFFFFFF
        items = self._prefix[place + 1] - self._prefix[place]
        sums = [np.zeros((0, items.shape[1]))]
        cheapest = [np.zeros(0)]
        for start in self._starts:
            part = items[start : start + self._size]
            sums += [np.zeros((1, items.shape[1])), np.cumsum(part, axis=0)]
            cheapest.append(np.minimum.accumulate(part[:, 0]))
        self._sums, self._cheapest = np.concatenate(sums), np.concatenate(cheapest)

    def settle(self, wins: int, left: int) -> list[float]:
        """Return the row of an outcome table where `wins` rows are wanted and `left` micro-currency may be spent."""
        blocks = np.arange(len(self._starts))
        count = self._keys.searchsorted((blocks << 32) + wins) - self._starts
        table = self._sums[self._starts + blocks + count]
        running = np.cumsum(table[:, 0])
        full = int(running.searchsorted(left, side="right"))
        total, taken = table[:full].sum(axis=0), int(count[:full].sum())
        left -= int(running[full - 1]) if full else 0
        lowest = np.where(count > 0, self._cheapest[self._starts + count - 1], np.inf)
        block = full
        while block < len(blocks):
            places = self._within(block, wins, left)
            items = (self._prefix[places + 1] - self._prefix[places]).sum(axis=0)
            total, taken, left = total + items, taken + len(places), left - int(items[0])
            more = np.flatnonzero(lowest[block + 1 :] <= left)
            block = block + 1 + int(more[0]) if more.size else len(blocks)
        return [float(taken), *total.tolist()]

    def _within(self, block: int, wins: int, left: int) -> IntArray:
        """Return the places (w,) of a block's rows that are bought, in time order."""
        part = slice(block * self._size, (block + 1) * self._size)
        places, cost = self._in_time[part], self._cost[part]
        wanted = np.flatnonzero((places < wins) & (cost <= left))
        bought: IntArray = places[wanted[affordable(cost[wanted], left)]]
        return bought
