"""The ladders of many days as one sorted array: a tick of N episodes is one search and one subtraction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.ladder import Ladder


class Bank:
    """Ladders of the same number of ticks and groups, one after the other. A single one is used as it is, uncopied."""

    def __init__(self, ladders: Sequence[Ladder]) -> None:
        """Join them; a ladder given twice is kept once."""
        unique = {id(ladder): ladder for ladder in ladders}
        self._kept = list(unique.values())  # so that no id is given away while the bank lives
        self._slot = {key: slot for slot, key in enumerate(unique)}
        self._groups, self._cells = self._kept[0].groups, len(self._kept[0].starts) - 1
        self._join()

    def _join(self) -> None:
        kept, cells = self._kept, self._cells
        sizes = np.array([len(ladder.ratio) for ladder in kept])
        first = np.append(0, np.cumsum(sizes))
        self._starts = np.concatenate([ladder.starts[:-1] + at for ladder, at in zip(kept, first[:-1], strict=True)])
        rows = np.arange(len(kept))  # a ladder's prefix has one row more than it has opportunities
        self._shift = np.repeat(rows, cells)
        if len(kept) == 1:
            self._keys, self._prefix = kept[0].keys, kept[0].prefix
            return
        self._keys = np.concatenate([ladder.keys + slot * cells for slot, ladder in enumerate(kept)])
        self._prefix = np.concatenate([ladder.prefix for ladder in kept])

    def covers(self, ladders: Sequence[Ladder]) -> bool:
        """Tell whether all of these are in the bank."""
        return all(id(ladder) in self._slot for ladder in ladders)

    def slots(self, ladders: Sequence[Ladder]) -> IntArray:
        """Return where ladders (N,) are in the bank."""
        return np.array([self._slot[id(ladder)] for ladder in ladders])

    def outcome(self, slots: IntArray, tick: int, multipliers: FloatArray) -> FloatArray:
        """Return the tables (N, groups, len(COLUMNS)) of a tick at finite multipliers (N, groups), budgets aside."""
        cell = (slots * self._cells + tick * self._groups)[:, None] + np.arange(self._groups)
        wanted = np.empty(multipliers.shape, dtype=np.complex128)
        wanted.real, wanted.imag = cell, multipliers
        low, shift = self._starts[cell], self._shift[cell]
        high = np.where(multipliers > 0, self._keys.searchsorted(wanted, side="right"), low)
        table = np.empty((*low.shape, len(COLUMNS)))
        table[..., 0] = high - low
        np.subtract(self._prefix[high + shift], self._prefix[low + shift], out=table[..., 1:])
        return table
