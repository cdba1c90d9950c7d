"""Train a policy with Stable-Baselines3, keep the best by held-out days, and take its network out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pandas as pd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from bidpilot.agents.algorithms import ALGORITHMS, answers
from bidpilot.agents.callbacks import Keeper, Over, Watch
from bidpilot.agents.sb3_vector import BatchedVecEnv
from bidpilot.agents.trained import Trained
from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.agents.algorithms import Config
    from bidpilot.agents.checkpoint import Saved
    from bidpilot.agents.learned import Actor, Floats
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv

UNWATCHED = Watch()


def train(
    config: Config,
    make_env: Callable[[], BiddingEnv | VecEnv],
    validate: Callable[[Actor], FloatArray],
    observe: Callable[[Actor], Floats],
    seed: int,
    watch: Watch = UNWATCHED,
) -> Trained:
    """Train, validate `config.evaluations` times, and return the best by mean validation score.

    make_env: gives an environment to copy, or one that already is as many as config.envs (then without checkpoints).
    validate: actor -> scores (days,). observe: actor -> observations (n, d) that it meets, for the probes. watch: when
    to stop, and where checkpoints go. A training that was killed, called again with the same arguments, goes on from
    its last checkpoint and ends bit for bit where it would have.

    The untrained policy, which is the controller but for a small random head, takes part in the choice. SB3
    seeds the global generators of random, numpy and torch; same seed and threads give the same weights.
    """
    watch = _keyed(watch, config, seed)
    saved = None if watch.journal is None else watch.journal.load()
    env = VecNormalize(_copies(make_env(), config.envs, recording=watch.journal is not None), gamma=1.0, clip_obs=10.0)
    model = ALGORITHMS[config.algorithm](config, env, seed)
    keeper = Keeper(config, validate, watch)
    try:
        keeper.begin(model, saved)
        model.learn(config.steps - model.num_timesteps, callback=keeper, reset_num_timesteps=saved is None)
    except Over:
        pass
    finally:
        keeper.bar.close()
        env.close()
    keeper.finish()
    if watch.board is not None:
        model.logger.close()
    model.policy.load_state_dict(keeper.best_state)
    actor = keeper.best
    observations = observe(actor)
    probed = answers(model, actor, observations)
    return Trained(actor, pd.DataFrame(keeper.curve), observations, probed, _story(saved, keeper), keeper.late)


def _copies(made: BiddingEnv | VecEnv, count: int, *, recording: bool) -> VecEnv:
    """Return so many copies. Raises InputError for a vector of another length, and for checkpoints of one."""
    if not isinstance(made, VecEnv):
        return BatchedVecEnv(made, count, recording=recording)
    if made.num_envs != count:
        raise InputError(f"the settings want {count} environments (envs), the vector has {made.num_envs}")
    if recording:
        raise InputError(f"there are no checkpoints of a {type(made).__name__}; train without a journal")
    return made


def _keyed(watch: Watch, config: Config, seed: int) -> Watch:
    """Return the watch with a journal for this training alone: other settings make other checkpoints."""
    if watch.journal is None:
        return watch
    made = json.dumps([watch.journal.key, asdict(config), seed, watch.dual], sort_keys=True)
    return replace(watch, journal=replace(watch.journal, key=hashlib.sha256(made.encode()).hexdigest()))


def _story(saved: Saved | None, keeper: Keeper) -> tuple[str, ...]:
    """Return in sentences what a table of scores does not tell."""
    began = () if saved is None else (*saved.notes, f"went on from the checkpoint of step {saved.step:,}")
    return (*began, keeper.ended) if keeper.ended else began
