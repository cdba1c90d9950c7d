"""Which of the wins in a tick are accepted, in time order: budget and frequency caps, without a loop over n."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, IntArray


def accepted(
    cost: IntArray, left: int, users: IntArray | None = None, shown: IntArray | None = None, cap: int = 0
) -> BoolArray:
    """Accept each win (n,) in order if it fits into what is left and its user has not seen the campaign too often.

    cost: micro-currency. users: (n,) who is looking; None: no cap. shown: (all users,) impressions before; None: none.
    """
    if users is None:
        return affordable(cost, left)
    before = shown[users] if shown is not None else np.zeros(len(users), dtype=np.int64)
    welcome = before + _rank(users) < cap
    if cost[welcome].sum() <= left:
        return welcome
    return _one_by_one(cost, left, users, before, cap)


def affordable(cost: IntArray, left: int) -> BoolArray:
    """Accept each cost (n,) in order if it still fits into what is left: the skip rule, without a loop over n.

    Each round takes the longest prefix that fits and drops the first overflow and all that is dearer than
    the rest of the budget.
    """
    if cost.sum() <= left:
        return np.ones(len(cost), dtype=bool)
    taken = np.zeros(len(cost), dtype=bool)
    candidates = np.flatnonzero(cost <= left)
    while candidates.size:
        running = np.cumsum(cost[candidates])
        fits = int(np.searchsorted(running, left, side="right"))
        taken[candidates[:fits]] = True
        left -= int(running[fits - 1]) if fits else 0
        candidates = candidates[fits + 1 :]
        candidates = candidates[cost[candidates] <= left]
    return taken


def _rank(users: IntArray) -> IntArray:
    """Return how many earlier entries (n,) have the same user."""
    order = np.argsort(users, kind="stable")
    place = np.arange(len(users))
    first = np.append(True, users[order][1:] != users[order][:-1])[: len(users)]
    rank = np.empty(len(users), dtype=np.int64)
    rank[order] = place - np.maximum.accumulate(np.where(first, place, 0))
    return rank


def _one_by_one(cost: IntArray, left: int, users: IntArray, before: IntArray, cap: int) -> BoolArray:
    """Apply both limits in a plain loop: what is refused for money must not count as shown."""
    taken = np.zeros(len(cost), dtype=bool)
    seen: dict[int, int] = {}
    for place, (price, user, earlier) in enumerate(zip(cost.tolist(), users.tolist(), before.tolist(), strict=True)):
        if price <= left and earlier + seen.get(user, 0) < cap:
            taken[place] = True
            left -= price
            seen[user] = seen.get(user, 0) + 1
    return taken
