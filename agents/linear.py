"""Bid in proportion to predicted worth, at one multiplier all day (Perlich et al., KDD 2012: LIN).

With a budget and second price this is the form of the optimum; only the multiplier is unknown beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """factor: multiple of the forecast's multiplier for the budget."""

    factor: float = 1.0

    def build(self, past: Past) -> Linear:
        """Build the policy."""
        return Linear(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"factor": Span(0.7, 1.4)}


class Linear(MultiplierPolicy):
    """The forecast's multiplier, unchanged."""

    def __init__(self, config: Config, past: Past) -> None:
        """Take the level from the forecast."""
        self.config, self.forecast = config, past.forecast
        self._multiplier = np.zeros(1)

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Set the multiplier for the budget."""
        self._multiplier = np.array([self.config.factor * self.forecast.multiplier(campaign.scarcity)])

    def multipliers(self, state: CampaignState) -> FloatArray:  # noqa: ARG002 - never looks
        """Return the multiplier (1,)."""
        return self._multiplier
