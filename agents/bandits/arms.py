"""The common ground of bandits over a ladder of multipliers.

An arm is a factor on the controller's multiplier. Its reward is the Lagrangian of the tick, predicted worth won
minus spend at the budget's shadow price, against the best the forecast expects of the tick, mapped to 0..1:
0.5 is what the controller's own multiplier is expected to earn. Before a campaign the bandit plays past days, so
it does not start blind; every episode starts from the same posterior.
"""

from __future__ import annotations

from abc import abstractmethod
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.envs.controller import Campaigns, Pacer
from bidpilot.envs.episode import Episode
from bidpilot.envs.types import Campaign, Rules

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import CampaignState

FACTORS = np.exp(np.linspace(-0.8, 0.8, 9))
WARM_UP_DAYS = 6
WARM_UP = np.random.SeedSequence(0, spawn_key=(102,))
"""A fixed stream of its own: the posterior belongs to the past, not to the episode."""


class Statistics:
    """Pulls and summed rewards per arm, both decayed by `decay` at every pull (1 = never forget)."""

    def __init__(self, decay: float = 1.0) -> None:
        """Start with no pulls."""
        self.decay = decay
        self.pulls: FloatArray = np.zeros(len(FACTORS))
        self.sums: FloatArray = np.zeros(len(FACTORS))

    def add(self, arm: int, reward: float) -> None:
        """Count a pull with a reward in 0..1."""
        self.pulls *= self.decay
        self.sums *= self.decay
        self.pulls[arm] += 1.0
        self.sums[arm] += reward


class LadderBandit(MultiplierPolicy):
    """A bandit that picks one arm a tick; subclasses say how in `choose`."""

    def __init__(self, past: Past, decay: float = 1.0) -> None:
        """Keep the past for the warm-up, which is played once per budget."""
        self.forecast, self._days = past.forecast, past.days[:WARM_UP_DAYS]
        self._decay = decay
        self._warm: dict[tuple[float, str], Statistics] = {}
        self.statistics = Statistics(decay)
        self._arm: int | None = None

    @abstractmethod
    def choose(self, rng: np.random.Generator) -> int:
        """Return the number of the arm to pull, from self.statistics."""

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start from the posterior after the warm-up."""
        kind = (campaign.scarcity, campaign.rules.auction)
        if kind not in self._warm:
            self._warm[kind] = self._warm_up(*kind)
        self.statistics = deepcopy(self._warm[kind])
        self._start(campaign, rng)

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Learn from the last tick, pull an arm, and return its multiplier (1,); no offers teach nothing."""
        if self._arm is not None and state.last.offered.any():
            self.statistics.add(self._arm, self.reward(state))
        base = self._pacer.observe(state.lifted())
        self._arm = self.choose(self._rng)
        return np.array([base * FACTORS[self._arm]])

    def reward(self, state: CampaignState) -> float:
        """Return the last tick's reward in 0..1."""
        price = self._shadow / self._pacer.multiplier
        earned = float(state.last.predicted.sum()) - price * float(state.last.spend.sum())
        expected = float(self._expected[state.tick - 1])
        return float(np.clip(0.5 * earned / expected, 0.0, 1.0)) if expected > 0 else 0.5

    def _start(self, campaign: Campaign, rng: np.random.Generator) -> None:
        self._rng, self._arm = rng, None
        self._pacer = Pacer(Campaigns.of([campaign]), self.forecast)
        start = self._pacer.start
        value = self.forecast.value_at(start) * self.forecast.full_value
        spend = self.forecast.spend_at(start) * self.forecast.full_cost
        scale = campaign.full_cost / self.forecast.full_cost
        self._shadow = self._marginal(start)
        self._expected = np.maximum(value - spend * self._shadow / start, 0.0) * scale

    def _marginal(self, multiplier: float) -> float:
        """Return the worth of the last currency unit spent, times the multiplier: 1 at second price, less at first."""
        around = multiplier * np.exp([-0.1, 0.1])
        worth = [float(self.forecast.value_at(m).sum()) * self.forecast.full_value for m in around]
        spent = [float(self.forecast.spend_at(m).sum()) * self.forecast.full_cost for m in around]
        return multiplier * (worth[1] - worth[0]) / (spent[1] - spent[0]) if spent[1] > spent[0] else 0.0

    def _warm_up(self, scarcity: float, auction: str) -> Statistics:
        """Play past days at this scarcity, from the first to the last, and return what was learnt."""
        self.statistics = Statistics(self._decay)
        rng = np.random.default_rng(WARM_UP)
        for day in self._days:
            full_cost = self.forecast.full_cost
            episode = Episode(day, Campaign(scarcity * full_cost, day.ticks, full_cost, Rules(auction)))
            self._start(episode.campaign, rng)
            while not episode.over:
                episode.bid_multipliers(self.multipliers(episode.state()))
        return self.statistics
