"""PPO and its kin: with masks, with a memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stable_baselines3 import PPO

from bidpilot.agents.masks import MaskedVecEnv
from bidpilot.agents.names import check_actions, contrib
from bidpilot.agents.start import at_controller

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

    from bidpilot.agents.algorithms import Config


BATCHES = 6
"""Of an epoch, unless the settings say how large a batch is."""


def ppo(config: Config, env: VecNormalize, seed: int) -> BaseAlgorithm:
    """Build PPO (Schulman et al., 2017). Raises InputError for actions that it cannot choose, as all builders."""
    check_actions("ppo", env.action_space)
    kwargs = _spread(config, env) | _net(config)
    model = PPO("MlpPolicy", env, seed=seed, policy_kwargs=kwargs, **_settings(config))
    return at_controller(model, config.log_std)


def maskable_ppo(config: Config, env: VecNormalize, seed: int) -> BaseAlgorithm:
    """Build PPO that never tries levels that make no sense (Huang and Ontanon, 2022)."""
    check_actions("maskable_ppo", env.action_space)
    model = contrib().MaskablePPO(
        "MlpPolicy", MaskedVecEnv(env), seed=seed, policy_kwargs=_net(config), **_settings(config)
    )
    return at_controller(model, config.log_std)


def recurrent_ppo(config: Config, env: VecNormalize, seed: int) -> BaseAlgorithm:
    """Build PPO with an LSTM of `config.memory` units in the actor and another in the critic."""
    check_actions("recurrent_ppo", env.action_space)
    kwargs = _spread(config, env) | _net(config) | {"lstm_hidden_size": config.memory}
    model = contrib().RecurrentPPO("MlpLstmPolicy", env, seed=seed, policy_kwargs=kwargs, **_settings(config))
    return at_controller(model, config.log_std)


def _settings(config: Config) -> dict[str, Any]:
    """Return what all have in common."""
    rows = config.envs * config.rollout
    return {
        "learning_rate": lambda left: config.learning_rate * max(left, 0.0),
        "n_steps": config.rollout,
        "batch_size": _dividing(rows, config.batch or max(1, rows // BATCHES)),
        "n_epochs": config.epochs,
        "gamma": 1.0,
        "gae_lambda": 0.95,
        "ent_coef": 0.0,
        "device": "cpu",
    }


def _net(config: Config) -> dict[str, Any]:
    return {"net_arch": list(config.hidden)}


def _spread(config: Config, env: VecNormalize) -> dict[str, Any]:
    """Return the initial spread of actions that are numbers."""
    return {"log_std_init": config.log_std} if type(env.action_space).__name__ == "Box" else {}


def _dividing(size: int, most: int) -> int:
    """Return the largest batch of at most `most` rows that divides a rollout of `size` rows."""
    return next(batch for batch in range(min(most, size), 0, -1) if size % batch == 0)
