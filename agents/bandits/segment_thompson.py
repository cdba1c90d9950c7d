"""Thompson sampling of how far each segment's predictions are off: the bandit beside agents/recalibrate.

A segment's true click rate is its predicted one times an unknown ratio, a priori Gamma(prior, prior); after its clicks
the ratio is Gamma(prior + clicks, prior + predicted clicks), the conjugate of Poisson counts. Every tick a ratio is
drawn for each segment and multiplies the controller's bid. Drawing moves bids about; sharpness s draws from a
posterior of s times as many clicks, so that the mean stays and the variance falls (Chapelle, Li 2011, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.agents.space import Span
from bidpilot.envs.controller import GAIN, Campaigns, Controller

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """prior: clicks' worth of trust in the predictions. sharpness: see above; 1 is the posterior itself."""

    prior: float = 12.0
    sharpness: float = 30.0
    gain: float = GAIN

    def build(self, past: Past) -> SegmentThompson:
        """Build the policy."""
        return SegmentThompson(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"prior": Span(5.0, 80.0), "sharpness": Span(1.0, 100.0)}


class SegmentThompson(MultiplierPolicy):
    """A multiplier per segment."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the forecast; what is known of the segments starts anew in every episode."""
        self.config, self.forecast = config, past.forecast
        self.groups = past.days[0].segments

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start a new controller and forget the segments."""
        campaigns = Campaigns.of([campaign], self.groups)
        self._controller = Controller(campaigns, self.forecast, self.groups, self.config.gain)
        self._rng = rng

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multipliers (segments,)."""
        common = np.ravel(self._controller.observe(state.lifted()))
        told, config = state.total, self.config
        return np.asarray(
            common * ratio_draws(told.clicks, told.predicted_clicks, config.prior, config.sharpness, self._rng)
        )


def ratio_draws(
    clicks: FloatArray, predicted: FloatArray, prior: float, sharpness: float, rng: np.random.Generator
) -> FloatArray:
    """Return draws (groups,) of true / predicted from s-sharpened Gamma(prior + clicks, prior + predicted clicks)."""
    return np.asarray(rng.standard_gamma(sharpness * (prior + clicks)) / (sharpness * (prior + predicted)))
