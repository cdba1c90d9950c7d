"""The incremental ratio controller: step the log multiplier towards the planned spend.

The rule is envs/controller.Controller, the same object that learned policies act on: in Pacing their zero action is
this.
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
    """gain: change of the log multiplier at an error of 100 % of the target."""

    gain: float = GAIN

    def build(self, past: Past) -> Incremental:
        """Build the policy."""
        return Incremental(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"gain": Span(0.01, 0.45)}


class Incremental(MultiplierPolicy):
    """Follows the plan on the remaining budget."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the forecast; the controller starts anew in every episode."""
        self.config, self.forecast = config, past.forecast
        self._controller: Controller | None = None

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Start a new controller."""
        self._controller = Controller(Campaigns.of([campaign]), self.forecast, gain=self.config.gain)

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multiplier (1,)."""
        if self._controller is None:
            raise RuntimeError("reset the policy before its first tick")
        return np.array([self._controller.observe(state.lifted())])
