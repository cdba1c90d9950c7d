"""One campaign on one day: the ledger that environments and evaluation share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, FloatArray, whole_micros
from bidpilot.envs.arrivals import Arrivals
from bidpilot.envs.simulator import Memory, play, play_bids, posted
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, EpisodeResult, Feedback, Outcome

if TYPE_CHECKING:
    from bidpilot.ctr.types import IntArray
    from bidpilot.envs.day import Day

WINS, SPEND = COLUMNS.index("wins"), COLUMNS.index("spend")
COOLING = 0.5
"""Share of the last tick's win rate in the recent one that rivals react to."""


class Episode:
    """Plays a campaign tick by tick and keeps its books; every tick goes through simulator.play.

    groups: rows of feedback, 1 or the number of segments. Raises InputError when it is neither, when the day's
    ticks are not the campaign's horizon, or when impressions are capped per user and the day knows no users.
    """

    def __init__(self, day: Day, campaign: Campaign, groups: int = 1) -> None:
        """Open the books."""
        check(day, campaign, groups)
        self.day, self.campaign, self.groups = day, campaign, groups
        self.tick = 0
        self.left = int(whole_micros(campaign.budget))
        self._budget = self.left
        self._offered: IntArray = np.zeros((day.ticks, groups), dtype=np.int64)
        self._tables: FloatArray = np.zeros((day.ticks, groups, len(COLUMNS)))
        self._last: FloatArray = np.zeros((groups, len(COLUMNS)))
        self._total: FloatArray = np.zeros((groups, len(COLUMNS)))
        self._total_offered: IntArray = np.zeros(groups, dtype=np.int64)
        self._posted: FloatArray = np.zeros((2, groups, 2))
        self._arrivals = None if day.hidden.delay is None else Arrivals(day, groups)
        self._memory = Memory()

    @property
    def over(self) -> bool:
        """Tell whether the horizon is reached."""
        return self.tick >= self.day.ticks

    def state(self) -> CampaignState:
        """Return what the bidder knows now."""
        last = self._offered[max(self.tick - 1, 0)]
        return CampaignState(
            tick=self.tick,
            spent=(self._budget - self.left) / MICROS,
            left=self.left / MICROS,
            total=self._priced(Feedback.of(self._total_offered, self._total), self._posted[0]),
            last=self._priced(Feedback.of(last, self._last), self._posted[1]),
        )

    def glance(self) -> CampaignState:
        """Return the same in the form of envs/ops: floats for one bid group, else arrays (1, 1) and (1, groups)."""
        return self.state().lifted()

    def advance(self, multipliers: Any) -> list[float]:  # noqa: ANN401 - float or array
        """Play the tick with multipliers in the form of envs/ops; return what it brought over all groups."""
        row: list[float] = self.bid_multipliers(np.ravel(multipliers)).table.sum(axis=0).tolist()
        return row

    def bid_multipliers(self, multipliers: FloatArray) -> Outcome:
        """Play the tick with multipliers (1,) or (segments,)."""
        at = np.full(self.groups, multipliers[0]) if len(multipliers) < self.groups else multipliers
        return self._book(play(self.day, self.tick, at, self.left, self.campaign.rules, self._memory))

    def bid_amounts(self, bids: FloatArray) -> Outcome:
        """Play the tick with bids (n_tick,), currency per impression."""
        return self._book(play_bids(self.day, self.tick, bids, self.left, self.campaign.rules, self._memory))

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
        self._last = outcome.table if self._arrivals is None else self._arrivals.told(self.tick, outcome)
        self._total += self._last
        self._total_offered += outcome.offered
        if not (self.campaign.rules.plain and self.campaign.rules.censored):
            self._remember(outcome)
        self.left -= outcome.spend
        self.tick += 1
        return outcome

    def _remember(self, outcome: Outcome) -> None:
        """Keep what the rules let later ticks depend on, or the bidder see."""
        rules, count = self.campaign.rules, max(int(outcome.offered.sum()), 1)
        if not rules.censored:
            told = posted(self.day, self.tick, rules, self._memory)
            told = told if self.groups > 1 else told.sum(axis=0, keepdims=True)
            self._posted = np.stack([self._posted[0] + told, told])  # states given out keep what they were told
        if rules.reaction:
            heat = (1.0 - COOLING) * self._memory.heat + COOLING * float(outcome.table[:, WINS].sum()) / count
            self._memory = self._memory._replace(heat=heat)
        users = self.day.seen.user
        if rules.frequency_cap and users is not None and outcome.rows is not None:
            shown = np.zeros(self.day.users, np.int64) if self._memory.shown is None else self._memory.shown
            more = np.bincount(users[outcome.rows], minlength=self.day.users)
            self._memory = self._memory._replace(shown=shown + more)

    def _priced(self, told: Feedback, market: FloatArray) -> Feedback:
        """Add the market prices seen: every auction's where reported; else a win tells its own, at second price."""
        if not self.campaign.rules.censored:
            return told._replace(prices=market[:, 0] / MICROS, priced=market[:, 1])
        return (
            told._replace(prices=told.spend, priced=told.wins)
            if self.campaign.rules.auction == "second_price"
            else told
        )


def check(day: Day, campaign: Campaign, groups: int) -> None:
    """Raise InputError where day, campaign and groups do not fit together."""
    if day.ticks != campaign.horizon:
        raise InputError(f"the campaign runs {campaign.horizon} ticks, the day has {day.ticks}")
    if groups not in {1, day.segments}:
        raise InputError(f"bids come in 1 group or one per segment: the day has {day.segments}, not {groups}")
    if campaign.rules.frequency_cap and day.seen.user is None:
        raise InputError(
            "impressions are capped per user, but the day does not say who looks: set TrafficLaw(users=...), or give "
            "Opportunities.user"
        )
