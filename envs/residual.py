"""A learner's hands and eyes: observations from what has arrived, multipliers from a residual action.

log multiplier_g = log(controller's multiplier_g) + reach * action_g. The zero action is the controller, bit for
bit. Environments, their batched form and exported policies share this class, so all act the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.envs.controller import Campaigns, Controller, before, by_tick
from bidpilot.envs.features import Encoder, Floats
from bidpilot.envs.observations import FEATURES, features_of
from bidpilot.envs.ops import SCALARS
from bidpilot.envs.quick import QuickEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.features import Feature
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign, CampaignState

PRICE_PRIOR = 0.02
"""Share of the budget by which the observed price level is drawn to the forecast's."""

WORTH_PRIOR = 0.05
"""Share of the worth that the budget buys at least by which the reported worth is drawn to the predicted."""

LIMIT_PRIOR = 0.02
"""Share of the budget by which the observed cost of worth is drawn to the limit."""

LEAST = 1e-9
"""Share of a day's traffic that a tick is taken to have at least."""

OFF = -0.95
"""Where groups can be switched off, an action at or below this does it."""


class Residual:
    """The controllers of one episode, or of many in lockstep, and the learner's action on top of them.

    campaigns: one per episode. groups: number of multipliers. scenario: its controller's settings and reach; the
    action 1 multiplies the controller's bid by exp(reach). Attributes are what observations are made of: action, the
    previous one; rate [tick], what a unit of predicted worth was expected to cost so far at the starting multiplier;
    and what has arrived: tick, spent, left, total, last.
    """

    def __init__(
        self,
        campaigns: Sequence[Campaign],
        forecast: Forecast,
        groups: int,
        scenario: Scenario,
        *,
        floats: bool = True,
    ) -> None:
        """Start the episodes. floats: play a single one with one group in floats, see envs/ops."""
        self.campaigns = Campaigns.of(campaigns, groups, floats=floats)
        self.forecast, self.groups = forecast, groups
        self.ops, self.reach, self.off = self.campaigns.ops, scenario.reach, scenario.can_switch_off
        self.episodes = len(campaigns)
        self._encoder = _encoder(features_of(scenario), groups, plain=self.ops is SCALARS)
        self.controller = Controller(self.campaigns, forecast, groups, scenario.gain, scenario.prior)
        self.pacer = self.controller.pacer
        self.rate = by_tick(_rate(forecast, np.ravel(self.pacer.start)), self.ops)
        self.price_prior = PRICE_PRIOR * self.campaigns.budget
        self.limit_prior = LIMIT_PRIOR * self.campaigns.budget
        self.worth_prior = WORTH_PRIOR * self.campaigns.budget / self.pacer.start
        self.volume: list[float] = np.maximum(forecast.volume, LEAST).tolist()
        self.past_volume: list[float] = np.maximum(before(forecast.volume[None])[0], LEAST).tolist()
        self.scarcity = self.ops.log(self.campaigns.scarcity) / math.log(2.0) / 6.0
        self.limit = self.ops.log(self.campaigns.cost_limit / self.pacer.start) if scenario.limit is not None else 0.0
        self.action: Any = 0.0 if self.ops is SCALARS else np.zeros((self.episodes, groups))
        self.zero = self.action
        self._base: Any = self.action

    def take(self, state: CampaignState) -> None:
        """Take in the last tick: a state in the form of envs/ops."""
        self.tick, self.spent, self.left, self.total, self.last = state
        self._base = self.controller.observe(state)

    def observe(self, state: CampaignState) -> Floats:
        """Take in the last tick and return the observation for the coming one: (d,) in floats, else (episodes, d)."""
        self.take(state)
        if self.ops is SCALARS:
            return self._encoder.one(self)
        return self._encoder.many(self, self.episodes)

    def multipliers(self, action: Any) -> Any:  # noqa: ANN401 - float or array
        """Return the multipliers of an action, clipped to -1..1: a float, or (episodes, groups)."""
        self.action = self.ops.clip(action, -1.0, 1.0)
        wanted = self.ops.where(self.action <= OFF, -np.inf, self.action) if self.off else self.action
        return self._base * self.ops.exp(self.reach * wanted)


def _encoder(features: tuple[Feature, ...], groups: int, *, plain: bool) -> Encoder:
    """Return the quickest encoder of these features. plain: for floats."""
    return QuickEncoder(features) if plain and features is FEATURES else Encoder(features, groups)


def _rate(forecast: Forecast, start: FloatArray) -> FloatArray:
    """Return the expected cost of a unit of worth (N, ticks + 1) before each tick, currency, at multipliers (N,)."""
    scale = forecast.full_cost / forecast.full_value
    cost, worth = before(forecast.spend_at(start)), before(forecast.value_at(start))
    some = worth > 0
    return np.where(some, cost / np.where(some, worth, 1.0) * scale, start[:, None])  # the most that a bid pays for it
