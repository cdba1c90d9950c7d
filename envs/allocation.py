"""Allocation: K campaigns share one budget; the action moves money between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.envs.bidding import BiddingEnv
from bidpilot.envs.features import table
from bidpilot.envs.observations import EVERY
from bidpilot.envs.residual import Residual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign, CampaignState

FURTHEST = 3.0
"""A campaign's bids are corrected by at most a factor of e to this."""


class Split(Residual):
    """Shares of the budget per campaign, and the multipliers by which each campaign spends its share.

    Without an action the split is the one at which all campaigns bid with the same multiplier, which equalises what
    the last unit of money buys; with a prior, campaigns whose clicks exceed the predictions get more. Each campaign
    then bids with the multiplier at which its own forecast spends its share, corrected by what it spent so far, and
    never above what the cost limit allows. Raises InputError where the forecast has no parts.
    """

    def __init__(
        self, campaigns: Sequence[Campaign], forecast: Forecast, groups: int, scenario: Scenario, *, floats: bool = True
    ) -> None:
        """Start the episodes."""
        super().__init__(campaigns, forecast, groups, scenario, floats=floats)
        self.parts = forecast.parts
        if len(self.parts) != groups:
            raise InputError(
                f"an allocation between {groups} campaigns needs a forecast of each, see Forecast.with_parts; "
                f"got {len(self.parts)}"
            )
        self.prior, self.gain = scenario.prior, scenario.gain
        self._cost = np.array([part.full_cost for part in self.parts])
        self._log_correction = self._target = np.zeros((self.episodes, groups))
        self._share: FloatArray = self._target
        self._factor: Any = 1.0

    def take(self, state: CampaignState) -> None:
        """Take in the last tick."""
        super().take(state)
        if state.tick > 0:
            told = (self._target > 0) & (state.last.offered > 0)
            error = np.clip(1.0 - state.last.spend / np.where(told, self._target, 1.0), -1.0, 1.0)
            moved = np.clip(self._log_correction + self.gain * error, -FURTHEST, FURTHEST)
            self._log_correction = np.where(told, moved, self._log_correction)
        self._share = self._even_split(state)

    def multipliers(self, action: Any) -> Any:  # noqa: ANN401 - as the base class
        """Return the multipliers (episodes, K) of an action (episodes, K), clipped to -1..1."""
        self.action = np.clip(action, -1.0, 1.0) if self.groups > 1 else np.full((self.episodes, 1), action)
        share = self._share * np.exp(self.reach * self.action)
        share = share / share.sum(axis=1, keepdims=True)
        self._target = self.pacer.target * share
        scarcity = share * self._to_spend() / self._cost
        columns = [part.multiplier(scarcity[:, k]) for k, part in enumerate(self.parts)]
        wanted = np.stack(columns, axis=1) * np.exp(self._log_correction)
        if self.controller.limiter is not None:
            wanted = np.minimum(wanted, self.controller.limiter.multiplier * self._factor)
        return wanted if self.groups > 1 else float(wanted[0, 0])

    def _even_split(self, state: CampaignState) -> FloatArray:
        """Return the shares (episodes, K) of campaigns that all bid with the same multiplier."""
        common = self.forecast.multiplier(self._to_spend() / self.forecast.full_cost)
        if self.prior is not None:
            self._factor = (state.total.clicks + self.prior) / (state.total.predicted_clicks + self.prior)
        at = np.broadcast_to(common * self._factor, (self.episodes, self.groups))
        spend = np.stack([part.spending(at[:, k]) for k, part in enumerate(self.parts)], axis=1) * self._cost + 1e-9
        return np.asarray(spend / spend.sum(axis=1, keepdims=True))

    def _to_spend(self) -> Any:  # noqa: ANN401 - (episodes, 1), or a float for one episode and campaign
        """Return the day's budget at which the plan would leave just what is left."""
        return self.left / self.pacer.to_come(self.tick)


class Allocation(BiddingEnv):  # noqa: D101 - it has one, with the table of observations in it
    __doc__ = f"""Split one budget between campaigns over a day so that it buys the most worth.

    ## Description
    Each campaign has an audience of its own (a segment of the traffic) and bids for it with its own multiplier. The
    action says how the money of the coming tick is split; each campaign's pacing turns its share into bids. In the
    default scenario every campaign's click rate is misjudged by a factor of its own, new every episode: which campaign
    deserves more money shows only in the clicks that come. Money is one purse: what one campaign leaves, another may
    spend, and nobody spends more than there is.

    ## Action Space
    Box(-1, 1, (campaigns,)): share_k in proportion to the controller's share_k x exp(reach x action_k). 0 is the
    controller itself: the split at which all campaigns bid alike, given the clicks so far. In the "ladder" form,
    MultiDiscrete levels of the same, the middle one being 0.

    ## Observation Space
    Entries marked "one per campaign" come once per campaign.

{table(EVERY, "campaign")}

    ## Rewards
    As Pacing.

    ## Starting State
    As Pacing.

    ## Episode End
    Terminates at the last tick of the day; never truncates.

    ## Arguments
    market, forecast, scenario, render_mode: see bidpilot.envs.scenarios.make, which fills in what is not given. The
    forecast needs parts, one per segment of the market: Forecast.with_parts.
    """

    steering = Split

    def __init__(self, market: Market, forecast: Forecast, scenario: Scenario, render_mode: str | None = None) -> None:
        """Set up the environment with one bid group per segment of the market."""
        super().__init__(market, forecast, scenario, groups=market.segment_count, render_mode=render_mode)
