"""The one loop that every learner from logs shares: batches, validation, and the best network kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from bidpilot.agents.trained import Trained, judged
from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from bidpilot.agents.learned import Actor
    from bidpilot.agents.offline.dataset import Dataset
    from bidpilot.agents.offline.network import Policy, Scaler
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.features import Floats


@dataclass(frozen=True, slots=True)
class Schedule:
    """What all learners from logs can be told.

    steps: of the optimiser. batch: rows per step. learning_rate: of Adam. hidden: widths of the networks.
    evaluations: validations during training. Raises InputError for figures not above 0.
    """

    steps: int = 10_000
    batch: int = 256
    learning_rate: float = 3e-4
    hidden: tuple[int, ...] = (64, 64)
    evaluations: int = 10

    def __post_init__(self) -> None:
        """Check the figures."""
        positive(self, "steps", "batch", "learning_rate", "evaluations")


def positive(config: object, *names: str) -> None:
    """Raise InputError unless these fields are above 0."""
    for name in names:
        if not 0 < getattr(config, name) < np.inf:
            raise InputError(f"{name} must be above 0; got {getattr(config, name)}")


class Batch(NamedTuple):
    """Rows of a dataset: observations normalised; going: 0 where the episode ends with the row, else 1."""

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    following: Tensor
    going: Tensor


class Learner(Protocol):
    """An algorithm: its policy, and what it does with a batch."""

    policy: Policy

    def update(self, batch: Batch) -> None:
        """Take a step."""


def batches(
    dataset: Dataset, scaler: Scaler, size: int, generator: torch.Generator, spread: float | None = None
) -> Iterator[Batch]:
    """Yield random batches without end. spread: standard deviation to bring episodes' returns to; None: as is."""
    scale = 1.0
    if spread is not None:
        returns = dataset.returns[dataset.ticks == 0]
        scale = spread / max(float(returns.std()), 1e-9)
    columns = Batch(
        scaler(dataset.observations),
        torch.from_numpy(dataset.actions),
        torch.from_numpy(dataset.rewards * np.float32(scale)),
        scaler(dataset.following),
        torch.from_numpy(1.0 - dataset.done.astype(np.float32)),
    )
    while True:
        rows = torch.randint(len(dataset), (size,), generator=generator)
        yield Batch(*(column[rows] for column in columns))


class Keeper:
    """Validates what it is shown, keeps the best, and draws the curve."""

    def __init__(self, name: str, config: Schedule, validate: Callable[[Actor], FloatArray]) -> None:
        """Open the bar."""
        self._validate, self._config = validate, config
        self.bar = tqdm(total=config.steps, desc=f"train {name}", unit="step", disable=None)
        self.curve: list[dict[str, float]] = []
        self.best: Actor
        self.state: dict[str, Tensor] = {}

    def due(self, step: int) -> bool:
        """Tell whether it is time to validate after so many steps."""
        self.bar.update(step - self.bar.n)
        every = max(1, self._config.steps // self._config.evaluations)
        return step % every == 0 or step == self._config.steps

    def judge(self, step: int, actor: Actor, network: nn.Module) -> None:
        """Validate."""
        best = max((row["score"] for row in self.curve), default=-np.inf)
        row = judged(step, self._validate(actor))
        self.curve.append(row)
        if row["score"] > best:
            self.best, self.state = actor, {name: each.clone() for name, each in network.state_dict().items()}
        self.bar.set_postfix(validation=f"{row['score']:.4f}", best=f"{max(best, row['score']):.4f}")


def fit(
    name: str,
    config: Schedule,
    learner: Learner,
    scaler: Scaler,
    draw: Iterator[Batch],
    validate: Callable[[Actor], FloatArray],
    observe: Callable[[Actor], Floats],
) -> Trained:
    """Train, and return the best by mean validation score, the untrained policy (nearly the controller) among them.

    validate: actor -> scores (days,). observe: actor -> observations (n, d) that it meets, for the probes.
    """
    keeper = Keeper(name, config, validate)
    try:
        for step in range(config.steps + 1):
            if keeper.due(step):
                keeper.judge(step, learner.policy.actor(scaler), learner.policy)
            if step < config.steps:
                learner.update(next(draw))
    finally:
        keeper.bar.close()
    return finish(keeper, learner.policy, scaler, observe)


def finish(keeper: Keeper, policy: Policy, scaler: Scaler, observe: Callable[[Actor], Floats]) -> Trained:
    """Return the best with probes answered by torch."""
    policy.load_state_dict(keeper.state)
    observations = observe(keeper.best)
    with torch.no_grad():
        answers: Floats = policy(scaler(observations)).numpy()
    return Trained(keeper.best, pd.DataFrame(keeper.curve), observations, answers)
