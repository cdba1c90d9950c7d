"""Train a policy with Stable-Baselines3, keep the best by held-out days, and take its network out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize
from tqdm import tqdm

from bidpilot.agents.algorithms import ALGORITHMS, actor_of
from bidpilot.agents.sb3_vector import BatchedVecEnv
from bidpilot.agents.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from stable_baselines3.common.base_class import BaseAlgorithm

    from bidpilot.agents.algorithms import Config
    from bidpilot.agents.learned import Actor, Floats
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv


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
