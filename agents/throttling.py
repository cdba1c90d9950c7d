"""Probabilistic throttling: bid one's full bid, but only in a part of the auctions, drawn by chance.

(Agarwal et al., KDD 2014; Xu et al., KDD 2015: Smart Pacing.) p starts at min(1, budget / forecast spend of the full
bid) and moves by 10 % a tick towards the plan. Whether it takes part does not depend on what an impression is worth,
so it buys dear impressions where a lower bid would buy more of the cheap ones: what throttling loses to pacing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.space import Span
from bidpilot.envs.controller import Campaigns, Pacer

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Opportunities
    from bidpilot.envs.types import Campaign, CampaignState

LEAST = 1e-3
"""No probability is lower, so that a tick of no wins is not the end."""


@dataclass(frozen=True, slots=True)
class Config:
    """factor: the full bid, as a multiple of the forecast's for the budget. step: relative change of p per tick."""

    factor: float = 1.2
    step: float = 0.1

    def build(self, past: Past) -> Throttling:
        """Build the policy."""
        return Throttling(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"factor": Span(1.0, 3.0), "step": Span(0.02, 0.3)}


class Throttling:
    """Attributes: probability, of taking part in an auction."""

    groups = 1

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the forecast."""
        self.config, self.forecast = config, past.forecast
        self.probability = 1.0
        self._multiplier = 0.0
        self._pacer: Pacer
        self._rng: np.random.Generator

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Set the bid for the budget, and the share of auctions that it can pay for."""
        self._pacer, self._rng = Pacer(Campaigns.of([campaign]), self.forecast), rng
        self._multiplier = self.config.factor * self._pacer.start
        full = float(self.forecast.spending(self._multiplier)) * campaign.full_cost
        self.probability = min(1.0, campaign.budget / full) if full > 0.0 else 1.0

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:
        """Return the bids (n,): the full one, or 0 where it does not take part."""
        if state.tick > 0 and state.last.offered.any():
            ahead = float(state.last.spend.sum()) > self._pacer.target
            change = 1.0 - self.config.step if ahead else 1.0 + self.config.step
            self.probability = float(np.clip(self.probability * change, LEAST, 1.0))
        self._pacer.target = self._pacer.target_at(state)
        takes_part = self._rng.random(len(seen.value)) < self.probability
        return np.where(takes_part, self._multiplier * seen.value, 0.0)
