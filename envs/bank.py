"""The ladders of many days as one sorted array: a tick of N episodes is one search and one look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.settlement import settle
from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.ladder import Ladder


class Bank:
    """Ladders of the same number of ticks and groups, joined tick by tick: what is read together lies together.

    A single ladder is used as it is, uncopied.
    """

    def __init__(self, ladders: Sequence[Ladder]) -> None:
        """Join them; a ladder given twice is kept once."""
        unique = {id(ladder): ladder for ladder in ladders}
        self._kept = list(unique.values())  # so that no id is given away while the bank lives
        self._slot = {key: slot for slot, key in enumerate(unique)}
        self._groups = self._kept[0].groups
        self._count = len(self._kept)
        if self._count == 1:
            only = self._kept[0]
            self._keys, self._prefix, self._order, self._starts = only.keys, only.prefix, only.order, only.starts
        else:
            self._join((len(self._kept[0].starts) - 1) // self._groups)

    def __reduce__(self) -> tuple[type[Bank], tuple[list[Ladder]]]:
        """Be copied as the ladders alone: their identities are not those of the copies."""
        return Bank, (self._kept,)

    def _join(self, ticks: int) -> None:
        kept, groups = self._kept, self._groups
        cells = [(ladder, slice(tick * groups, (tick + 1) * groups)) for tick in range(ticks) for ladder in kept]
        sizes = np.concatenate([np.diff(ladder.starts)[part] for ladder, part in cells])
        self._starts = np.append(0, np.cumsum(sizes))
        rows = [(ladder, ladder.cells[part.start], ladder.cells[part.stop]) for ladder, part in cells]
        self._order = np.concatenate([ladder.order[low:high] for ladder, low, high in rows])
        self._keys = np.empty(len(self._order), dtype=np.complex128)
        self._keys.real = np.repeat(np.arange(len(sizes)), sizes)
        self._keys.imag = np.concatenate([ladder.ratio[low:high] for ladder, low, high in rows])
        self._prefix = np.concatenate(
            [
                ladder.prefix[low + part.start : high + part.stop]
                for (ladder, part), (_, low, high) in zip(cells, rows, strict=True)
            ]
        )

    def covers(self, ladders: Sequence[Ladder]) -> bool:
        """Tell whether all of these are in the bank."""
        return all(id(ladder) in self._slot for ladder in ladders)

    def slots(self, ladders: Sequence[Ladder]) -> IntArray:
        """Return where ladders (N,) are in the bank."""
        return np.array([self._slot[id(ladder)] for ladder in ladders])

    def cells(self, slots: IntArray) -> tuple[IntArray, int]:
        """Return the cells (N, groups) of ladders in the first tick, and by how much they rise from tick to tick."""
        return (slots * self._groups)[:, None] + np.arange(self._groups), self._count * self._groups

    def play(self, cell: IntArray, multipliers: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return how many opportunities of cells (N, groups) multipliers win, and the tables, budgets aside.

        (N, groups) and (N, groups, len(COLUMNS)).
        """
        wanted = np.empty(multipliers.shape, dtype=np.complex128)
        wanted.real, wanted.imag = cell, multipliers
        low = self._starts[cell]
        wins = self._keys.searchsorted(wanted, side="right") - low
        wins *= multipliers > 0
        table = np.empty((*wins.shape, len(COLUMNS)))
        table[..., 0] = wins
        low += cell
        low += wins
        table[..., 1:] = self._prefix[low]
        return wins, table

    def settled(self, cell: IntArray, wins: IntArray, left: IntArray) -> FloatArray:
        """Return the tables of cells whose budgets (N,) do not allow all wins, see settlement.settle."""
        return settle(self._prefix, self._order, self._starts[cell], cell, wins, left)
