"""A run's learner by name: those that try things out in the market, and those that learn from logs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bidpilot.agents.names import FROM_LOGS
from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.agents.callbacks import Watch
    from bidpilot.agents.learned import Actor, Floats
    from bidpilot.agents.trained import Trained
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.experiments.config import LearnerSettings

RECORDED = 300
"""Episodes of varied bids that a log of them is recorded from."""


class Task(NamedTuple):
    """What every trainer is given: an environment to make, validation, the probes' observations, and a seed."""

    make_env: Callable[[], BiddingEnv]
    validate: Callable[[Actor], FloatArray]
    observe: Callable[[Actor], Floats]
    seed: int


def learn(learner: LearnerSettings, task: Task, watch: Watch) -> tuple[Any, Trained]:
    """Train; return the trainer's full settings, a dataclass, and what came of it."""
    if learner.algorithm in FROM_LOGS:
        return _from_logs(learner, task)
    from bidpilot.agents import algorithms, sb3

    config = algorithms.Config(
        algorithm=learner.algorithm,
        steps=learner.steps,
        envs=learner.envs,
        learning_rate=learner.learning_rate,
        evaluations=learner.evaluations,
    )
    return config, sb3.train(config, *task, watch)


def _from_logs(learner: LearnerSettings, task: Task) -> tuple[Any, Trained]:
    """Imitate the best in hindsight, or learn from a log recorded with varied bids on the training days."""
    from bidpilot.agents.offline import bc, imitation, iql, td3bc
    from bidpilot.agents.offline.recording import VARIED, record

    if learner.algorithm == "imitation":
        config = imitation.Config(evaluations=learner.evaluations)
        return config, imitation.train(config, *task)
    module: Any = {"bc": bc, "td3bc": td3bc, "iql": iql}[learner.algorithm]
    data = record(task.make_env(), VARIED, RECORDED, np.random.default_rng(task.seed))
    settings = module.Config(evaluations=learner.evaluations)
    return settings, module.train(settings, data, task.validate, task.observe, task.seed)


def check_resumable(algorithm: str) -> None:
    """Raise InputError for a learner that leaves no checkpoints."""
    if algorithm in FROM_LOGS:
        raise InputError(f"{algorithm} trains in minutes and leaves no checkpoints; train again without --resume")
