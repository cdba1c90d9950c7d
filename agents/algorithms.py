"""Stable-Baselines3's algorithms with settings for this problem, and the network taken out of each.

Defaults are not SB3's: discount 1 (the horizon is finite and time is observed), many short episodes per update, small
initial noise around the controller (the zero action).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from stable_baselines3 import PPO, SAC

from bidpilot.agents.learned import Actor
from bidpilot.ctr.errors import InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize


@dataclass(frozen=True, slots=True)
class Config:
    """algorithm: "ppo" or "sac". steps: environment steps (ticks). envs: copies played at once.

    rollout: steps per copy between updates (PPO). batch, epochs, learning_rate: of the optimiser.
    hidden: widths of the network. log_std: initial exploration (PPO). evaluations: validations during training.
    """

    algorithm: str = "ppo"
    steps: int = 200_000
    envs: int = 16
    rollout: int = 192
    batch: int = 512
    epochs: int = 5
    learning_rate: float = 3e-4
    hidden: tuple[int, ...] = (64, 64)
    log_std: float = -1.5
    evaluations: int = 10

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.algorithm not in ALGORITHMS:
            raise unknown("algorithm", self.algorithm, list(ALGORITHMS))
        for name in ("steps", "envs", "rollout", "batch", "epochs", "learning_rate", "evaluations"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0; got {getattr(self, name)}")


def actor_of(model: BaseAlgorithm, normaliser: VecNormalize) -> Actor:
    """Take the deterministic network out of an SB3 model, with the normalisation it was trained under."""
    statistics = cast("Any", normaliser.obs_rms)
    scale = 1.0 / np.sqrt(statistics.var + normaliser.epsilon)
    policy = cast("Any", model.policy)
    squashed = isinstance(model, SAC)
    hidden, last = (
        (policy.actor.latent_pi, policy.actor.mu) if squashed else (policy.mlp_extractor.policy_net, policy.action_net)
    )
    linear = [layer for layer in (*hidden, last) if isinstance(layer, torch.nn.Linear)]
    return Actor(
        mean=statistics.mean.copy(),
        scale=scale,
        weights=tuple(layer.weight.detach().numpy().copy() for layer in linear),
        biases=tuple(layer.bias.detach().numpy().copy() for layer in linear),
        activation="relu" if squashed else "tanh",
        head="tanh" if squashed else "clip",
        clip=normaliser.clip_obs,
    )


def _ppo(config: Config, env: VecNormalize, seed: int) -> BaseAlgorithm:
    return PPO(
        "MlpPolicy",
        env,
        learning_rate=lambda left: config.learning_rate * max(left, 0.0),
        n_steps=config.rollout,
        batch_size=_dividing(config.envs * config.rollout, config.batch),
        n_epochs=config.epochs,
        gamma=1.0,
        gae_lambda=0.95,
        ent_coef=0.0,
        policy_kwargs={"net_arch": list(config.hidden), "log_std_init": config.log_std},
        seed=seed,
        device="cpu",
    )


def _dividing(size: int, most: int) -> int:
    """Return the largest batch of at most `most` rows that divides a rollout of `size` rows."""
    return next(batch for batch in range(min(most, size), 0, -1) if size % batch == 0)


def _sac(config: Config, env: VecNormalize, seed: int) -> BaseAlgorithm:
    return SAC(
        "MlpPolicy",
        env,
        learning_rate=config.learning_rate,
        batch_size=config.batch,
        gamma=1.0,
        learning_starts=min(50 * 48, config.steps // 4),
        policy_kwargs={"net_arch": list(config.hidden)},
        seed=seed,
        device="cpu",
    )


ALGORITHMS: dict[str, Callable[[Config, VecNormalize, int], BaseAlgorithm]] = {"ppo": _ppo, "sac": _sac}
