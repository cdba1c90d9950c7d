"""The tick in which the money runs out, on the index: the skip rule for many episodes at once, without a scan.

The plain reference is simulator.scan with acceptance.affordable; a test compares them byte by byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray


def settle(
    prefix: FloatArray, order: npt.NDArray[np.int32], first: IntArray, shift: IntArray, wins: IntArray, left: IntArray
) -> FloatArray:
    """Return the tables (N, groups, len(COLUMNS)) of a tick whose budgets do not allow all that would be won.

    prefix, order: of a ladder or bank. first, shift, wins: (N, groups) first place of each cell, rows of prefix
    before it beyond its place, and opportunities that the multipliers would win. left: (N,) micro-currency.
    """
    episodes, groups = wins.shape
    count = wins.ravel()
    cell = np.repeat(np.arange(count.size), count)
    place = np.arange(len(cell)) + np.repeat(first.ravel() - np.append(0, np.cumsum(count)[:-1]), count)
    in_time = np.argsort(cell // groups * (np.int64(1) << 32) + order[place])
    cell, place = cell[in_time], place[in_time]
    row = place + shift.ravel()[cell]
    cost = prefix[row + 1, 0] - prefix[row, 0]
    taken = affordable_each(cost, cell // groups, left)
    row, cell = row[taken], cell[taken]
    items = prefix[row + 1] - prefix[row]
    table = np.empty((count.size, len(COLUMNS)))
    table[:, 0] = np.bincount(cell, minlength=count.size)
    for column in range(items.shape[1]):
        table[:, column + 1] = np.bincount(cell, items[:, column], minlength=count.size)
    return table.reshape(episodes, groups, -1)


def affordable_each(cost: FloatArray, owner: IntArray, left: IntArray) -> BoolArray:
    """Accept each cost (n,) in order if it fits into what its owner has left: acceptance.affordable for many.

    owner: (n,) ascending, 0..N-1. left: (N,). Costs are whole numbers.
    """
    rest, cost = left.astype(np.int64), cost.astype(np.int64)  # sums over many days are exact in whole numbers only
    taken = np.zeros(len(cost), dtype=bool)
    waiting = np.flatnonzero(cost <= rest[owner])
    while waiting.size:
        price, who = cost[waiting], owner[waiting]
        running = np.append(0, np.cumsum(price))
        fits = running[1:] - running[who.searchsorted(who)] <= rest[who]
        taken[waiting[fits]] = True
        rest -= np.bincount(who, price * fits, minlength=len(rest)).astype(np.int64)
        waiting, who = waiting[~fits], who[~fits]
        again = waiting[np.append(True, who[1:] != who[:-1])[: len(who)] ^ True]  # the first overflow is lost
        waiting = again[cost[again] <= rest[owner[again]]]
    return taken
