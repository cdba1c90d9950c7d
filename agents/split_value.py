"""One purse in proportion to the predicted worth of each campaign's traffic, whatever that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.shared_purse import SharedPurse
from bidpilot.agents.space import Span
from bidpilot.agents.split import by_value
from bidpilot.envs.controller import GAIN

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.types import CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """gain: change of a campaign's log multiplier at an error of 100 % of its target."""

    gain: float = GAIN

    def build(self, past: Past) -> SplitValue:
        """Build the policy."""
        return SplitValue(past, self.gain)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"gain": Span(0.01, 0.45)}


class SplitValue(SharedPurse):
    """Shares by past predicted worth."""

    def shares(self, state: CampaignState, forecast: Forecast, budget: float) -> FloatArray:  # noqa: ARG002 - fixed
        """Return the shares (segments,)."""
        return by_value(np.array([part.full_value for part in forecast.parts]))
