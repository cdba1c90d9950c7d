"""One campaign with one multiplier on a stored day, played in floats: the numbers of Episode, a quarter of its time."""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS, FloatArray, whole_micros
from bidpilot.envs.episode import Episode, check
from bidpilot.envs.settlement import settle
from bidpilot.envs.simulator import HIGHEST
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, EpisodeResult, Feedback

if TYPE_CHECKING:
    from bidpilot.envs.day import Day

Row = list[float]


def stored(day: Day, campaign: Campaign) -> bool:
    """Tell whether a day is there to be replayed through its index, under rules it plays exactly, nothing late."""
    rules = campaign.rules
    return rules.plain and rules.censored and day.hidden.delay is None and not day.once


def episode_of(day: Day, campaign: Campaign, groups: int) -> Episode | Solo:
    """Open an episode in the quickest form that plays it exactly."""
    quick = groups == 1 and day.belief is None and stored(day, campaign)
    return Solo(day, campaign) if quick else Episode(day, campaign, groups)


class Solo:
    """As Episode for what fits; the plain reference is Episode itself, and a test compares them byte by byte."""

    def __init__(self, day: Day, campaign: Campaign) -> None:
        """Open the books."""
        check(day, campaign, 1)
        self.day, self.campaign, self.groups = day, campaign, 1
        self.tick = 0
        self.left = self._budget = int(whole_micros(campaign.budget))
        ladder, self._volume = day.pooled, day.volumes
        self._cells, self._ratio, self._prefix = ladder.cells, ladder.ratio, ladder.prefix
        self._offered = 0.0
        self._rows: list[Row] = []
        self._last: Row = [0.0] * len(COLUMNS)
        self._total: Row = self._last

    @property
    def over(self) -> bool:
        """Tell whether the horizon is reached."""
        return self.tick >= self.day.ticks

    def advance(self, multiplier: float) -> Row:
        """Play the tick with one multiplier and return what it brought, in the order of COLUMNS."""
        tick, wins = self.tick, self._wins(multiplier)
        row: Row = self._prefix[self._cells[tick] + tick + wins].tolist()
        row.insert(0, float(wins))
        if row[1] > self.left:
            row = self._settled(wins)
        self._rows.append(row)
        self._last, self._total = row, list(map(add, self._total, row))
        self._offered += self._volume[tick]
        self.left -= int(row[1])
        self.tick = tick + 1
        return row

    def glance(self) -> CampaignState:
        """Return what the bidder knows now, in floats."""
        tick = self.tick
        last = _told(self._volume[tick - 1] if tick else 0.0, self._last)
        spent, left = (self._budget - self.left) / MICROS, self.left / MICROS
        return CampaignState(tick, spent, left, _told(self._offered, self._total), last)

    def result(self) -> EpisodeResult:
        """Return the episode's tables."""
        table: FloatArray = np.zeros((self.day.ticks, len(COLUMNS)))
        table[: self.tick] = np.array(self._rows).reshape(-1, len(COLUMNS))
        offered = np.where(np.arange(self.day.ticks) < self.tick, self.day.volume[:, 0], 0)
        return EpisodeResult(self.campaign, offered, table, self.day.traffic_hash)

    def _wins(self, multiplier: float) -> int:
        """Return how many opportunities of the tick are won, see Ladder.wins."""
        if not multiplier > 0:
            return 0
        part = self._ratio[self._cells[self.tick] : self._cells[self.tick + 1]]
        return int(part.searchsorted(min(multiplier, HIGHEST), "right"))

    def _settled(self, wins: int) -> Row:
        """Return what the tick brings where the budget does not allow all wins."""
        tick, ladder = np.array([[self.tick]]), self.day.pooled
        budget, first = np.array([self.left]), ladder.starts[tick]
        row: Row = settle(ladder.prefix, ladder.order, first, tick, np.array([[wins]]), budget)[0, 0].tolist()
        return row


def _told(offered: float, row: Row) -> Feedback:
    wins, spend, clicks, conversions, revenue, likely, predicted, _ = row
    paid = spend / MICROS
    return Feedback(offered, wins, paid, clicks, conversions, revenue / MICROS, likely, predicted, paid, wins)
