"""The feedback controller that every learned policy stands on.

The incremental ratio rule paces: log multiplier += gain * clip(1 - spend / target, -1, 1), with the target re-planned
on the remaining budget. Recalibration corrects each group's predictions by the clicks so far: x (clicks + k) /
(predicted clicks + k), the posterior mean of a Gamma(k, k) prior on the ratio of two Poisson counts. Both live here
because the environments' actions are residuals on them; agents/incremental and agents/recalibrate are the policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.types import Campaign, CampaignState

GAIN = 0.15


class Pacer:
    """A plan re-made on what is left, and the multiplier that follows it.

    Attributes: start, the forecast's multiplier for the budget; multiplier, the current one; plan (ticks,)
    shares of the budget; target, currency to spend in the current tick.
    """

    def __init__(self, campaign: Campaign, forecast: Forecast, gain: float = GAIN) -> None:
        """Start at the forecast's multiplier for the budget."""
        self.gain = gain
        self.start = forecast.multiplier(campaign.scarcity)
        self.multiplier = self.start
        self.plan = forecast.plan(campaign.scarcity)
        self._to_come = np.append(np.cumsum(self.plan[::-1])[::-1], 0.0)
        self.target = 0.0
        self._spent = 0.0

    def target_at(self, state: CampaignState) -> float:
        """Return the currency to spend in the coming tick: what is left, shared out by the rest of the plan."""
        if state.tick >= len(self.plan):
            return 0.0
        return float(state.left * self.plan[state.tick] / self._to_come[state.tick])

    def observe(self, state: CampaignState) -> float:
        """Take in the last tick (one without traffic teaches nothing); return the multiplier for the coming one."""
        if state.tick > 0 and self.target > 0.0 and state.last.offered.any():
            error = 1.0 - (state.spent - self._spent) / self.target  # to the bit the same for any number of groups
            self.multiplier *= float(np.exp(self.gain * min(max(error, -1.0), 1.0)))
        self._spent = state.spent
        self.target = self.target_at(state)
        return self.multiplier


class Controller:
    """Pacing for all groups and, with a prior, recalibration of each.

    groups: number of multipliers. prior: clicks' worth of trust in the predictions; None: no recalibration.
    """

    def __init__(
        self, campaign: Campaign, forecast: Forecast, groups: int = 1, gain: float = GAIN, prior: float | None = None
    ) -> None:
        """Start an episode."""
        self.pacer = Pacer(campaign, forecast, gain)
        self.groups, self.prior = groups, prior

    def observe(self, state: CampaignState) -> FloatArray:
        """Take in the last tick and return the multipliers (groups,) for the coming one."""
        common = np.full(self.groups, self.pacer.observe(state))
        if self.prior is None:
            return common
        total = state.total
        return common * (total.clicks + self.prior) / (total.predicted_clicks + self.prior)
