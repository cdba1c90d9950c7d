"""M-PID: two shadow prices, of the budget and of the cost limit, by two coupled PID controllers.

(Yang et al., KDD 2019, arXiv 1905.10928.) The bid is worth x (1 + q C) / (p + q), C the campaign's cost limit: p is the
price of budget, q that of the limit. Each moves by its own relative error, of spend against the plan and of
slack = C x earned - spent against the money at stake; since either price moves both spend and cost per worth, each is
also moved by a share of the other's error. p = p_0 exp(-phi_p), q = q_0 exp(-phi_q), phi as in agents/pid. Earned worth
is what has been reported, weighed against predictions (agents/reported). Without a limit q is 0 and this is PID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.planned import PlannedPolicy
from bidpilot.agents.reported import Reported
from bidpilot.agents.space import Span
from bidpilot.envs.controller import TRUST

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import Campaign, CampaignState

SMALL = 0.1
"""What the price that does not bind starts at, relative to its own scale."""


@dataclass(frozen=True, slots=True)
class Config:
    """kp, ki: gains of the budget's controller; limit_kp, limit_ki: of the limit's, whose errors are smaller.

    mix: share of the other's move in each, 0..1/2. prior: pseudo-conversions at the predicted rate. reach: bound of
    phi. windup: bound of the summed errors.
    """

    kp: float = 0.3
    ki: float = 0.15
    limit_kp: float = 6.0
    limit_ki: float = 0.1
    mix: float = 0.02
    prior: float = 100.0
    reach: float = 4.0
    windup: float = 40.0

    def build(self, past: Past) -> Mpid:
        """Build the policy."""
        return Mpid(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {
            "kp": Span(0.05, 0.8),
            "ki": Span(0.01, 0.4),
            "limit_kp": Span(0.5, 10.0),
            "mix": Span(0.0, 0.2, log=False),
            "prior": Span(5.0, 500.0),
        }


class Mpid(PlannedPolicy):
    """The two prices, and the sums of their errors: above 0 where there is room."""

    def __init__(self, config: Config, past: Past) -> None:
        """Learn what a conversion brings and when it is reported."""
        super().__init__(past.forecast)
        self.config = config
        self._reported = Reported(past.days, config.prior)
        self._limit = np.inf
        self._sums, self._prices = np.zeros(2), np.zeros(2)

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start at the prices of past days."""
        super().reset(campaign, rng)
        self._reported.reset()
        self._limit, self._sums = campaign.cost_limit, np.zeros(2)
        self._prices = self._start()
        self.multiplier = self._bid(np.zeros(2))

    def react(self, state: CampaignState) -> None:
        """Move both prices by both errors."""
        factor = self._reported.factor(state)
        if not state.last.offered.any():
            return
        c = self.config
        errors = np.array([self.error(state), self._slack(state, factor)])
        self._sums = np.clip(self._sums + errors, -c.windup, c.windup)
        own = np.array([c.kp, c.limit_kp]) * errors + np.array([c.ki, c.limit_ki]) * self._sums
        phi = own if np.isinf(self._limit) else (1.0 - c.mix) * own + c.mix * own[::-1]
        self.multiplier = self._bid(np.clip(phi, -c.reach, c.reach))

    def _slack(self, state: CampaignState, factor: float) -> float:
        """Return (C x earned - spent) / (spent + some of the budget), clipped to -1..1; 0 without a limit."""
        if np.isinf(self._limit):
            return 0.0
        earned = self._limit * factor * float(state.total.predicted.sum())
        slack = (earned - state.spent) / (TRUST * self.campaign.budget + state.spent)
        return float(np.clip(slack, -1.0, 1.0))

    def _bid(self, phi: FloatArray) -> float:
        """Return the multiplier (1 + q C) / (p + q) of prices moved by phi (2,)."""
        budget, limit = self._prices * np.exp(-phi)
        return float((1.0 + limit * self._limit) / (budget + limit)) if limit > 0.0 else float(1.0 / budget)

    def _start(self) -> FloatArray:
        """Return the prices (2,) of past days: the one that binds brings the lower multiplier, the other is small."""
        budget, limit = self.pacer.start, self._limit
        if np.isinf(limit):
            return np.array([1.0 / budget, 0.0])
        at = float(self.forecast.affordable(limit))
        if at >= budget:
            return np.array([1.0 / budget, SMALL / limit])
        small = SMALL / budget
        return np.array([small, (1.0 - small * at) / max(at - limit, SMALL * limit)])
