"""The deterministic network taken out of any of SB3's models, and what SB3 itself answers, to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from bidpilot.agents.actor import Actor
from bidpilot.agents.lstm import Lstm

if TYPE_CHECKING:
    import gymnasium as gym
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

    from bidpilot.agents.lstm import Floats

Layers = list[tuple["Floats", "Floats"]]


def actor_of(model: BaseAlgorithm, normaliser: VecNormalize) -> Actor:
    """Take the deterministic network out of an SB3 model, with the normalisation it was trained under."""
    statistics, policy, levels = (
        cast("Any", normaliser.obs_rms),
        cast("Any", model.policy),
        levels_of(model.action_space),
    )
    if hasattr(policy, "quantile_net"):  # QR-DQN
        layers = _mean_over_quantiles(_layers(policy.quantile_net), policy.n_quantiles)
    elif hasattr(policy, "q_net"):  # DQN
        layers = _layers(policy.q_net)
    elif hasattr(policy, "actor"):  # SAC and TQC, whose mean has a head of its own, and TD3
        layers = _layers(*([policy.actor.latent_pi] if hasattr(policy.actor, "latent_pi") else []), policy.actor.mu)
    else:  # PPO and its kin
        layers = _layers(policy.mlp_extractor.policy_net, policy.action_net)
    kin = hasattr(policy, "mlp_extractor")
    return Actor(
        mean=statistics.mean.copy(),
        scale=1.0 / np.sqrt(statistics.var + normaliser.epsilon),
        weights=tuple(weight for weight, _ in layers),
        biases=tuple(bias for _, bias in layers),
        activation="tanh" if kin else "relu",
        head="level" if levels > 1 else "clip" if kin else "tanh",
        clip=normaliser.clip_obs,
        levels=levels,
        lstm=_lstm(policy.lstm_actor) if hasattr(policy, "lstm_actor") else None,
    )


def answers(model: BaseAlgorithm, actor: Actor, observations: Floats) -> Floats:
    """Return SB3's own deterministic actions (..., groups) in -1..1 for raw observations, normalised as in training.

    observations: (n, d), or (ticks, episodes, d) for whole episodes in order.
    """
    whole = observations.ndim == 3  # noqa: PLR2004 - ticks, episodes, entries
    chosen, memory = [], None
    for number, tick in enumerate(observations if whole else observations[None]):
        start = np.full(len(tick), number == 0)
        choice, memory = model.predict(actor.normalised(tick), memory, start, deterministic=True)
        chosen.append(choice)
    actions = actor.rungs[np.stack(chosen)] if actor.levels > 1 else np.stack(chosen)
    return np.reshape(actions, (*observations.shape[:-1], actor.groups)).astype(np.float32)


def levels_of(space: gym.Space[Any]) -> int:
    """Return the levels of a ladder; 1 for numbers."""
    return int(np.max(getattr(space, "nvec", getattr(space, "n", 1))))


def _layers(*modules: torch.nn.Module) -> Layers:
    """Return weight and bias of the linear layers in modules that follow one another."""
    linear = [part for module in modules for part in module.modules() if isinstance(part, torch.nn.Linear)]
    return [(_array(layer.weight), _array(layer.bias)) for layer in linear]


def _mean_over_quantiles(layers: Layers, quantiles: int) -> Layers:
    """Return the layers with a last one that gives means: the mean of what is linear is linear."""
    weight, bias = layers[-1]
    levels = len(bias) // quantiles
    mean = weight.reshape(quantiles, levels, -1).mean(0), bias.reshape(quantiles, levels).mean(0)
    return [*layers[:-1], mean]


def _lstm(cell: torch.nn.LSTM) -> Lstm:
    """Return a cell of one layer; torch adds two biases where one does."""
    weight, recurrent, *biases = (_array(part) for part in cell.parameters())
    return Lstm(weight, recurrent, biases[0] + biases[1])


def _array(tensor: torch.Tensor) -> Floats:
    return tensor.detach().numpy().copy()
