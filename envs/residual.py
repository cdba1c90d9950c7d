"""A learner's hands and eyes: observations from what has arrived, multipliers from a residual action.

log multiplier_g = log(controller's multiplier_g) + reach * action_g. The zero action is the controller, bit for
bit. Environments and exported policies share this class, so both act the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bidpilot.envs.controller import Controller
from bidpilot.envs.observations import Situation, encode

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.scenarios import Scenario
    from bidpilot.envs.types import Campaign, CampaignState


class Residual:
    """One episode's controller, and the learner's action on top of it.

    groups: number of multipliers. scenario: its controller's settings; the action 1 multiplies the controller's bid by
    exp(reach).
    """

    def __init__(self, campaign: Campaign, forecast: Forecast, groups: int, scenario: Scenario) -> None:
        """Start an episode."""
        self.campaign, self.forecast, self.reach = campaign, forecast, scenario.reach
        self.controller = Controller(campaign, forecast, groups, scenario.gain, scenario.prior)
        start = self.controller.pacer.start
        self._past_value = np.append(0.0, np.cumsum(forecast.value_at(start)))
        self._past_spend = np.append(0.0, np.cumsum(forecast.spend_at(start)))
        self._base: FloatArray = np.zeros(groups)
        self._action: FloatArray = np.zeros(groups)

    def observe(self, state: CampaignState) -> npt.NDArray[np.float32]:
        """Take in the last tick; return the observation (d,) for the coming one."""
        self._base = self.controller.observe(state)
        past_value, past_spend = float(self._past_value[state.tick]), float(self._past_spend[state.tick])
        pacer = self.controller.pacer
        return encode(Situation(self.campaign, self.forecast, pacer, state, self._action, past_value, past_spend))

    def multipliers(self, action: FloatArray) -> FloatArray:
        """Return the multipliers (groups,) of an action (groups,), clipped to -1..1."""
        self._action = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)
        return self._base * np.exp(self.reach * self._action)
