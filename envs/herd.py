"""N episodes on fresh days in lockstep: one pass over the tick's opportunities of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.envs.fleet import Lockstep
from bidpilot.envs.ladder import outcomes_of
from bidpilot.envs.settlement import affordable_each
from bidpilot.envs.simulator import reached
from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign


class Herd(Lockstep):
    """Episodes on days that are played once: nothing is sorted, simulator.scan is done for all at once."""

    def __init__(self, days: Sequence[Day], campaigns: Sequence[Campaign], groups: int) -> None:
        """Open the books and lay the days end to end."""
        super().__init__(days, campaigns, groups)
        self._price = joined([day.hidden.price for day in days])
        self._value = joined([day.seen.value for day in days])
        self._outcomes = [joined(column) for column in zip(*map(outcomes_of, days), strict=True)]
        first = np.append(0, np.cumsum([len(day) for day in days])[:-1])
        self._starts = np.stack([day.starts for day in days], axis=1) + first
        cells = groups > 1 or self.belief is not None
        self._segments = days[0].segments if cells else 1
        self._segment = joined([day.seen.segment for day in days]) if cells else None

    def play(self, multipliers: FloatArray) -> FloatArray:
        """Play the tick by looking at each of its opportunities."""
        rows, owner = self._rows()
        cell = owner if self._segment is None else owner * self._segments + self._segment[rows]
        price = self._price[rows]
        won = np.flatnonzero(reached(price, self._value[rows], multipliers.ravel()[cell]))
        rows, owner, cell, cost = rows[won], owner[won], cell[won], price[won].astype(np.float64)
        if (np.bincount(owner, cost, len(self.left)) > self.left).any():
            kept = affordable_each(cost, owner, self.left)
            rows, cell, cost = rows[kept], cell[kept], cost[kept]
        size = multipliers.size
        table = np.empty((size, len(COLUMNS)))
        table[:, 0], table[:, 1] = np.bincount(cell, minlength=size), np.bincount(cell, cost, size)
        for column, amounts in enumerate(self._outcomes, start=2):
            table[:, column] = np.bincount(cell, amounts[rows], size)
        return table.reshape(*multipliers.shape, -1)

    def _rows(self) -> tuple[IntArray, IntArray]:
        """Return the tick's opportunities (n,) of all episodes in time order, and whose they are (n,)."""
        low, high = self._starts[self.tick], self._starts[self.tick + 1]
        count = high - low
        owner = np.repeat(np.arange(len(count)), count)
        return np.arange(len(owner)) + np.repeat(low - np.append(0, np.cumsum(count)[:-1]), count), owner


def joined(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Lay arrays end to end; where they already lie so in memory, as days drawn together do, without copying."""
    whole = parts[0].base
    if isinstance(whole, np.ndarray) and whole.ndim == 1 and all(part.base is whole for part in parts):
        first = parts[0].__array_interface__["data"][0]
        ends = np.cumsum([0, *(part.nbytes for part in parts)]) + first
        if [part.__array_interface__["data"][0] for part in parts] == ends[:-1].tolist():
            start = (first - whole.__array_interface__["data"][0]) // whole.itemsize
            return whole[start : start + sum(map(len, parts))]
    return np.concatenate(parts)
