"""A learner begins at the controller: the untrained network's action is nearly zero, whatever form actions have.

SB3 does this for PPO's numbers alone, by a small last layer. Where the best network of a run is chosen by validation,
the controller itself thus takes part in the choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

from bidpilot.agents.extraction import levels_of

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

SMALL = 0.01
"""Times the usual weights of a last layer, as SB3's PPO has it."""

VALUES = ("q_net", "q_net_target", "quantile_net", "quantile_net_target")
ACTORS = ("actor", "actor_target")


def at_controller(model: BaseAlgorithm, log_std: float) -> BaseAlgorithm:
    """Change the model's last layers, and return it.

    Levels are first tried by PPO as numbers are: with the spread exp(log_std) around the middle one. By values, the
    middle one is at first the best by a little, whatever is observed.
    """
    policy, levels = cast("Any", model.policy), levels_of(model.action_space)
    rungs = torch.linspace(-1.0, 1.0, levels)
    with torch.no_grad():
        if hasattr(policy, "action_net") and levels > 1:
            wanted = -(rungs**2) / (2.0 * torch.exp(torch.tensor(2.0 * log_std)))
            policy.action_net.bias.copy_(wanted.repeat(len(policy.action_net.bias) // levels))
        for last in _last_layers(policy):
            last.weight.mul_(SMALL if levels == 1 else 0.0)
            last.bias.zero_()
            if levels > 1:
                last.bias.copy_((-SMALL * rungs**2).repeat(len(last.bias) // levels))
    return model


def _last_layers(policy: Any) -> list[torch.nn.Linear]:  # noqa: ANN401 - SB3's policies have little in common
    """Return the last layer of every network, targets included, that acts without being PPO's."""
    networks = [getattr(policy, name) for name in VALUES if hasattr(policy, name)]
    networks += [getattr(policy, name).mu for name in ACTORS if hasattr(policy, name)]
    return [[part for part in network.modules() if isinstance(part, torch.nn.Linear)][-1] for network in networks]
