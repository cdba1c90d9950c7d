"""One campaign on one day: the ledger that environments and evaluation share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, FloatArray, whole_micros
from bidpilot.envs.simulator import play, play_bids
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, EpisodeResult, Feedback, Outcome

if TYPE_CHECKING:
    from bidpilot.ctr.types import IntArray
    from bidpilot.envs.day import Day


class Episode:
    """Plays a campaign tick by tick and keeps its books; every tick goes through simulator.play.

    groups: rows of feedback, 1 or the number of segments. Raises InputError when it is neither, or when the day's
    ticks are not the campaign's horizon.
    """

    def __init__(self, day: Day, campaign: Campaign, groups: int = 1) -> None:
        """Open the books."""
        if day.ticks != campaign.horizon:
            raise InputError(f"the campaign runs {campaign.horizon} ticks, the day has {day.ticks}")
        if groups not in {1, day.segments}:
            raise InputError(f"bids come in 1 group or one per segment: the day has {day.segments}, not {groups}")
        self.day, self.campaign, self.groups = day, campaign, groups
        self.tick = 0
        self.left = int(whole_micros(campaign.budget))
        self._budget = self.left
        self._offered: IntArray = np.zeros((day.ticks, groups), dtype=np.int64)
        self._tables: FloatArray = np.zeros((day.ticks, groups, len(COLUMNS)))
        self._total_offered: IntArray = np.zeros(groups, dtype=np.int64)
        self._total: FloatArray = np.zeros((groups, len(COLUMNS)))

    @property
    def over(self) -> bool:
        """Tell whether the horizon is reached."""
        return self.tick >= self.day.ticks

    def state(self) -> CampaignState:
        """Return what the bidder knows now."""
        last = max(self.tick - 1, 0)
        return CampaignState(
            tick=self.tick,
            spent=(self._budget - self.left) / MICROS,
            left=self.left / MICROS,
            total=Feedback.of(self._total_offered, self._total),
            last=Feedback.of(self._offered[last], self._tables[last]),
        )

    def bid_multipliers(self, multipliers: FloatArray) -> Outcome:
        """Play the tick with multipliers (1,) or (segments,)."""
        spread = np.full(self.groups, multipliers[0]) if len(multipliers) == 1 else multipliers
        return self._book(play(self.day, self.tick, spread, self.left, self.campaign.auction))

    def bid_amounts(self, bids: FloatArray) -> Outcome:
        """Play the tick with bids (n_tick,), currency per impression."""
        return self._book(play_bids(self.day, self.tick, bids, self.left, self.campaign.auction))

    def result(self) -> EpisodeResult:
        """Return the episode's tables, summed over groups."""
        day = self.day.traffic_hash
        return EpisodeResult(self.campaign, self._offered.sum(axis=1), self._tables.sum(axis=1), day)

    def _book(self, outcome: Outcome) -> Outcome:
        """Write an outcome into the books and go on to the next tick."""
        if len(outcome.table) != self.groups:
            raise InputError(f"the books have {self.groups} groups, the outcome has {len(outcome.table)}")
        self._offered[self.tick] = outcome.offered
        self._tables[self.tick] = outcome.table
        self._total_offered += self._offered[self.tick]
        self._total += self._tables[self.tick]
        self.left -= outcome.spend
        self.tick += 1
        return outcome
