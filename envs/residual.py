"""A learner's hands and eyes: observations from what has arrived, multipliers from a residual action.

log multiplier_g = log(controller's multiplier) + reach * action_g. The zero action is the controller, bit for
bit. Environments and exported policies share this class, so both act the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bidpilot.envs.controller import GAIN, Pacer
from bidpilot.envs.observations import Situation, encode

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.types import Campaign, CampaignState


class Residual:
    """One episode's controller, and the learner's action on top of it.

    groups: number of multipliers. reach: the action 1 multiplies the controller's bid by exp(reach).
    """

    def __init__(self, campaign: Campaign, forecast: Forecast, groups: int, reach: float, gain: float = GAIN) -> None:
        """Start an episode."""
        self.campaign, self.forecast, self.reach = campaign, forecast, reach
        self.pacer = Pacer(campaign, forecast, gain)
        self._past_value = np.append(0.0, np.cumsum(forecast.value_at(self.pacer.start)))
        self._past_spend = np.append(0.0, np.cumsum(forecast.spend_at(self.pacer.start)))
        self._action: FloatArray = np.zeros(groups)

    def observe(self, state: CampaignState) -> npt.NDArray[np.float32]:
        """Take in the last tick; return the observation (d,) for the coming one."""
        self.pacer.observe(state)
        tick = state.tick
        past_value, past_spend = float(self._past_value[tick]), float(self._past_spend[tick])
        return encode(Situation(self.campaign, self.forecast, self.pacer, state, self._action, past_value, past_spend))

    def multipliers(self, action: FloatArray) -> FloatArray:
        """Return the multipliers (groups,) of an action (groups,), clipped to -1..1."""
        self._action = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)
        return self.pacer.multiplier * np.exp(self.reach * self._action)
