"""A trained policy at work: a small network in NumPy on top of the controller. No torch, no SB3.

Evaluation plays this class whether the weights come from training or from a bundle, so what was compared is
what is shipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.actor import Actor
from bidpilot.agents.base import MultiplierPolicy
from bidpilot.agents.lstm import Floats
from bidpilot.ctr.errors import InputError
from bidpilot.envs.allocation import Split
from bidpilot.envs.features import bounds
from bidpilot.envs.observations import features_of
from bidpilot.envs.residual import Residual
from bidpilot.envs.shading import Shaded

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign, CampaignState

STEERING: dict[str, type[Residual]] = {
    "pacing": Residual,
    "targeting": Residual,
    "allocation": Split,
    "shading": Shaded,
}
"""What turns a network's actions into multipliers, by kind of environment."""

__all__ = ["Actor", "Floats", "LearnedPolicy", "silent_policy"]


class LearnedPolicy(MultiplierPolicy):
    """An actor whose actions are residuals on the controller, as in the environment it was trained in."""

    def __init__(self, actor: Actor, scenario: Scenario, forecast: Forecast) -> None:
        """Keep the network and what it was trained with. Raises InputError for scenarios of other actions."""
        if scenario.environment not in STEERING:
            raise InputError(
                f"a learned policy sets multipliers: it plays {', '.join(STEERING)}, not {scenario.environment}"
            )
        levels = scenario.levels if scenario.action == "ladder" else 1
        if actor.levels != levels:
            raise InputError(f"the network chooses of {actor.levels} levels, the scenario of {levels} (1: numbers)")
        self.actor, self.scenario, self.forecast = actor, scenario, forecast
        self.groups = actor.groups if forecast.shades is None else forecast.shades.shape[1]

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - deterministic
        """Start an episode."""
        if campaign.horizon != self.forecast.ticks:
            raise InputError(
                f"the policy was trained on {self.forecast.ticks} ticks, the campaign has {campaign.horizon}"
            )
        if (self.scenario.limit is None) != (campaign.cost_limit == np.inf):
            kind = "without" if self.scenario.limit is None else "with"
            raise InputError(f"the policy was trained {kind} a cost limit; give it a campaign {kind} one")
        self._residual = STEERING[self.scenario.environment]([campaign], self.forecast, self.groups, self.scenario)
        self._memory: Floats | None = None

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multipliers (groups,) of the coming tick."""
        action, self._memory = self.actor.act(self._residual.observe(state.lifted()), self._memory)
        return np.ravel(self._residual.multipliers(action.item() if action.size == 1 else action))


def silent_policy(scenario: Scenario, forecast: Forecast, segments: int) -> LearnedPolicy:
    """Return the policy whose action is always zero: the scenario's controller. segments: of the market."""
    actions = 1 if scenario.environment in {"pacing", "shading"} else segments
    size = len(bounds(features_of(scenario), actions)[0])
    weights, biases = np.zeros((actions, size), np.float32), np.zeros(actions, np.float32)
    return LearnedPolicy(Actor(np.zeros(size), np.ones(size), (weights,), (biases,)), scenario, forecast)
