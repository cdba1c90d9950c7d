"""Entropic dual descent (Balseiro, Lu, Mirrokni, ICML 2020, arXiv 2011.10124).

mu <- mu exp(-eta (rho_k - c_k) / rho_mean), multiplier = 1 / mu. rho_k, the target of tick k, follows the
profile of traffic and prices rather than budget / ticks. The step is relative, so money's unit does not matter.
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
    from bidpilot.envs.types import CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """eta: step; the log multiplier moves by eta when a tick misses its target by the mean target."""

    eta: float = 0.07

    def build(self, past: Past) -> Dual:
        """Build the policy."""
        return Dual(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"eta": Span(0.01, 0.3)}


class Dual(PlannedPolicy):
    """The multiplicative update of the budget's shadow price."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the step."""
        super().__init__(past.forecast)
        self.config = config

    def react(self, state: CampaignState) -> None:
        """Raise the shadow price after overspending, lower it after underspending; one step at most e-fold."""
        planned = self.campaign.budget * float(self.pacer.plan[state.tick - 1])
        mean = self.campaign.budget / self.campaign.horizon
        step = self.config.eta * (planned - float(state.last.spend.sum())) / mean
        self.multiplier *= float(np.exp(np.clip(step, -1.0, 1.0)))
