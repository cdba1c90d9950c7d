"""One campaign with one multiplier, played in floats: the numbers of Episode in a quarter of its time."""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS, FloatArray, whole_micros
from bidpilot.envs.episode import Episode, check
from bidpilot.envs.onepass import pass_over
from bidpilot.envs.settlement import settle
from bidpilot.envs.simulator import HIGHEST, scan
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, EpisodeResult

if TYPE_CHECKING:
    from bidpilot.envs.day import Day

Row = list[float]
MANY = 512
"""Wins beyond which a tick in which the money runs out is settled by blocks."""


def simple(day: Day, campaign: Campaign) -> bool:
    """Tell whether a tick depends on earlier ones by the budget alone, and all that happens is told at once."""
    rules = campaign.rules
    return rules.censored and not (rules.reaction or rules.frequency_cap) and day.hidden.delay is None


def indexed(day: Day, campaign: Campaign) -> bool:
    """Tell whether a day is there to be replayed through its index, under rules that it plays exactly."""
    return simple(day, campaign) and campaign.rules.plain and not day.once


def episode_of(day: Day, campaign: Campaign, groups: int) -> Episode | Solo:
    """Open an episode in the quickest form that plays it exactly."""
    quick = groups == 1 and day.belief is None and simple(day, campaign)
    return Solo(day, campaign) if quick else Episode(day, campaign, groups)


class Told:
    """Reads as Feedback does, from a row of an outcome table: most of it is never looked at."""

    __slots__ = ("offered", "row")

    def __init__(self, offered: float, row: Row) -> None:
        """Keep the row."""
        self.offered, self.row = offered, row

    @property
    def wins(self) -> float:
        """Auctions won."""
        return self.row[0]

    @property
    def spend(self) -> float:
        """Currency."""
        return self.row[1] / MICROS

    @property
    def clicks(self) -> float:
        """Clicks."""
        return self.row[2]

    @property
    def revenue(self) -> float:
        """Currency."""
        return self.row[4] / MICROS

    @property
    def predicted_clicks(self) -> float:
        """Predicted clicks."""
        return self.row[5]

    @property
    def predicted(self) -> float:
        """Predicted worth."""
        return self.row[6]


class Solo:
    """As Episode for what fits; the plain reference is Episode itself, and a test compares them byte by byte."""

    def __init__(self, day: Day, campaign: Campaign) -> None:
        """Open the books."""
        check(day, campaign, 1)
        self.day, self.campaign, self.groups = day, campaign, 1
        self.tick = 0
        self.left = self._budget = int(whole_micros(campaign.budget))
        self._volume, self._cells = day.volumes, day.bounds
        self._indexed = indexed(day, campaign)
        self._certain = not self._indexed and campaign.rules.plain and day.certain
        if self._indexed:
            self._ratio, self._prefix = day.pooled.ratio, day.pooled.prefix
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
        tick = self.tick
        row = self._climbed(tick, multiplier) if self._indexed else self._scanned(tick, multiplier)
        self._rows.append(row)
        self._last, self._total = row, list(map(add, self._total, row))
        self._offered += self._volume[tick]
        self.left -= int(row[1])
        self.tick = tick + 1
        return row

    def glance(self) -> CampaignState:
        """Return what the bidder knows now, in floats."""
        tick, left = self.tick, self.left
        last = Told(self._volume[tick - 1] if tick else 0.0, self._last)
        spent = (self._budget - left) / MICROS
        return CampaignState(tick, spent, left / MICROS, Told(self._offered, self._total), last)  # type: ignore[arg-type]  # reads as Feedback does

    def result(self) -> EpisodeResult:
        """Return the episode's tables."""
        table: FloatArray = np.zeros((self.day.ticks, len(COLUMNS)))
        table[: self.tick] = np.array(self._rows).reshape(-1, len(COLUMNS))
        offered = np.where(np.arange(self.day.ticks) < self.tick, self.day.volume[:, 0], 0)
        return EpisodeResult(self.campaign, offered, table, self.day.traffic_hash)

    def _climbed(self, tick: int, multiplier: float) -> Row:
        """Return what the tick brings, by the index."""
        low, wins = self._cells[tick], 0
        if multiplier > 0:
            part = self._ratio[low : self._cells[tick + 1]]
            wins = int(part.searchsorted(min(multiplier, HIGHEST), "right"))
        row: Row = self._prefix[low + tick + wins].tolist()
        row.insert(0, float(wins))
        return row if row[1] <= self.left else self._settled(wins)

    def _scanned(self, tick: int, multiplier: float) -> Row:
        """Return what the tick brings, by looking at each opportunity."""
        if self._certain and multiplier > 0:
            passed = pass_over(self.day, tick, min(multiplier, HIGHEST), self.left)
            if passed is not None:
                return passed
        row: Row = scan(self.day, tick, multiplier, self.left, self.campaign.rules, 1).table[0].tolist()
        return row

    def _settled(self, wins: int) -> Row:
        """Return what the tick brings where the budget does not allow all wins."""
        if wins > MANY:
            return self.day.pooled.blocks(self.tick).settle(wins, self.left)
        tick, ladder = np.array([[self.tick]]), self.day.pooled
        budget, first = np.array([self.left]), ladder.starts[tick]
        row: Row = settle(ladder.prefix, ladder.order, first, tick, np.array([[wins]]), budget)[0, 0].tolist()
        return row
