"""The same bid for every impression (Zhang et al. 2014, arXiv 1407.7073: Const)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Opportunities
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """factor: bid as a multiple of (forecast's multiplier x mean predicted worth)."""

    factor: float = 1.0

    def build(self, past: Past) -> Constant:
        """Build the policy."""
        return Constant(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"factor": Span(0.25, 4.0)}


class Constant:
    """A flat bid; the budget runs out when it runs out."""

    groups = 1

    def __init__(self, config: Config, past: Past) -> None:
        """Take the level from the forecast."""
        self.config, self.forecast = config, past.forecast
        self.worth = float(np.mean(np.concatenate([day.seen.value for day in past.days])))
        self.amount = 0.0

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Set the bid for the budget."""
        self.amount = self.config.factor * self.forecast.multiplier(campaign.scarcity) * self.worth

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:  # noqa: ARG002 - never looks
        """Return the flat bid (n,)."""
        return np.full(len(seen.value), self.amount)
