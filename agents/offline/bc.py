"""Behaviour cloning: do what the log did, on average. The least that any other learner from logs must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from bidpilot.agents.offline.learning import Batch, Schedule, batches, fit
from bidpilot.agents.offline.network import Policy, Scaler
from bidpilot.ctr.loop import torch_generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.agents.learned import Actor
    from bidpilot.agents.offline.dataset import Dataset
    from bidpilot.agents.trained import Trained
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.features import Floats


@dataclass(frozen=True, slots=True)
class Config(Schedule):
    """As Schedule."""


def train(
    config: Config,
    dataset: Dataset,
    validate: Callable[[Actor], FloatArray],
    observe: Callable[[Actor], Floats],
    seed: int,
) -> Trained:
    """Clone the actions of a dataset by least squares. validate, observe: see learning.fit. Same seed, same bytes."""
    rng = np.random.default_rng(seed)
    policy = Policy(dataset.observations.shape[1], config.hidden, dataset.actions.shape[1], torch_generator(rng))
    scaler = Scaler.of(dataset.observations)
    draw = batches(dataset, scaler, config.batch, torch_generator(rng))
    return fit("bc", config, Cloning(config, policy), scaler, draw, validate, observe)


class Cloning:
    """A policy drawn to the actions of the log."""

    def __init__(self, config: Schedule, policy: Policy) -> None:
        """Set up the optimiser."""
        self.policy = policy
        self._optimiser = torch.optim.Adam(policy.parameters(), config.learning_rate)

    def update(self, batch: Batch) -> None:
        """Take a step."""
        self._optimiser.zero_grad()
        functional.mse_loss(self.policy(batch.observations), batch.actions).backward()
        self._optimiser.step()
