"""Learners from stored experience: SAC, TD3 and TQC choose numbers, DQN and QR-DQN a level.

All copies play one tick, then gradient steps follow, `config.updates` per sample: few, for samples are cheap here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise

from bidpilot.agents.names import check_actions, contrib
from bidpilot.agents.start import at_controller

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

    from bidpilot.agents.algorithms import Config

EPISODES = 50
"""Played at random before anything is learned."""

BUFFER = 200_000
DROPPED = 2
QUANTILES = 50
NOISE = 0.2
LOOK = 5
"""Ticks whose rewards a value of levels is learned from before it leans on another value."""

ENTROPY = "auto_0.1"


def sac(config: Config, env: VecNormalize, seed: int) -> BaseAlgorithm:
    """Build SAC (Haarnoja et al., 2018). Raises InputError for actions that it cannot choose, as all builders."""
    check_actions("sac", env.action_space)
    settings = _settings(config, env)
    model = SAC("MlpPolicy", env, seed=seed, ent_coef=ENTROPY, policy_kwargs=_net(config), **settings)
    return at_controller(model, config.log_std)


def td3(config: Config, env: VecNormalize, seed: int) -> BaseAlgorithm:
    """Build TD3 (Fujimoto et al., 2018) with Gaussian noise on its actions, which SB3 leaves out unless told."""
    check_actions("td3", env.action_space)
    size = env.action_space.shape or (1,)
    noise = NormalActionNoise(np.zeros(size), np.full(size, NOISE))
    settings = _settings(config, env)
    model = TD3("MlpPolicy", env, seed=seed, action_noise=noise, policy_kwargs=_net(config), **settings)
    return at_controller(model, config.log_std)


def tqc(config: Config, env: VecNormalize, seed: int) -> BaseAlgorithm:
    """Build TQC (Kuznetsov et al., 2020): SAC whose critics are cut at the top, against overestimation."""
    check_actions("tqc", env.action_space)
    model = contrib().TQC(
        "MlpPolicy",
        env,
        seed=seed,
        ent_coef=ENTROPY,
        top_quantiles_to_drop_per_net=DROPPED,
        policy_kwargs=_net(config),
        **_settings(config, env),
    )
    return at_controller(model, config.log_std)


def dqn(config: Config, env: VecNormalize, seed: int) -> BaseAlgorithm:
    """Build DQN (Mnih et al., 2015)."""
    check_actions("dqn", env.action_space)
    settings = _settings(config, env) | _levels(config)
    model = DQN("MlpPolicy", env, seed=seed, policy_kwargs=_net(config), **settings)
    return at_controller(model, config.log_std)


def qrdqn(config: Config, env: VecNormalize, seed: int) -> BaseAlgorithm:
    """Build QR-DQN (Dabney et al., 2018): the law of the return by its quantiles."""
    check_actions("qrdqn", env.action_space)
    model = contrib().QRDQN(
        "MlpPolicy",
        env,
        seed=seed,
        policy_kwargs=_net(config) | {"n_quantiles": QUANTILES},
        **_settings(config, env) | _levels(config),
    )
    return at_controller(model, config.log_std)


def _settings(config: Config, env: VecNormalize) -> dict[str, Any]:
    """Return what all have in common."""
    ticks = env.get_attr("forecast")[0].ticks
    return {
        "learning_rate": config.learning_rate,
        "batch_size": config.sample,
        "buffer_size": min(BUFFER, max(config.steps, config.envs)),
        "gamma": 1.0,
        "learning_starts": min(EPISODES * ticks, config.steps // 4),
        "train_freq": 1,
        "gradient_steps": max(1, round(config.updates * config.envs)),
        "device": "cpu",
    }


def _levels(config: Config) -> dict[str, Any]:
    """Return what only those have that choose levels."""
    return {
        "n_steps": LOOK,
        "exploration_fraction": config.explore,
        "exploration_final_eps": 0.05,
        "target_update_interval": config.target,
    }


def _net(config: Config) -> dict[str, Any]:
    return {"net_arch": list(config.hidden)}
