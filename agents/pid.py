"""PID control of spend per tick (Zhang et al., WSDM 2016, arXiv 1603.01055), on relative error and log bid.

phi = clip(Kp e + Ki sum(e) + Kd delta(e)), bid = reference x exp(phi), e = clip((target - spend) / target).
The integral is clipped and stands still while nothing is offered, so that it does not wind up.
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
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """kp, ki, kd: gains. reach: bound of phi. windup: bound of the summed error."""

    kp: float = 0.4
    ki: float = 0.05
    kd: float = 0.0
    reach: float = 2.0
    windup: float = 10.0

    def build(self, past: Past) -> Pid:
        """Build the policy."""
        return Pid(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"kp": Span(0.03, 0.6), "ki": Span(0.005, 0.2)}


class Pid(PlannedPolicy):
    """The controller and its memory."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the gains."""
        super().__init__(past.forecast)
        self.config = config
        self._sum = self._previous = 0.0

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Forget the errors."""
        super().reset(campaign, rng)
        self._sum = self._previous = 0.0

    def react(self, state: CampaignState) -> None:
        """Set the bid by the error of the last tick."""
        if not state.last.offered.any():
            return
        c, error = self.config, self.error(state)
        self._sum = float(np.clip(self._sum + error, -c.windup, c.windup))
        phi = c.kp * error + c.ki * self._sum + c.kd * (error - self._previous)
        self._previous = error
        self.multiplier = self.pacer.start * float(np.exp(np.clip(phi, -c.reach, c.reach)))
