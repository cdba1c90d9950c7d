"""The incremental controller with predictions corrected per segment by the clicks that have come so far.

The strongest simple rule where segments are misjudged: a learner that sets a multiplier per segment has to beat it. The
rule is envs/controller.Controller with a prior; in Targeting a learned policy's zero action is this.
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
    """prior: clicks' worth of trust in the predictions, k. gain: the controller's."""

    prior: float = 20.0
    gain: float = GAIN

    def build(self, past: Past) -> Recalibrate:
        """Build the policy."""
        return Recalibrate(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"prior": Span(5.0, 80.0), "gain": Span(0.03, 0.4)}


class Recalibrate(MultiplierPolicy):
    """A multiplier per segment."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the forecast; the controller starts anew in every episode."""
        self.config, self.forecast = config, past.forecast
        self.groups = past.days[0].segments
        self._controller: Controller | None = None

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Start a new controller."""
        config, campaigns = self.config, Campaigns.of([campaign], self.groups)
        self._controller = Controller(campaigns, self.forecast, self.groups, config.gain, config.prior)

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multipliers (segments,)."""
        if self._controller is None:
            raise RuntimeError("reset the policy before its first tick")
        return np.ravel(self._controller.observe(state.lifted()))
