"""N episodes in lockstep, each on a day and with a budget of its own: the books of the batched environments.

Three forms with the same interface and the same numbers: Fleet plays stored days through a Bank, Herd (envs/herd)
passes over days that are played once, Squad plays anything else one Episode after the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS, FloatArray, IntArray, whole_micros
from bidpilot.envs.bank import Bank
from bidpilot.envs.episode import Episode, check
from bidpilot.envs.simulator import HIGHEST, JUDGED, SPEND
from bidpilot.envs.solo import indexed, simple
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, Feedback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.envs.day import Day
    from bidpilot.envs.ladder import Ladder


def fleet_of(days: Sequence[Day], campaigns: Sequence[Campaign], groups: int, bank: Bank | None) -> Lockstep | Squad:
    """Open N episodes in the quickest form that plays them exactly. bank: the last fleet's, used again if it fits."""
    from bidpilot.envs.herd import Herd  # it stands on this module

    pairs = list(zip(days, campaigns, strict=True))
    if all(indexed(day, campaign) for day, campaign in pairs):
        return Fleet(days, campaigns, groups, bank)
    if all(day.once and simple(day, campaign) and campaign.rules.plain for day, campaign in pairs):
        return Herd(days, campaigns, groups)
    return Squad(days, campaigns, groups)


class Lockstep(ABC):
    """The books of N episodes under plain rules."""

    bank: Bank | None = None

    def __init__(self, days: Sequence[Day], campaigns: Sequence[Campaign], groups: int) -> None:
        """Open them."""
        for day, campaign in zip(days, campaigns, strict=True):
            check(day, campaign, groups)
        self.groups, self.tick, self.ticks = groups, 0, days[0].ticks
        self.belief = _beliefs(days)
        self.left: IntArray = whole_micros([campaign.budget for campaign in campaigns]).astype(np.int64)
        self._budget = self.left.copy()
        self._volume = _volumes(days, groups)
        self._offered: FloatArray = np.zeros((len(days), groups))
        self._last: FloatArray = np.zeros((len(COLUMNS), len(days), groups))
        self._total: FloatArray = np.zeros_like(self._last)

    @abstractmethod
    def play(self, multipliers: FloatArray) -> FloatArray:
        """Return the tables (N, cells, len(COLUMNS)) of finite multipliers (N, cells) on the undistorted values.

        cells: groups, or the segments where somebody misjudges them.
        """

    def advance(self, multipliers: FloatArray) -> FloatArray:
        """Play the tick with multipliers (N, groups); return what it brought over all groups, (N, len(COLUMNS))."""
        at = multipliers if self.belief is None else multipliers * self.belief
        table = self.play(np.minimum(at, HIGHEST))
        if self.belief is not None:
            table[..., JUDGED] *= self.belief[..., None]
            table = table if self.groups > 1 else table.sum(axis=1, keepdims=True)
        return self._book(table)

    def glance(self) -> CampaignState:
        """Return what the bidders know now, in arrays (N, 1) and (N, groups)."""
        last = self._volume[self.tick - 1] if self.tick else np.zeros_like(self._offered)
        spent, left = (self._budget - self.left) / MICROS, self.left / MICROS
        total, now = _told(self._offered, self._total), _told(last, self._last)
        return CampaignState(self.tick, spent[:, None], left[:, None], total, now)

    def _book(self, table: FloatArray) -> FloatArray:
        """Write the tables (N, groups, C) into the books and go on to the next tick."""
        self._last = np.ascontiguousarray(table.transpose(2, 0, 1))
        self._total = self._total + self._last
        self._offered = self._offered + self._volume[self.tick]
        row = table[:, 0] if self.groups == 1 else table.sum(axis=1)
        self.left = self.left - row[:, SPEND].astype(np.int64)
        self.tick += 1
        return row


class Fleet(Lockstep):
    """Episodes on stored days: one search and one look-up a tick."""

    def __init__(
        self, days: Sequence[Day], campaigns: Sequence[Campaign], groups: int, bank: Bank | None = None
    ) -> None:
        """Open the books. bank: used again if it has these days."""
        super().__init__(days, campaigns, groups)
        ladders = _ladders(days, pooled=groups == 1 and self.belief is None)
        self.bank: Bank = bank if bank is not None and bank.covers(ladders) else Bank(ladders)
        self._cells, self._rise = self.bank.cells(self.bank.slots(ladders))

    def play(self, multipliers: FloatArray) -> FloatArray:
        """Play the tick on the index."""
        cell = self._cells + self.tick * self._rise
        wins, table = self.bank.play(cell, multipliers)
        spend = table[:, 0, SPEND] if table.shape[1] == 1 else table[..., SPEND].sum(axis=1)
        late = np.flatnonzero(spend > self.left)
        if late.size:
            table[late] = self.bank.settled(cell[late], wins[late], self.left[late])
        return table


class Squad:
    """Episodes of any kind, one after the other: the plain reference of Fleet."""

    bank = None

    def __init__(self, days: Sequence[Day], campaigns: Sequence[Campaign], groups: int) -> None:
        """Open the books."""
        self.episodes = [Episode(day, campaign, groups) for day, campaign in zip(days, campaigns, strict=True)]
        self.tick, self.ticks, self.groups = 0, days[0].ticks, groups

    @property
    def left(self) -> IntArray:
        """Micro-currency (N,) that may still be spent."""
        return np.array([episode.left for episode in self.episodes])

    def advance(self, multipliers: FloatArray) -> FloatArray:
        """Play the tick with multipliers (N, groups); return what it brought over all groups, (N, len(COLUMNS))."""
        self.tick += 1
        return np.array([episode.advance(row) for episode, row in zip(self.episodes, multipliers, strict=True)])

    def glance(self) -> CampaignState:
        """Return what the bidders know now, in arrays (N, 1) and (N, groups)."""
        states = [episode.state() for episode in self.episodes]
        spent, left = (np.array([[getattr(state, name)] for state in states]) for name in ("spent", "left"))
        total, last = (_stacked([getattr(state, name) for state in states]) for name in ("total", "last"))
        return CampaignState(self.tick, spent, left, total, last)


def _stacked(told: Sequence[Feedback]) -> Feedback:
    """Return feedbacks of (groups,) as one of (N, groups)."""
    return Feedback(*(np.array([np.ravel(amount) for amount in column]) for column in zip(*told, strict=True)))


def _ladders(days: Sequence[Day], *, pooled: bool) -> list[Ladder]:
    return [day.pooled if pooled else day.by_segment for day in days]


def _beliefs(days: Sequence[Day]) -> FloatArray | None:
    """Return the bidders' factors (N, segments); None where nobody misjudges."""
    if all(day.belief is None for day in days):
        return None
    return np.array([np.ones(day.segments) if day.belief is None else day.belief for day in days])


def _volumes(days: Sequence[Day], groups: int) -> FloatArray:
    """Return the opportunities (ticks, N, groups)."""
    counts = [day.volume if groups == 1 else day.offered for day in days]
    return np.stack(counts, axis=1).astype(np.float64)


def _told(offered: FloatArray, columns: FloatArray) -> Feedback:
    """Return what the columns (C, N, groups) tell the bidders, under sealed second prices."""
    wins, spend, clicks, conversions, revenue, likely, predicted, _ = columns
    paid = spend / MICROS
    return Feedback(offered, wins, paid, clicks, conversions, revenue / MICROS, likely, predicted, paid, wins)
