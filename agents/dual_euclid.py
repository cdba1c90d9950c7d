"""Euclidean dual descent (Balseiro and Gur, Management Science 2019: adaptive pacing).

mu <- max(0, mu - eta mu_0 (rho_k - c_k) / rho_mean), multiplier = 1 / mu. The step is a share of the first shadow
price mu_0, so money's unit does not matter. Its absolute size stays the same all day: far above mu_0 it is slow, far
below it is rough; agents/dual takes relative steps instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.agents.planned import PlannedPolicy
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    import numpy as np

    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """eta: step, a share of the first shadow price, for a tick that misses its target by the mean target."""

    eta: float = 0.07

    def build(self, past: Past) -> DualEuclid:
        """Build the policy."""
        return DualEuclid(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"eta": Span(0.01, 0.3)}


class DualEuclid(PlannedPolicy):
    """The additive update of the budget's shadow price, which may fall to 0: then all is bought that can be.

    Attributes: shadow, the price of budget, worth per currency.
    """

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the step."""
        super().__init__(past.forecast)
        self.config = config
        self.shadow = 0.0

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start at the forecast's shadow price."""
        super().reset(campaign, rng)
        self.shadow = 1.0 / self.multiplier

    def react(self, state: CampaignState) -> None:
        """Raise the shadow price after overspending, lower it after underspending."""
        planned = self.campaign.budget * float(self.pacer.plan[state.tick - 1])
        mean = self.campaign.budget / self.campaign.horizon
        miss = (planned - float(state.last.spend.sum())) / mean
        self.shadow = max(0.0, self.shadow - self.config.eta * miss / self.pacer.start)
        highest = float(self.forecast.multipliers[-1])
        self.multiplier = min(1.0 / self.shadow, highest) if self.shadow > 0.0 else highest
