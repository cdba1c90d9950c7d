"""The common ground of the controllers: a plan on the remaining budget, and one multiplier that reacts.

A controller says in `react` how the multiplier moves after a tick; targets and bookkeeping are here.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.envs.controller import Campaigns, Pacer

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.types import Campaign, CampaignState


class PlannedPolicy(MultiplierPolicy):
    """A controller of one multiplier against the plan's targets."""

    def __init__(self, forecast: Forecast) -> None:
        """Keep the forecast."""
        self.forecast = forecast
        self.pacer: Pacer
        self.campaign: Campaign
        self.multiplier = 0.0
        self.target = 0.0

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Start at the forecast's multiplier for the budget."""
        self.campaign = campaign
        self.pacer = Pacer(Campaigns.of([campaign]), self.forecast)
        self.multiplier = self.pacer.start
        self.target = 0.0

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multiplier (1,), after reacting to the last tick."""
        if state.tick > 0:
            self.react(state)
        self.target = self.pacer.target_at(state)
        return np.array([self.multiplier])

    @abstractmethod
    def react(self, state: CampaignState) -> None:
        """Move self.multiplier; self.target is still the target of the tick just over."""

    def error(self, state: CampaignState) -> float:
        """Return (target - spend) / target of the tick just over, clipped to -1..1; 0 where nothing was planned."""
        if self.target <= 0.0:
            return 0.0
        return float(np.clip(1.0 - state.last.spend.sum() / self.target, -1.0, 1.0))
