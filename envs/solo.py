"""One campaign with one multiplier on a stored day, played in floats: the numbers of Episode, a quarter of its time."""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS, FloatArray, whole_micros
from bidpilot.envs.episode import Episode, check
from bidpilot.envs.simulator import HIGHEST, scan, spread
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
        tick, place = self.tick, self._place(multiplier)
        low = self._cells[tick]
        row: Row = (self._prefix[place] - self._prefix[low]).tolist()
        row.insert(0, float(place - low))
        if row[1] > self.left:
            at = spread(self.day, tick, np.array([multiplier]))
            row = scan(self.day, tick, at, self.left, self.campaign.rules, 1).table[0].tolist()
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

    def _place(self, multiplier: float) -> int:
        """Return the place after the last opportunity of the tick that is won, see Ladder.place."""
        low, high = self._cells[self.tick], self._cells[self.tick + 1]
        if not multiplier > 0:
            return low
        return low + int(self._ratio[low:high].searchsorted(min(multiplier, HIGHEST), "right"))


def _told(offered: float, row: Row) -> Feedback:
    wins, spend, clicks, conversions, revenue, likely, predicted, _ = row
    paid = spend / MICROS
    return Feedback(offered, wins, paid, clicks, conversions, revenue / MICROS, likely, predicted, paid, wins)
