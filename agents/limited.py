"""Two controllers, of which the lower one bids: one for the budget, one for the campaign's limit on cost per worth.

Where the limit is on what is maximised, the optimum is the lower of the two thresholds (Lucier et al. 2023, arXiv
2301.13306), CPA and ROAS limits alike (envs/types.Campaign.cost_limit). The pacer and the limiter are those of
envs/controller; the limiter's slack, limit x earned - spent, counts what has been reported, by a prior of
pseudo-conversions at the predicted rate (agents/reported): the ratio of running sums is undefined before the first
conversion, the slack is not. Both start where the forecast says. A campaign without a limit is paced as by
agents/incremental.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.agents.reported import Reported
from bidpilot.agents.space import Span
from bidpilot.envs.controller import GAIN, Campaigns, Limiter, Pacer

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """gain, limit_gain: of the two controllers. prior: pseudo-conversions at the predicted rate."""

    gain: float = GAIN
    limit_gain: float = GAIN
    prior: float = 100.0

    def build(self, past: Past) -> Limited:
        """Build the policy."""
        return Limited(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"gain": Span(0.03, 0.45), "limit_gain": Span(0.03, 0.6), "prior": Span(5.0, 500.0)}


class Limited(MultiplierPolicy):
    """The lower of the two multipliers."""

    def __init__(self, config: Config, past: Past) -> None:
        """Learn what a conversion brings and when it is reported."""
        self.config, self.forecast = config, past.forecast
        self._reported = Reported(past.days, config.prior)
        self._pacer: Pacer
        self._limiter: Limiter | None = None

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Start both controllers."""
        campaigns = Campaigns.of([campaign])
        self._pacer = Pacer(campaigns, self.forecast, self.config.gain)
        limited = np.isfinite(campaign.cost_limit)
        self._limiter = Limiter(campaigns, self.forecast, self.config.limit_gain) if limited else None
        self._reported.reset()

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multiplier (1,)."""
        known = state.lifted()
        multiplier = float(self._pacer.observe(known))
        if self._limiter is not None:
            multiplier = min(multiplier, float(self._limiter.observe(known, self._reported.factor(state))))
        return np.array([multiplier])
