"""A uniformly random bid for every impression (Zhang et al. 2014, arXiv 1407.7073: Rand)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.agents.constant import Config as ConstantConfig
from bidpilot.agents.constant import Constant
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    import numpy as np

    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Opportunities
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """factor: mean bid as a multiple of (forecast's multiplier x mean predicted worth)."""

    factor: float = 1.0

    def build(self, past: Past) -> RandomBids:
        """Build the policy."""
        return RandomBids(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"factor": Span(0.25, 4.0)}


class RandomBids(Constant):
    """Bids uniform between 0 and twice the mean bid."""

    def __init__(self, config: Config, past: Past) -> None:
        """Take the level from the forecast."""
        super().__init__(ConstantConfig(config.factor), past)
        self._rng: np.random.Generator | None = None

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Set the mean bid and keep the policy's own stream."""
        super().reset(campaign, rng)
        self._rng = rng

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:
        """Return the bids (n,)."""
        flat = super().bid(state, seen)
        return flat if self._rng is None else self._rng.uniform(0.0, 2.0 * flat)
