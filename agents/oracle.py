"""The best uniform multiplier in hindsight: it knows the day's prices, and bids on the same predictions.

What it misses of R* is what better predictions could bring; what a policy misses of it is pacing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.envs.hindsight import best_multiplier

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign, CampaignState


class Oracle(MultiplierPolicy):
    """Gets the day, hidden prices included, through its constructor; no other policy does."""

    def __init__(self, day: Day) -> None:
        """Look at the day."""
        self._day = day
        self._multiplier = np.zeros(1)

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Solve the day for the budget and the cost limit."""
        auction, limit = campaign.rules.auction, campaign.cost_limit
        self._multiplier = np.array([best_multiplier(self._day, campaign.budget, auction, limit)])

    def multipliers(self, state: CampaignState) -> FloatArray:  # noqa: ARG002 - it knows already
        """Return the multiplier (1,)."""
        return self._multiplier
