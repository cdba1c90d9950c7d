"""Stable-Baselines3's algorithms with settings for this problem, and the network taken out of each.

Defaults are not SB3's: discount 1 (the horizon is finite and time is observed), many short episodes per update, small
initial noise around the controller (the zero action).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from bidpilot.agents import off_policy, on_policy
from bidpilot.agents.extraction import actor_of, answers
from bidpilot.agents.names import LEARNERS
from bidpilot.ctr.errors import InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

__all__ = ["ALGORITHMS", "Config", "actor_of", "answers"]


@dataclass(frozen=True, slots=True)
class Config:
    """algorithm: one of LEARNERS. steps: environment steps (ticks). envs: copies played at once.

    learning_rate: of the optimiser. hidden: widths of the network. evaluations: validations during training.

    PPO and its kin: rollout, steps per copy between updates; batch, epochs: of an update (batch None: a sixth of a
    rollout's rows, so that more copies mean larger batches); log_std: initial exploration; memory: units
    of the LSTM. The others: sample, rows of a gradient step; updates: gradient steps per environment step. DQN and
    QR-DQN: explore, share of the steps by which trying levels at random has ended; target: steps between updates of the
    target network. Raises InputError for an unknown algorithm and figures that are not above 0.
    """

    algorithm: str = "ppo"
    steps: int = 200_000
    envs: int = 16
    rollout: int = 192
    batch: int | None = None
    epochs: int = 5
    learning_rate: float = 3e-4
    hidden: tuple[int, ...] = (64, 64)
    log_std: float = -1.5
    evaluations: int = 10
    memory: int = 64
    sample: int = 256
    updates: float = 0.125
    explore: float = 0.3
    target: int = 2_000

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.algorithm not in LEARNERS:
            raise unknown("algorithm", self.algorithm, list(LEARNERS))
        for figure in fields(self):
            amount = getattr(self, figure.name)
            if figure.name not in {"algorithm", "hidden", "log_std"} and amount is not None and not amount > 0:
                raise InputError(f"{figure.name} must be above 0; got {amount}")


ALGORITHMS: dict[str, Callable[[Config, VecNormalize, int], BaseAlgorithm]] = {
    "ppo": on_policy.ppo,
    "sac": off_policy.sac,
    "td3": off_policy.td3,
    "tqc": off_policy.tqc,
    "dqn": off_policy.dqn,
    "qrdqn": off_policy.qrdqn,
    "recurrent_ppo": on_policy.recurrent_ppo,
    "maskable_ppo": on_policy.maskable_ppo,
}
