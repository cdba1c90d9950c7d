"""The common ground of bandits over a ladder of multipliers.

An arm is a factor on the controller's multiplier. Its reward is the Lagrangian of the tick, predicted worth won
minus spend at the budget's shadow price, against the best the forecast expects of the tick, mapped to 0..1:
0.5 is what the controller's own multiplier is expected to earn. Before a campaign the bandit plays past days, so
it does not start blind; every episode starts from the same posterior.
"""

from __future__ import annotations

from abc import abstractmethod
from copy import deepcopy
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from bidpilot.agents.bandits.propensities import DRAWS, shares
from bidpilot.agents.bandits.statistics import Statistics
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
ASKED = np.random.SeedSequence(0, spawn_key=(103,))
"""The stream of what is drawn to estimate propensities: asking changes nothing that is played."""

M = TypeVar("M")


class Ladder(MultiplierPolicy, Generic[M]):
    """A bandit that picks one arm a tick; subclasses say how in `choose` and what they remember.

    Attributes: blank, a memory M of nothing, copied for every warm-up; statistics, the current one.
    """

    factors: FloatArray = FACTORS

    def __init__(self, past: Past, blank: M) -> None:
        """Keep the past for the warm-up, which is played once per budget."""
        self.forecast, self._days = past.forecast, past.days[:WARM_UP_DAYS]
        self.blank = blank
        self._warm: dict[tuple[float, str], M] = {}
        self.statistics = deepcopy(blank)
        self._arm: int | None = None

    @abstractmethod
    def choose(self, rng: np.random.Generator) -> int:
        """Return the number of the arm to pull, from self.statistics."""

    @abstractmethod
    def learn(self, arm: int, reward: float, state: CampaignState) -> None:
        """Take in the reward 0..1 of the last tick's arm."""

    def propensities(self) -> FloatArray:
        """Return the probability (arms,) with which the last decision could have pulled each arm.

        To be asked between `multipliers` and the next call of it; costs nothing unless asked. Deterministic bandits
        give 1 to the arm pulled, epsilon-greedy is exact, and those that sample (see Sampled) estimate by Monte
        Carlo with a floor. Raises RuntimeError before the first tick.
        """
        if self._arm is None:
            raise RuntimeError("no arm has been pulled yet: ask after multipliers()")
        return self.probabilities(self._arm)

    def probabilities(self, pulled: int) -> FloatArray:
        """Return the probabilities (arms,) at the current statistics; here those of a deterministic bandit."""
        return np.asarray(np.eye(len(self.factors))[pulled])

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
            self.learn(self._arm, self.reward(state), state)
        base = self.look(state)
        self._arm = self.choose(self._rng)
        return np.array([base * self.factors[self._arm]])

    def look(self, state: CampaignState) -> float:
        """Take in what the coming tick's arm is chosen by; return the multiplier that arms are factors on."""
        return float(self._pacer.observe(state.lifted()))

    def reward(self, state: CampaignState) -> float:
        """Return the last tick's reward in 0..1."""
        price = self._shadow / self._pacer.multiplier
        earned = float(state.last.predicted.sum()) - price * float(state.last.spend.sum())
        expected = float(self._expected[state.tick - 1])
        return float(np.clip(0.5 * earned / expected, 0.0, 1.0)) if expected > 0 else 0.5

    def day_over(self, rng: np.random.Generator) -> None:
        """Do what is left for the end of a day of the warm-up; nothing by default."""

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

    def _warm_up(self, scarcity: float, auction: str) -> M:
        """Play past days at this scarcity, from the first to the last, and return what was learnt."""
        self.statistics = deepcopy(self.blank)
        rng = np.random.default_rng(WARM_UP)
        for day in self._days:
            full_cost = self.forecast.full_cost
            episode = Episode(day, Campaign(scarcity * full_cost, day.ticks, full_cost, Rules(auction)))
            self._start(episode.campaign, rng)
            while not episode.over:
                episode.bid_multipliers(self.multipliers(episode.state()))
            self.day_over(rng)
        return self.statistics


class LadderBandit(Ladder[Statistics]):
    """A bandit without context: what it remembers is Statistics of every arm."""

    def __init__(self, past: Past, blank: Statistics | None = None) -> None:
        """Keep the past; blank: the kind of statistics to gather, by default all of the past alike."""
        super().__init__(past, Statistics(len(self.factors)) if blank is None else blank)

    def learn(self, arm: int, reward: float, state: CampaignState) -> None:  # noqa: ARG002 - the reward says it all
        """Count the pull."""
        self.statistics.add(arm, reward)


class Sampled(Ladder[M]):
    """A bandit that draws what the arms may be worth and pulls the best of a draw: Thompson sampling."""

    @abstractmethod
    def draws(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return draws (count, arms) of the arms' mean rewards from the posterior."""

    def choose(self, rng: np.random.Generator) -> int:
        """Return the arm of the highest draw."""
        return int(np.argmax(self.draws(1, rng)[0]))

    def probabilities(self, pulled: int) -> FloatArray:  # noqa: ARG002 - it does not depend on what was drawn
        """Return the probabilities (arms,), estimated from DRAWS draws and floored at 1 / DRAWS."""
        return shares(self.draws(DRAWS, np.random.default_rng(ASKED)))
