"""Train a policy with Stable-Baselines3, keep the best by held-out days, and take its network out.

Defaults are for this problem, not SB3's: discount 1 (the horizon is finite and time is observed), many short
episodes per update, small initial noise around the controller (the zero action).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize
from tqdm import tqdm

from bidpilot.agents.learned import Actor, Floats
from bidpilot.agents.sb3_vector import BatchedVecEnv
from bidpilot.ctr.errors import InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from stable_baselines3.common.base_class import BaseAlgorithm

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv


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


@dataclass(frozen=True)
class Trained:
    """The best policy of a run.

    curve: steps, score, low, high (validation R/R*, 95 %). observations (n, d), actions (n, groups): probes, what
    SB3's own predict answered.
    """

    actor: Actor
    curve: pd.DataFrame
    observations: Floats
    actions: Floats


def train(
    config: Config,
    make_env: Callable[[], BiddingEnv],
    validate: Callable[[Actor], FloatArray],
    observe: Callable[[Actor], Floats],
    seed: int,
) -> Trained:
    """Train, validate `config.evaluations` times, and return the best by mean validation score.

    validate: actor -> scores (days,). observe: actor -> observations (n, d) that it meets, for the probes.
    The untrained policy, which is the controller but for a small random head, takes part in the choice. SB3
    seeds the global generators of random, numpy and torch; same seed and threads give the same weights.
    """
    env = VecNormalize(BatchedVecEnv(make_env(), config.envs), gamma=1.0, clip_obs=10.0)
    model = ALGORITHMS[config.algorithm](config, env, seed)
    keeper = _Keeper(config, validate)
    try:
        model.learn(config.steps, callback=keeper)
    finally:
        keeper.bar.close()
        env.close()
    model.policy.load_state_dict(keeper.best_state)
    actor = keeper.best
    observations = observe(actor)
    return Trained(actor, pd.DataFrame(keeper.curve), observations, _answers(model, actor, observations))


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


@dataclass
class _Best:
    score: float = -np.inf
    curve: list[dict[str, float]] = field(default_factory=list)


class _Keeper(BaseCallback):
    """Validates at even intervals, keeps the best network, and shows a bar."""

    def __init__(self, config: Config, validate: Callable[[Actor], FloatArray]) -> None:
        super().__init__()
        self._validate = validate
        self._every, self._next = max(1, config.steps // config.evaluations), 0
        self._kept = _Best()
        self.best: Actor
        self.best_state: dict[str, torch.Tensor] = {}
        self.bar = tqdm(total=config.steps, desc=f"train {config.algorithm}", unit="step", disable=None)

    @property
    def curve(self) -> list[dict[str, float]]:
        return self._kept.curve

    def _on_rollout_start(self) -> None:
        """Validate between rollouts, where the network stands still."""
        if self.num_timesteps >= self._next:
            self._next += self._every
            self._score()

    def _on_step(self) -> bool:
        self.bar.update(self.num_timesteps - self.bar.n)
        return True

    def _on_training_end(self) -> None:
        self._score()

    def _score(self) -> None:
        normaliser = cast("VecNormalize", self.model.get_env())
        actor = actor_of(self.model, normaliser)
        scores = self._validate(actor)
        mean, error = float(scores.mean()), float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0
        row = {"steps": self.num_timesteps, "score": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error}
        self._kept.curve.append(row)
        self.bar.set_postfix(validation=f"{mean:.4f}", best=f"{max(mean, self._kept.score):.4f}")
        if mean > self._kept.score:
            self._kept.score, self.best = mean, actor
            self.best_state = {name: tensor.clone() for name, tensor in self.model.policy.state_dict().items()}


def _answers(model: BaseAlgorithm, actor: Actor, observations: Floats) -> Floats:
    """Return SB3's own deterministic actions for raw observations, normalised as in training."""
    normalised = np.clip((observations - actor.mean) * actor.scale, -actor.clip, actor.clip).astype(np.float32)
    actions, _ = model.predict(normalised, deterministic=True)
    return np.asarray(actions, dtype=np.float32)
