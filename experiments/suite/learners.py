"""Training of the suite's learners: one folder per family and seed, done when its policy file is there."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file, save

from bidpilot.agents.bundle import policy_settings, policy_tensors, restore_policy
from bidpilot.agents.learned import LearnedPolicy
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.scenarios import make
from bidpilot.experiments.suite.days import Sizes, campaign_of, days_of, forecast_of, in_training
from bidpilot.experiments.suite.families import BUDGETS, MarketFamily
from bidpilot.experiments.suite.marketplace_learner import train_seat
from bidpilot.experiments.tuning import penalised

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.agents.algorithms import Config
    from bidpilot.agents.learned import Actor, Floats
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.experiments.suite.families import AnyFamily, Family

PROBES = 200


def policy_folder(root: Path, family: AnyFamily, algorithm: str, seed: int) -> Path:
    """Return where a trained policy is kept."""
    return root / family.trained_as / f"{algorithm}-{seed}"


def train_policy(root: Path, family: AnyFamily, config: Config, seed: int, sizes: Sizes) -> None:
    """Train one policy on the family's training days, the best by its validation days, and keep it; once."""
    folder = policy_folder(root, family, config.algorithm, seed)
    if isinstance(family, MarketFamily):
        train_seat(folder, family, config, seed, sizes.validate)
        return
    if (folder / "policy.json").is_file():
        return
    from bidpilot.agents import sb3  # torch takes seconds to import

    train = days_of(family, "train", sizes.train)
    forecast, scenario = forecast_of(family, train), in_training(family.scenario)
    validate = days_of(family, "validate", sizes.validate)
    campaigns = [campaign_of(family, forecast, share) for share in BUDGETS]

    def env() -> BiddingEnv:
        return make(scenario, ReplayMarket(train), forecast)

    def score(actor: Actor) -> FloatArray:
        policy = LearnedPolicy(actor, scenario, forecast)
        return np.asarray(np.mean([penalised(policy, validate, campaign) for campaign in campaigns], axis=0))

    started, busy = time.monotonic(), time.process_time()
    trained = sb3.train(config, env, score, lambda actor: _met(actor, env(), seed), seed)
    spent = {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - busy}
    policy = LearnedPolicy(trained.actor, scenario, forecast)
    write_atomically(folder / "policy.safetensors", save(policy_tensors(policy)))
    write_atomically(folder / "learning.csv", trained.curve.to_csv(index=False))
    settings = policy_settings(policy) | {"trained": spent | {"seed": seed, "steps": config.steps}}
    write_atomically(folder / "policy.json", json.dumps(settings, indent=1))


def load_policy(root: Path, family: Family, algorithm: str, seed: int) -> LearnedPolicy:
    """Load a trained policy. Raises InputError where it is missing or damaged."""
    folder = policy_folder(root, family, algorithm, seed)
    try:
        settings = json.loads((folder / "policy.json").read_text())
        policy = restore_policy(load_file(folder / "policy.safetensors"), settings)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: no trained policy ({error}); run bidpilot suite --train first") from error
    return policy


def _met(actor: Actor, env: BiddingEnv, seed: int) -> Floats:
    """Return PROBES observations that the actor meets."""
    met: list[Floats] = []
    observation, _ = env.reset(seed=seed)
    while len(met) < PROBES:
        met.append(observation)
        observation, _, over, _, _ = env.step(actor(observation).astype(np.float32))
        if over:
            observation, _ = env.reset()
    return np.array(met, dtype=np.float32)
