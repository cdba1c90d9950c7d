"""PID control of spend per tick (Zhang et al., WSDM 2016, arXiv 1603.01055), on relative error and log bid.

phi = clip(Kp e + Ki sum(e) + Kd delta(e)), bid = reference x exp(phi), e = clip((target - spend) / target).
The integral is clipped and stands still while nothing is offered, so that it does not wind up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bidpilot.agents.planned import PlannedPolicy

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
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
    def candidates(cls) -> tuple[Self, ...]:
        """Return the settings that tuning tries, the default first."""
        grid = [(kp, ki) for kp in (0.05, 0.15, 0.4) for ki in (0.01, 0.05, 0.15)]
        return (cls(), *(cls(kp, ki) for kp, ki in grid if (kp, ki) != (cls().kp, cls().ki)))


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
