"""A trained policy at work: a small network in NumPy on top of the controller. No torch, no SB3.

Evaluation plays this class whether the weights come from training or from a bundle, so what was compared is
what is shipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.ctr.errors import InputError
from bidpilot.envs.residual import Residual

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign, CampaignState

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Actor:
    """A deterministic policy network, observation normalisation and action bounds included.

    mean, scale: (d,) float64; the input is clip((obs - mean) * scale, -clip, clip). weights, biases: layers
    (out, in) and (out,) float32. activation: of the hidden layers. head: how the last layer becomes an action
    in -1..1 ("clip" for PPO, "tanh" for SAC). Raises InputError when shapes do not chain.
    """

    mean: FloatArray
    scale: FloatArray
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    activation: Literal["tanh", "relu"] = "tanh"
    head: Literal["clip", "tanh"] = "clip"
    clip: float = 10.0

    def __post_init__(self) -> None:
        """Check that the layers chain."""
        width = len(self.mean)
        if self.scale.shape != (width,) or not self.weights or len(self.weights) != len(self.biases):
            raise InputError("a network needs as many scales as means, a layer at least, and a bias for each")
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if weight.shape != (len(bias), width):
                raise InputError(f"a layer of shape {weight.shape} does not follow {width} inputs")
            width = len(bias)

    @property
    def groups(self) -> int:
        """Number of actions."""
        return len(self.biases[-1])

    def __call__(self, observation: Floats) -> FloatArray:
        """Return actions (..., groups) in -1..1 for observations (..., d)."""
        x = np.clip((observation - self.mean) * self.scale, -self.clip, self.clip).astype(np.float32)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = x @ weight.T + bias
            x = np.tanh(x) if self.activation == "tanh" else np.maximum(x, 0)
        x = x @ self.weights[-1].T + self.biases[-1]
        action = np.tanh(x) if self.head == "tanh" else np.clip(x, -1.0, 1.0)
        return np.asarray(action, dtype=np.float64)


class LearnedPolicy(MultiplierPolicy):
    """An actor whose actions are residuals on the controller, as in the environment it was trained in."""

    def __init__(self, actor: Actor, scenario: Scenario, forecast: Forecast) -> None:
        """Keep the network and what it was trained with. Raises InputError for scenarios of other actions."""
        if scenario.environment not in {"pacing", "targeting"} or scenario.action != "continuous":
            raise InputError(
                f"a learned policy sets multipliers: it plays pacing and targeting with continuous actions, not "
                f"{scenario.environment} with {scenario.action} ones"
            )
        self.actor, self.scenario, self.forecast = actor, scenario, forecast
        self.groups = actor.groups

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - deterministic
        """Start an episode."""
        if campaign.horizon != self.forecast.ticks:
            raise InputError(
                f"the policy was trained on {self.forecast.ticks} ticks, the campaign has {campaign.horizon}"
            )
        if (self.scenario.limit is None) != (campaign.cost_limit == np.inf):
            kind = "without" if self.scenario.limit is None else "with"
            raise InputError(f"the policy was trained {kind} a cost limit; give it a campaign {kind} one")
        self._residual = Residual([campaign], self.forecast, self.groups, self.scenario)

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multipliers (groups,) of the coming tick."""
        action = self.actor(self._residual.observe(state.lifted()))
        return np.ravel(self._residual.multipliers(float(action[0]) if self.groups == 1 else action))
