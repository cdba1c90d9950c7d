"""N episodes on fresh days in lockstep: one pass over the tick's opportunities of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

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


Column: TypeAlias = "npt.NDArray[Any]"


class Herd(Lockstep):
    """Episodes on days that are played once: nothing is sorted, simulator.scan is done for all at once."""

    def __init__(self, days: Sequence[Day], campaigns: Sequence[Campaign], groups: int) -> None:
        """Open the books and lay the days end to end."""
        super().__init__(days, campaigns, groups)
        together = _end_to_end([day.hidden.price for day in days])
        self._price = _joined([day.hidden.price for day in days], together=together)
        self._value = _joined([day.seen.value for day in days], together=together)
        self._outcomes = [_joined(column, together=together) for column in zip(*map(outcomes_of, days), strict=True)]
        first = np.append(0, np.cumsum([len(day) for day in days])[:-1])
        self._starts = np.stack([day.starts for day in days], axis=1) + first
        cells = groups > 1 or self.belief is not None
        self._segments = days[0].segments if cells else 1
        self._segment = _joined([day.seen.segment for day in days], together=together) if cells else None

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


def _end_to_end(parts: Sequence[Column]) -> bool:
    """Tell whether arrays lie end to end in one that they fill, as the columns of days drawn together do."""
    whole = parts[0].base
    if not isinstance(whole, np.ndarray) or len(whole) != sum(map(len, parts)):
        return False
    ends = np.cumsum([_address(whole), *(part.nbytes for part in parts)])
    return bool([_address(part) for part in parts] == ends[:-1].tolist())


def _joined(parts: Sequence[Column], *, together: bool) -> Column:
    """Lay arrays end to end, without copying where they already lie so. together: whether the days were cut so."""
    whole = parts[0].base
    same = together and isinstance(whole, np.ndarray) and all(part.base is whole for part in parts)
    if same and whole is not None and len(whole) == sum(map(len, parts)) and _address(parts[0]) == _address(whole):
        return np.asarray(whole)
    return np.concatenate(parts)


def _address(column: Column) -> int:
    place: int = column.__array_interface__["data"][0]
    return place
