"""Training of the suite's learners: one folder per family and seed, done when its policy file is there."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file, save

from bidpilot.agents import incremental, recalibrate
from bidpilot.agents.bundle import policy_settings, policy_tensors, restore_policy
from bidpilot.agents.learned import LearnedPolicy, silent_policy
from bidpilot.agents.probes import probes
from bidpilot.agents.space import spread
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.scenarios import make
from bidpilot.experiments.sealed import sealing
from bidpilot.experiments.suite.days import Sizes, campaign_of, days_of, forecast_of, in_training
from bidpilot.experiments.suite.families import BUDGETS
from bidpilot.experiments.suite.kept import made_with, policy_folder, stream_seed, trained_with
from bidpilot.experiments.tuning import penalised

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from bidpilot.agents.learned import Actor, Floats
    from bidpilot.agents.trained import Trained
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.scenario import Scenario
    from bidpilot.experiments.suite.families import Family

    Make: TypeAlias = Callable[[], BiddingEnv]
    Score: TypeAlias = Callable[[Actor], FloatArray]

PROBES = 200


@sealing("training")
def train_policy(root: Path, family: Family, seed: int, sizes: Sizes) -> None:
    """Train one policy on the family's training days, the best by its validation days, and keep it; once.

    What is there counts only if it was made with these sizes and this scenario (see made_with).

    It stands on a controller tuned like any baseline, on the tuning days.
    """
    folder = policy_folder(root, family, seed)
    if trained_with(root, family, seed, sizes):
        return
    started, busy = time.monotonic(), time.process_time()
    train = days_of(family, "train", sizes.train)
    forecast = forecast_of(family, train)
    scenario = _on_a_tuned_controller(family, forecast, days_of(family, "tune", sizes.tune))
    validate = days_of(family, "validate", sizes.validate)

    def env() -> BiddingEnv:
        return make(scenario, ReplayMarket(train), forecast)

    def score(actor: Actor) -> FloatArray:
        return _scores(LearnedPolicy(actor, scenario, forecast), family, forecast, validate)

    def met(actor: Actor) -> Floats:
        return probes(actor, scenario, ReplayMarket(train), forecast, PROBES, seed)

    if family.learner == "imitation":
        trained = _by_imitation(env, score, met, stream_seed(seed))
    else:
        trained = _by_ppo(family.steps, env, score, met, stream_seed(seed))
    policy = LearnedPolicy(trained.actor, scenario, forecast)
    spent = {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - busy, "seed": seed}
    told = {"trained": spent | {"with": made_with(family, sizes)}}
    write_atomically(folder / "policy.safetensors", save(policy_tensors(policy)))
    write_atomically(folder / "learning.csv", trained.curve.to_csv(index=False))
    write_atomically(folder / "policy.json", json.dumps(policy_settings(policy) | told, indent=1))


def load_policy(root: Path, family: Family, seed: int) -> LearnedPolicy:
    """Load a trained policy. Raises InputError where it is missing or damaged."""
    folder = policy_folder(root, family, seed)
    try:
        settings = json.loads((folder / "policy.json").read_text())
        policy = restore_policy(load_file(folder / "policy.safetensors"), settings)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: no trained policy ({error}); run bidpilot suite --train first") from error
    return policy


def _on_a_tuned_controller(family: Family, forecast: Forecast, days: tuple[Day, ...]) -> Scenario:
    """Return the training scenario with the gain and prior that score best, by the trials that every baseline gets.

    Where there is a cost limit the controller keeps its defaults: the one that scores best alone, a slow one, let PPO
    learn less (.887 in place of .936 on the validation days of "cpa").
    """
    scenario = in_training(family.scenario)
    if scenario.limit is not None:
        return scenario
    if scenario.prior is None:
        tried = [replace(scenario, gain=config.gain) for config in spread(incremental.Config)]
    else:
        tried = [replace(scenario, gain=config.gain, prior=config.prior) for config in spread(recalibrate.Config)]
    return max(
        tried,
        key=lambda one: _scores(silent_policy(one, forecast, one.traffic.segments), family, forecast, days).mean(),
    )


def _scores(policy: LearnedPolicy, family: Family, forecast: Forecast, days: tuple[Day, ...]) -> FloatArray:
    """Return the score (days,) of a policy, a mean over the budgets."""
    campaigns = [campaign_of(family, forecast, share) for share in BUDGETS]
    return np.asarray(np.mean([penalised(policy, days, campaign) for campaign in campaigns], axis=0))


def _by_ppo(
    steps: int, env: Callable[[], BiddingEnv], score: Score, met: Callable[[Actor], Floats], seed: int
) -> Trained:
    from bidpilot.agents import algorithms, sb3  # torch takes seconds to import

    return sb3.train(algorithms.Config(steps=steps, envs=256, rollout=96, epochs=4), env, score, met, seed)


def _by_imitation(env: Make, score: Score, met: Callable[[Actor], Floats], seed: int) -> Trained:
    from bidpilot.agents.offline import imitation

    return imitation.train(imitation.Config(), env, score, met, seed)
