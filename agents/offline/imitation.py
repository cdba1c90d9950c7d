"""Imitation of the oracle (OIL, arXiv 2412.11434): after the day, the best action of every tick is known exactly.

So learning to bid becomes regression: of the residual action that takes the controller's multipliers to the best ones
for what is left, on what could be seen. What cannot be foreseen averages out. The states are those of the controller
with varied bids; in rounds of DAgger (Ross et al., AISTATS 2011) those that the learner itself comes to are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from bidpilot.agents.offline.bc import Cloning
from bidpilot.agents.offline.learning import Batch, Schedule, fit, positive
from bidpilot.agents.offline.network import Policy, Scaler
from bidpilot.agents.offline.recording import Behaviour
from bidpilot.agents.offline.teacher import Teacher
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.loop import torch_generator
from bidpilot.envs.residual import Residual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bidpilot.agents.learned import Actor
    from bidpilot.agents.trained import Trained
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.features import Floats

LOWEST = -0.9
"""Labels do not go below: a little lower, and the group would be switched off."""


@dataclass(frozen=True, slots=True)
class Config(Schedule):
    """episodes: played per round. rounds: of DAgger, after the first. factor, noise: see Behaviour, of the first."""

    episodes: int = 200
    rounds: int = 2
    factor: float = 0.3
    noise: float = 0.2

    def __post_init__(self) -> None:
        """Check the figures."""
        Schedule.__post_init__(self)
        positive(self, "episodes")
        if not self.rounds >= 0:
            raise InputError(f"rounds must be at least 0; got {self.rounds}")


class Lessons(NamedTuple):
    """Observations (n, d) and the actions (n, groups) that would have been best."""

    observations: Floats
    actions: Floats

    def plus(self, more: Lessons) -> Lessons:
        """Add lessons."""
        return Lessons(*(np.concatenate(pair) for pair in zip(self, more, strict=True)))


def train(
    config: Config,
    make_env: Callable[[], BiddingEnv],
    validate: Callable[[Actor], FloatArray],
    observe: Callable[[Actor], Floats],
    seed: int,
) -> Trained:
    """Imitate the oracle on days of an environment. validate, observe: see learning.fit. Same seed, same bytes.

    Raises InputError for environments without multipliers or with rules for which the best is not known, see Teacher.
    """
    rng, env = np.random.default_rng(seed), make_env()
    if env.scenario.environment not in {"pacing", "targeting"} or env.scenario.action != "continuous":
        raise InputError("the oracle's actions are known for pacing and targeting with continuous actions")
    first = demonstrate(env, Behaviour(0.0, config.factor, config.noise), config.episodes, rng)
    scaler = Scaler.of(first.observations)
    policy = Policy(first.observations.shape[1], config.hidden, env.groups, torch_generator(rng))

    def more() -> Lessons:
        return demonstrate(env, Behaviour(0.0, 0.0, 0.0, policy.actor(scaler)), config.episodes, rng)

    draw = _batches(config, first, more, scaler, torch_generator(rng))
    return fit("imitation", config, Cloning(config, policy), scaler, draw, validate, observe)


def demonstrate(env: BiddingEnv, behaviour: Behaviour, episodes: int, rng: np.random.Generator) -> Lessons:
    """Play a behaviour, and note in every tick what would have been best."""
    observations, actions = [], []
    observation, _ = env.reset(seed=int(rng.integers(2**31)))
    for _ in tqdm(range(episodes), desc="demonstrate", unit="episode", disable=None):
        act, over = behaviour.begin(env.groups, rng), False
        episode = env.episode
        teacher = Teacher(episode.day, episode.campaign, env.groups)
        residual = Residual([episode.campaign], env.forecast, env.groups, env.scenario)
        while not over:
            residual.take(episode.glance())
            base = np.ravel(residual.multipliers(residual.zero))
            observations.append(observation)
            best = teacher.multipliers(episode.tick, episode.left, episode.result().total("expected"))
            actions.append(label(best, base, env.scenario.reach))
            observation, _, over, _, _ = env.step(act(observation))
        observation, _ = env.reset()
    return Lessons(np.stack(observations), np.stack(actions))


def label(best: FloatArray, base: FloatArray, reach: float) -> Floats:
    """Return the residual action (groups,) from the controller's multipliers to the best, within LOWEST..1."""
    with np.errstate(divide="ignore"):
        wanted: Floats = np.clip(np.log(best / base) / reach, LOWEST, 1.0).astype(np.float32)
    return wanted


def _batches(
    config: Config, lessons: Lessons, more: Callable[[], Lessons], scaler: Scaler, generator: torch.Generator
) -> Iterator[Batch]:
    """Yield random batches; the steps are shared out over the rounds, and each begins with more lessons."""
    none = torch.zeros(0)
    for number in range(config.rounds + 1):
        lessons = lessons.plus(more()) if number else lessons
        seen, best = scaler(lessons.observations), torch.from_numpy(lessons.actions)
        last = number == config.rounds
        for _ in range(config.steps if last else config.steps // (config.rounds + 1)):
            rows = torch.randint(len(seen), (config.batch,), generator=generator)
            yield Batch(seen[rows], best[rows], none, none, none)
