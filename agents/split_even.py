"""One purse in equal shares: what a planner does who knows nothing about the campaigns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.agents.shared_purse import SharedPurse
from bidpilot.agents.space import Span
from bidpilot.agents.split import even
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

    def build(self, past: Past) -> SplitEven:
        """Build the policy."""
        return SplitEven(past, self.gain)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"gain": Span(0.01, 0.45)}


class SplitEven(SharedPurse):
    """Equal shares, whatever the campaigns return."""

    def shares(self, state: CampaignState, forecast: Forecast, budget: float) -> FloatArray:  # noqa: ARG002 - fixed
        """Return the shares (segments,)."""
        return even(self.groups)
