"""A decision transformer at work: residual actions on the controller, from a window of what has happened so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.envs.residual import Residual

if TYPE_CHECKING:
    from bidpilot.agents.offline.decision_transformer import Sequel
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.features import Floats
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign, CampaignState


class SequencePolicy(MultiplierPolicy):
    """Asks the network in every tick for what was done where the return was as high as the target.

    level: share of the logged episodes that earned less than what is asked for.
    """

    def __init__(self, sequel: Sequel, scenario: Scenario, forecast: Forecast, level: float = 0.9) -> None:
        """Keep the network. Raises InputError for a level outside 0..1."""
        self.sequel, self.scenario, self.forecast = sequel, scenario, forecast
        self.groups = sequel.network.head.out_features
        self._target = sequel.target(level)

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - deterministic
        """Start an episode with nothing to look back on."""
        self._residual = Residual([campaign], self.forecast, self.groups, self.scenario)
        self._observations: list[Floats] = []
        self._actions: list[Floats] = []

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multipliers (groups,) of the coming tick."""
        self._observations.append(np.ravel(self._residual.observe(state.lifted())))
        action = self.sequel.act(self._target, self._observations, self._actions, state.tick)
        self._actions.append(action.astype(np.float32))
        return np.ravel(self._residual.multipliers(float(action[0]) if self.groups == 1 else action[None]))
