"""TD3+BC (Fujimoto and Gu, NeurIPS 2021): twin critics, and a policy that maximises them near the log's actions.

The policy's loss is -alpha / mean|Q| Q(s, pi(s)) + |pi(s) - a|^2: dividing by the size of Q makes alpha mean the same
whatever rewards are scaled by; with alpha 0 it is behaviour cloning.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from bidpilot.agents.offline.learning import Batch, Schedule, batches, fit, positive
from bidpilot.agents.offline.network import Policy, Scaler, Twins, descend, follow
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.loop import torch_generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from bidpilot.agents.learned import Actor
    from bidpilot.agents.offline.dataset import Dataset
    from bidpilot.agents.trained import Trained
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.features import Floats


@dataclass(frozen=True, slots=True)
class Config(Schedule):
    """alpha: weight of the critic against cloning. delay: critic steps per step of the policy.

    noise, most: standard deviation and bound of what is added to the target policy's actions. follow: share of the way
    that target networks move per step. spread: standard deviation that episodes' returns are brought to.
    """

    alpha: float = 2.5
    delay: int = 2
    noise: float = 0.2
    most: float = 0.5
    follow: float = 0.005
    spread: float = 10.0

    def __post_init__(self) -> None:
        """Check the figures."""
        Schedule.__post_init__(self)
        positive(self, "delay", "follow", "spread")
        for name in ("alpha", "noise", "most"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name} must be at least 0; got {getattr(self, name)}")


def train(
    config: Config,
    dataset: Dataset,
    validate: Callable[[Actor], FloatArray],
    observe: Callable[[Actor], Floats],
    seed: int,
) -> Trained:
    """Train on a dataset alone, at a discount of 1. validate, observe: see learning.fit. Same seed, same bytes."""
    rng = np.random.default_rng(seed)
    inputs, groups = dataset.observations.shape[1], dataset.actions.shape[1]
    policy, scaler = Policy(inputs, config.hidden, groups, torch_generator(rng)), Scaler.of(dataset.observations)
    draw = batches(dataset, scaler, config.batch, torch_generator(rng), config.spread)
    critics = Twins(inputs + groups, config.hidden, torch_generator(rng))
    learner = Td3Bc(config, policy, critics, torch_generator(rng))
    return fit("td3bc", config, learner, scaler, draw, validate, observe)


class Td3Bc:
    """A policy and its critics."""

    def __init__(self, config: Config, policy: Policy, critics: Twins, generator: torch.Generator) -> None:
        """Set up targets and optimisers. generator: of the noise."""
        self.config, self.policy, self.critics = config, policy, critics
        self._generator, self._steps = generator, 0
        self._slow_policy, self._slow_critics = deepcopy(policy), deepcopy(critics)
        self._of_policy = torch.optim.Adam(policy.parameters(), config.learning_rate)
        self._of_critics = torch.optim.Adam(critics.parameters(), config.learning_rate)

    def update(self, batch: Batch) -> None:
        """Take a step of the critics, and every now and then one of the policy."""
        self._steps += 1
        target = self._target(batch)
        values = self.critics(batch.observations, batch.actions)
        descend(self._of_critics, functional.mse_loss(values[0], target) + functional.mse_loss(values[1], target))
        if self._steps % self.config.delay == 0:
            descend(self._of_policy, self.loss(batch))
            follow(self._slow_policy, self.policy, self.config.follow)
            follow(self._slow_critics, self.critics, self.config.follow)

    def loss(self, batch: Batch) -> Tensor:
        """Return the policy's loss."""
        actions = self.policy(batch.observations)
        values = self.critics.one(batch.observations, actions)
        weight = self.config.alpha / values.abs().mean().detach()
        loss: Tensor = functional.mse_loss(actions, batch.actions) - weight * values.mean()
        return loss

    @torch.no_grad()
    def _target(self, batch: Batch) -> Tensor:
        """Return what the critics should say (n,)."""
        noise = torch.randn(batch.actions.shape, generator=self._generator) * self.config.noise
        actions = self._slow_policy(batch.following) + noise.clamp(-self.config.most, self.config.most)
        to_come: Tensor = self._slow_critics.least(batch.following, actions.clamp(-1.0, 1.0))
        return batch.rewards + batch.going * to_come
