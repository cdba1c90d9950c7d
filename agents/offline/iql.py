"""Implicit Q-learning (Kostrikov et al., ICLR 2022): values of the better logged actions, never of others.

V is an upper expectile of Q over the log's actions, Q learns from V, and the policy clones actions weighted by
exp(beta (Q - V)), at most 100. beta stands inside the exponential: outside it would only rescale the loss.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from bidpilot.agents.offline.learning import Batch, Schedule, batches, fit, positive
from bidpilot.agents.offline.network import Critic, Policy, Scaler, Twins, descend, follow
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

LARGEST = 100.0
"""Weight that no action exceeds."""


@dataclass(frozen=True, slots=True)
class Config(Schedule):
    """expectile: .5 is the mean of Q, 1 its maximum. beta: how sharply better actions are preferred.

    follow: share of the way that the target critics move per step. spread: standard deviation that episodes' returns
    are brought to, by which beta is measured.
    """

    expectile: float = 0.7
    beta: float = 3.0
    follow: float = 0.005
    spread: float = 10.0

    def __post_init__(self) -> None:
        """Check the figures."""
        Schedule.__post_init__(self)
        positive(self, "follow", "spread")
        if not 0 < self.expectile < 1:
            raise InputError(f"expectile must be between 0 and 1; got {self.expectile}")
        if not 0 <= self.beta < np.inf:
            raise InputError(f"beta must be at least 0; got {self.beta}")


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
    values = Critic(inputs, config.hidden, torch_generator(rng))
    return fit("iql", config, Iql(config, policy, critics, values), scaler, draw, validate, observe)


class Iql:
    """A policy, its critics, and the value of states."""

    def __init__(self, config: Config, policy: Policy, critics: Twins, values: Critic) -> None:
        """Set up targets and optimisers."""
        self.config, self.policy, self.critics, self.values = config, policy, critics, values
        self._slow = deepcopy(critics)
        self._of_policy, self._of_critics, self._of_values = (
            torch.optim.Adam(part.parameters(), config.learning_rate) for part in (policy, critics, values)
        )

    def update(self, batch: Batch) -> None:
        """Take a step of the values, the policy and the critics."""
        with torch.no_grad():
            advised = self._slow.least(batch.observations, batch.actions)
        value = self.values(batch.observations)
        descend(self._of_values, expectile_loss(advised - value, self.config.expectile))
        self._clone(batch, advised - value.detach())
        with torch.no_grad():
            target = batch.rewards + batch.going * self.values(batch.following)
        one, two = self.critics(batch.observations, batch.actions)
        descend(self._of_critics, functional.mse_loss(one, target) + functional.mse_loss(two, target))
        follow(self._slow, self.critics, self.config.follow)

    def _clone(self, batch: Batch, advantage: Tensor) -> None:
        """Draw the policy to the log's actions, the better ones more."""
        error = (self.policy(batch.observations) - batch.actions).square().mean(dim=1)
        descend(self._of_policy, (weights(advantage, self.config.beta) * error).mean())


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Return the mean of |expectile - 1(difference < 0)| difference^2; its minimum over a constant is the expectile."""
    return (torch.where(difference < 0, 1.0 - expectile, expectile) * difference.square()).mean()


def weights(advantage: Tensor, beta: float) -> Tensor:
    """Return exp(beta x advantage), at most LARGEST."""
    return torch.exp(beta * advantage).clamp(max=LARGEST)
