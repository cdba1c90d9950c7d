"""Re-solve the allocation on what is left, every tick (Agrawal, Wang, Ye 2014; Li, Ye 2022: OnlineLP).

The multiplier is the one at which the forecast's spend in the ticks to come, scaled by how the last ticks
compared with the forecast, equals the budget that is left: the linear programme's threshold on a sample of past
days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.planned import PlannedPolicy
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """window: ticks over which spend is compared with the forecast. trust: weight of the forecast.

    The weight is a share of the budget that counts as seen beforehand.
    """

    window: int = 12
    trust: float = 0.03

    def build(self, past: Past) -> Resolve:
        """Build the policy."""
        return Resolve(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"window": Span(4, 48, whole=True), "trust": Span(0.005, 0.15)}


class Resolve(PlannedPolicy):
    """The threshold of the remaining problem."""

    def __init__(self, config: Config, past: Past) -> None:
        """Sum the forecast's spend over the ticks to come, once."""
        super().__init__(past.forecast)
        self.config = config
        spend = past.forecast.spend
        self._to_come: FloatArray = np.cumsum(spend[:, ::-1], axis=1)[:, ::-1]
        self._paid: list[float] = []
        self._expected: list[float] = []

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Forget what was paid."""
        super().reset(campaign, rng)
        self._paid, self._expected = [], []

    def react(self, state: CampaignState) -> None:
        """Compare, scale, and solve for what is left; a tick without offers says nothing about the ones to come."""
        if not state.last.offered.any():
            return
        forecast, campaign = self.forecast, self.campaign
        self._paid.append(float(state.last.spend.sum()))
        expected = forecast.spend_at(self.multiplier)[state.tick - 1]
        self._expected.append(float(expected) * campaign.full_cost)
        window, prior = self.config.window, self.config.trust * campaign.budget
        scale = (sum(self._paid[-window:]) + prior) / (sum(self._expected[-window:]) + prior)
        if state.tick < campaign.horizon:
            curve = np.maximum.accumulate(self._to_come[:, state.tick]) * campaign.full_cost * scale
            self.multiplier = float(np.interp(state.left, curve, forecast.multipliers))
