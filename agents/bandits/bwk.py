"""Bandits with knapsacks, primal-dual (Badanidiyuru, Kleinberg, Slivkins 2018; Agrawal, Devanur 2014).

Pull the arm of the highest optimistic reward minus price x optimistic (low) cost; then move the price of a unit of
cost: lambda <- max(0, lambda + rate (cost - allowance)). A null arm, free and worthless, lets it save budget. Arms are
factors on the forecast's multiplier: the price does the pacing, no controller helps. Rewards and costs are shares of
what all of a tick's traffic is expected to be worth and to cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.bandits.arms import FACTORS, Ladder
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """width: of the confidence radius. rate: by how much overspending a tick's allowance twice moves the price."""

    width: float = 0.001
    rate: float = 0.1

    def build(self, past: Past) -> Bwk:
        """Build the policy."""
        return Bwk(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"width": Span(0.0003, 0.3), "rate": Span(0.02, 0.5)}


class Purse:
    """Pulls, summed rewards and summed costs of every arm."""

    def __init__(self, arms: int) -> None:
        """Start with no pulls."""
        self.pulls, self.rewards, self.costs = np.zeros((3, arms))

    def add(self, arm: int, reward: float, cost: float) -> None:
        """Count a pull with a reward and a cost, both in 0..1."""
        self.pulls[arm] += 1.0
        self.rewards[arm] += reward
        self.costs[arm] += cost


class Bwk(Ladder[Purse]):
    """Pulls a factor on the forecast's multiplier, or the null arm, at the price of budget so far."""

    factors = np.append(FACTORS, 0.0)

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the settings."""
        super().__init__(past, Purse(len(FACTORS)))
        self.config = config
        self.price = 0.0

    def choose(self, rng: np.random.Generator) -> int:  # noqa: ARG002 - deterministic
        """Return the arm of the highest index; the last one is the null arm."""
        purse = self.statistics
        return priced_arm(purse.pulls, purse.rewards, purse.costs, self.price, self.config.width)

    def reward(self, state: CampaignState) -> float:
        """Return the last tick's worth as a share 0..1 of what its traffic is expected to be worth."""
        return _share(float(state.last.predicted.sum()), self._worth[state.tick - 1])

    def learn(self, arm: int, reward: float, state: CampaignState) -> None:
        """Count the pull and move the price; the null arm has nothing to teach but that money was saved."""
        cost = _share(float(state.last.spend.sum()), self._cost[state.tick - 1])
        allowance = _share(float(self._pacer.target), self._cost[state.tick - 1])
        if arm < len(FACTORS):
            self.statistics.add(arm, reward, cost)
        self.price = next_price(self.price, cost, allowance, self._rate)

    def look(self, state: CampaignState) -> float:
        """Let the plan go on; return the forecast's multiplier."""
        self._pacer.observe(state.lifted())
        return float(self._pacer.start)

    def _start(self, campaign: Campaign, rng: np.random.Generator) -> None:
        super()._start(campaign, rng)
        top, scale = self.forecast.multipliers[-1], campaign.full_cost / self.forecast.full_cost
        self._worth = self.forecast.value_at(top) * self.forecast.full_value * scale
        self._cost = self.forecast.spend_at(top) * self.forecast.full_cost * scale
        self.price = self._shadow / self._pacer.start * self._cost.sum() / max(self._worth.sum(), 1e-300)
        self._rate = self.config.rate * self.price / min(campaign.scarcity, 1.0)


def priced_arm(pulls: FloatArray, rewards: FloatArray, costs: FloatArray, price: float, width: float) -> int:
    """Return the arm of the highest r+ - price x c-, or len(pulls), the null arm, where none is above 0.

    r+ and c- lie a confidence radius above and below the means, kept in 0..1; arms never pulled come first.
    """
    if (pulls == 0).any():
        return int(np.argmin(pulls))
    level = width * np.log(1.0 + pulls.sum()) / pulls
    reward, cost = rewards / pulls, costs / pulls
    high = np.minimum(reward + radius(reward, level), 1.0)
    low = np.maximum(cost - radius(cost, level), 0.0)
    index = np.append(high - price * low, 0.0)
    return int(np.argmax(index)) if index.max() > 0 else len(pulls)


def radius(means: FloatArray, levels: FloatArray) -> FloatArray:
    """Return sqrt(mean x level) + level: narrow for small means, as the paper's."""
    return np.asarray(np.sqrt(means * levels) + levels)


def next_price(price: float, cost: float, allowance: float, rate: float) -> float:
    """Return the price of a unit of cost after a round: dearer where it cost more than it was allowed."""
    return max(0.0, price + rate * (cost - allowance))


def _share(amount: float, whole: float) -> float:
    return float(np.clip(amount / whole, 0.0, 1.0)) if whole > 0 else 0.0
