"""Stage 2: train the learner in the simulated market and keep the best by simulated validation days."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bidpilot.agents import incremental, recalibrate
from bidpilot.agents.bundle import policy_settings, policy_tensors, restore_policy
from bidpilot.agents.learned import Floats, LearnedPolicy, silent_policy
from bidpilot.agents.probes import probes
from bidpilot.agents.space import spread
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.scenarios import find_scenario, make
from bidpilot.experiments.learn import Task, check_resumable, learn
from bidpilot.experiments.prepare import Arena, prepare
from bidpilot.experiments.sealed import sealing
from bidpilot.experiments.source import Source, load_source
from bidpilot.experiments.streams import stream
from bidpilot.experiments.tuning import campaign_for, scores

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from bidpilot.agents.callbacks import Watch
    from bidpilot.agents.checkpoint import Checkpoints
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign
    from bidpilot.experiments.config import Settings
    from bidpilot.experiments.run import Run

PROBES = 1_000


@dataclass(frozen=True, slots=True)
class Session:
    """What one call of the stage is asked beyond the run's settings.

    resume: go on from the last checkpoint. minutes, patience, tensorboard: in place of the run's own, where given.
    """

    resume: bool = False
    minutes: float | None = None
    patience: int | None = None
    tensorboard: bool | None = None


PLAIN = Session()


@sealing("training")
def train(run: Run, source: Source | None = None, session: Session = PLAIN) -> pd.DataFrame:
    """Train the run's learner, save it under its folder, and return the learning curve (also learning.csv).

    While it trains, checkpoints lie in the folder; without session.resume, those of an earlier call are deleted first.
    Sentences on how it went are the fact "training" of the run.
    """
    settings = run.settings
    if session.resume:
        check_resumable(settings.learner.algorithm)
    watch = _watch(run, session)
    arena = prepare(run, source or load_source(run.settings))
    scenario = scenario_of(settings, arena)
    market, forecast, learner = ReplayMarket(arena.past.days), arena.past.forecast, settings.learner
    seed = int(stream(settings.seed, "learner").integers(2**31))
    score = _validator(arena, settings)
    task = Task(
        lambda: make(scenario, market, forecast),
        lambda actor: score(LearnedPolicy(actor, scenario, forecast)),
        lambda actor: probes(actor, scenario, market, forecast, PROBES, seed),
        seed,
    )
    config, trained = learn(learner, task, watch)
    policy = LearnedPolicy(trained.actor, scenario, forecast)
    _save(run, policy, trained.observations, trained.actions)
    reference = score(silent_policy(scenario, forecast, arena.segments)).mean()
    curve = trained.curve.assign(reference=reference)
    run.write_table("learning.csv", curve)
    run.note(learner=asdict(config), scenario=settings.scenario, training=trained.story)
    run.finish("train")
    if not trained.unfinished:
        checkpoints(run).clear()
    return curve


def checkpoints(run: Run) -> Checkpoints:
    """Return where the run's training keeps its checkpoints; fitting anew deletes them."""
    from bidpilot.agents.checkpoint import Checkpoints

    journal = run.journal(resume=True)
    return Checkpoints(journal.folder / "train", journal.key)


def _watch(run: Run, session: Session) -> Watch:
    """Return how the training is watched. Raises InputError where TensorBoard is asked for and not installed."""
    from bidpilot.agents.callbacks import Watch

    learner, journal = run.settings.learner, checkpoints(run)
    drawn = run.settings.tensorboard if session.tensorboard is None else session.tensorboard
    watch = Watch(
        patience=learner.patience if session.patience is None else session.patience,
        minutes=learner.minutes if session.minutes is None else session.minutes,
        board=run.folder / "tensorboard" / "train" if drawn else None,
        journal=journal,
    )
    if not session.resume:
        journal.clear()
    return watch


def scenario_of(settings: Settings, arena: Arena) -> Scenario:
    """Return the settings' scenario with their auction, standing on a controller tuned like any baseline.

    Gain and prior are those with the highest mean R / R* on the tuning days over the run's budgets.
    """
    campaigns = _campaigns(arena, arena.tune, settings)
    scenario = find_scenario(settings.scenario)
    scenario = replace(scenario, rules=replace(scenario.rules, auction=settings.auction))
    paced = [replace(scenario, gain=config.gain) for config in spread(incremental.Config)]
    corrected = [replace(scenario, gain=c.gain, prior=c.prior) for c in spread(recalibrate.Config)]

    def score(candidate: Scenario) -> float:
        policy = silent_policy(candidate, arena.past.forecast, arena.segments)
        return float(np.mean([scores(policy, arena.tune, campaign).mean() for campaign in campaigns]))

    return max(paced if scenario.prior is None else corrected, key=score)


def _campaigns(arena: Arena, days: tuple[Day, ...], settings: Settings) -> list[Campaign]:
    """Return the run's campaigns on simulated days."""
    expected = arena.past.forecast.full_cost
    return [campaign_for(days, share, settings.auction, expected) for share in settings.budgets]


def load_trained(run: Run) -> tuple[LearnedPolicy, Floats, Floats]:
    """Load the trained policy with its probes. Raises InputError when nothing was trained."""
    if not run.done("train"):
        raise InputError(f"{run.folder}: no trained policy; run bidpilot train --run {run.folder} first")
    try:
        settings = json.loads((run.policy / "policy.json").read_text())
        policy = restore_policy(load_file(run.policy / "policy.safetensors"), settings)
        probes = load_file(run.policy / "probes.safetensors")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        again = f"train again with bidpilot train --run {run.folder} --again"
        raise InputError(f"{run.policy}: the trained policy is damaged ({error}); {again}") from error
    return policy, probes["observations"], probes["actions"]


def _validator(arena: Arena, settings: Settings) -> Callable[[LearnedPolicy], FloatArray]:
    """Return the validation: policy -> mean R / R* over the run's budgets, for each validation day."""
    campaigns = _campaigns(arena, arena.validate, settings)

    def score(policy: LearnedPolicy) -> FloatArray:
        return np.asarray(np.mean([scores(policy, arena.validate, campaign) for campaign in campaigns], axis=0))

    return score


def _save(run: Run, policy: LearnedPolicy, observations: Floats, actions: Floats) -> None:
    write_atomically(run.policy / "policy.safetensors", save(policy_tensors(policy)))
    write_atomically(run.policy / "probes.safetensors", save({"observations": observations, "actions": actions}))
    write_atomically(run.policy / "policy.json", json.dumps(policy_settings(policy), indent=1))


if __name__ == "__main__":
    from bidpilot.experiments.cli import main

    main("train")
