"""A training that was killed and gone on with ends bit for bit where it would have, whatever the learner."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bidpilot.agents import sb3
from bidpilot.agents.algorithms import Config
from bidpilot.agents.callbacks import Keeper, Watch
from bidpilot.agents.checkpoint import Checkpoints
from bidpilot.agents.learned import Actor, Floats, LearnedPolicy
from bidpilot.agents.rollout import run_episode
from bidpilot.agents.snapshot import taken
from bidpilot.ctr.errors import InputError
from bidpilot.envs.batched import Batched
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.scenario import Limit, Scenario
from bidpilot.envs.scenarios import default_market, make
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.agents.trained import Trained
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv

TICKS = 12
DAYS = draw_days(default_market(200, TICKS), 4, np.random.default_rng(4))
FORECAST = Forecast.of(DAYS[:3])
SMALL = Config(steps=480, envs=4, rollout=20, batch=40, epochs=2, hidden=(8, 8), memory=4, sample=16, target=40)
"""Rollouts end within episodes."""

NUMBERS = Scenario("targeting", reach=1.0, miscalibration=(0.3, 0.3))
LIMITED = Scenario(limit=Limit("tightness", 0.3, 0.5), reward=("expected", "controller", "limit"))
LADDER = Scenario("pacing", action="ladder")
CASES = [
    ("ppo", NUMBERS),
    ("ppo", LADDER),
    ("recurrent_ppo", NUMBERS),
    ("maskable_ppo", LADDER),
    ("sac", NUMBERS),
    ("td3", NUMBERS),
    ("tqc", NUMBERS),
    ("dqn", LADDER),
    ("qrdqn", LADDER),
]


@dataclass
class Work:
    """A training, and what its last moment held."""

    config: Config
    scenario: Scenario = NUMBERS
    dual: float | None = None
    scores: tuple[float, ...] = ()

    def env(self) -> BiddingEnv:
        """Make an environment."""
        return make(self.scenario, ReplayMarket(DAYS[:3]), FORECAST)

    def validate(self, actor: Actor) -> FloatArray:
        """Score by an episode, which draws nothing, or as was said; draw to be sure that it does no harm."""
        np.random.random(3)  # noqa: NPY002 - the generator that SB3 uses
        if self.scores:
            first, *rest = self.scores
            self.scores = tuple(rest)
            return np.array([first])
        asked = Campaign(FORECAST.full_cost / 8, TICKS, FORECAST.full_cost)
        if self.scenario.limit is not None:
            asked = replace(asked, cost_limit=1.0)
        policy = LearnedPolicy(actor, self.scenario, FORECAST)
        return np.array([run_episode(policy, DAYS[3], asked, np.random.default_rng(0)).total("expected")])

    def observe(self, actor: Actor) -> Floats:
        """Return observations of the right width."""
        return np.random.default_rng(2).normal(size=(20, len(actor.mean))).astype(np.float32)

    def train(self, watch: Watch) -> Trained:
        """Train."""
        return sb3.train(self.config, self.env, self.validate, self.observe, 1, replace(watch, dual=self.dual))


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
    """Return a journal that is written to before every rollout."""
    monkeypatch.setattr("bidpilot.agents.checkpoint.SHARE", 1e9)
    return Checkpoints(tmp_path, every=0.0)


@pytest.fixture
def last(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return where everything that a training held at its end will be."""
    held: dict[str, Any] = {}
    whole = Keeper.finish

    def finish(keeper: Keeper) -> None:
        whole(keeper)
        held["facts"], held["arrays"] = taken(keeper.model)

    monkeypatch.setattr(Keeper, "finish", finish)
    return held


class Killed(Exception):  # noqa: N818 - it is no error of the code
    """Stands for a kill."""


def killed_after(ticks: int, monkeypatch: pytest.MonkeyPatch, work: Work, watch: Watch) -> None:
    """Train until the environments have been stepped so many times."""
    count = [0]
    step = Batched.step

    def steps(core: Batched, actions: Any) -> Any:  # noqa: ANN401 - as the space has it
        count[0] += 1
        if count[0] > ticks:
            raise Killed
        return step(core, actions)

    with monkeypatch.context() as patch:
        patch.setattr(Batched, "step", steps)
        with pytest.raises(Killed):
            work.train(watch)


def comparable(trained: Trained, held: dict[str, Any]) -> list[Any]:
    """Return all of a result: the policy, the curve, and everything that the training held at its end."""
    arrays = {name: array.tobytes() for name, array in held["arrays"].items()}
    parts: list[Any] = [trained.actor.mean, *trained.actor.weights, *trained.actor.biases]
    actor = [part.tobytes() for part in parts]
    return [actor, trained.curve.to_csv(), trained.actions.tobytes(), arrays, json.dumps(held["facts"])]


@pytest.mark.parametrize(("algorithm", "scenario"), CASES, ids=lambda case: case if isinstance(case, str) else "")
def test_what_was_killed_ends_where_it_would_have(
    algorithm: str, scenario: Scenario, journal: Checkpoints, last: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, watch = Work(replace(SMALL, algorithm=algorithm), scenario), Watch(journal=journal)
    plain = comparable(work.train(replace(watch, journal=replace(journal, folder=journal.folder / "other"))), last)
    for ticks in (47, 41):  # killed twice, each time in an episode and in a rollout
        killed_after(ticks, monkeypatch, work, watch)
    again = work.train(watch)
    assert again.story[0].startswith("went on from the checkpoint of step")
    for one, two in zip(plain, comparable(again, last), strict=True):
        assert one == two


def test_recording_and_checkpoints_change_nothing(journal: Checkpoints) -> None:
    with_journal = comparable(Work(SMALL).train(Watch(journal=journal)), {"arrays": {}, "facts": None})
    assert comparable(Work(SMALL).train(Watch()), {"arrays": {}, "facts": None}) == with_journal


def test_a_training_of_other_settings_or_days_is_not_gone_on_with(
    journal: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(journal=journal)
    killed_after(47, monkeypatch, Work(SMALL), watch)
    with pytest.raises(InputError, match="made with other settings"):
        Work(replace(SMALL, learning_rate=1e-3)).train(watch)
    with pytest.raises(InputError, match="of other days, forecasts or scenarios"):
        Work(SMALL, replace(NUMBERS, gain=NUMBERS.gain * 2)).train(watch)


def test_a_checkpoint_that_was_tampered_with_is_refused(journal: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where its digest was made to fit: what is missing or of another shape is no checkpoint of this training."""
    work, watch = Work(SMALL), Watch(journal=journal)
    killed_after(47, monkeypatch, work, watch)
    forger = sb3._keyed(watch, SMALL, 1).journal
    assert forger is not None
    saved = forger.load()
    assert saved is not None
    bias = next(name for name in saved.arrays if name.endswith("action_net.bias") and "torch" in name)
    for arrays in (
        saved.arrays | {bias: np.zeros(3, np.float32)},
        {name: array for name, array in saved.arrays.items() if name != bias},
    ):
        forger.save(10_000, saved.facts, arrays)
        with pytest.raises(InputError, match="does not fit this training"):
            work.train(watch)
    for left_out in ("model", "keeper", "environments"):
        forger.save(10_000, {name: part for name, part in saved.facts.items() if name != left_out}, saved.arrays)
        with pytest.raises(InputError, match="does not fit this training"):
            work.train(watch)


def test_no_better_for_long_ends_the_training(journal: Checkpoints) -> None:
    scores = (0.5, 0.4, 0.6, 0.6, 0.1, 0.9, 0.9)
    trained = Work(replace(SMALL, evaluations=6), scores=scores).train(Watch(patience=2, journal=journal))
    assert trained.curve["score"].tolist() == [0.5, 0.4, 0.6, 0.6, 0.1]
    assert trained.story == ("stopped early at step 320: no better in 2 validations",)
    assert not trained.unfinished


def test_over_time_it_is_validated_saved_and_gone_on_with(journal: Checkpoints) -> None:
    plain = comparable(Work(SMALL).train(Watch()), {"arrays": {}, "facts": None})
    seldom = Watch(minutes=1e-9, journal=replace(journal, every=1e9))
    first = Work(SMALL).train(seldom)
    assert first.curve["steps"].tolist() == [0]
    assert first.story == ("stopped at step 0: the time limit of 1e-09 minutes is over",)
    assert first.unfinished
    second = Work(SMALL).train(replace(seldom, minutes=None))
    assert second.story == ("went on from the checkpoint of step 0",)
    assert not second.unfinished
    assert comparable(second, {"arrays": {}, "facts": None}) == plain


def test_curves_are_drawn(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained = Work(SMALL).train(Watch(board=tmp_path))
    curves = EventAccumulator(str(tmp_path))
    curves.Reload()
    drawn = curves.Scalars("validation/score")
    assert [point.step for point in drawn] == trained.curve["steps"].tolist()
    assert [point.value for point in drawn] == pytest.approx(trained.curve["score"].tolist())
    assert {"train/loss", "rollout/ep_rew_mean"} <= set(curves.Tags()["scalars"])


def test_without_tensorboard_curves_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bidpilot.agents.callbacks.importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"TensorBoard is not installed; pip install \"bidpilot\[tb\]\""):
        Watch(board=tmp_path)


@pytest.mark.parametrize("name", ["patience", "minutes", "dual"])
def test_figures_out_of_range_are_refused(name: str) -> None:
    given: dict[str, Any] = {name: 0}
    with pytest.raises(InputError, match=f"{name} must be above 0; got 0"):
        Watch(**given)


def test_the_price_of_the_limit_is_learned_and_gone_on_with(
    journal: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, watch = Work(SMALL, replace(LIMITED, penalty=0.1), dual=0.5), Watch(journal=journal)
    plain = work.train(replace(watch, journal=None))
    mu, slack = (plain.curve[name].to_numpy()[:-1] for name in ("mu", "slack"))  # one update a validation, but the last
    assert mu[0] == 0.1
    assert mu[1:] == pytest.approx(np.maximum(0.0, mu[:-1] - 0.5 * slack[1:]))
    assert slack[1:].min() < 0 < np.ptp(mu)
    killed_after(61, monkeypatch, work, watch)
    assert work.train(watch).curve.to_csv() == plain.curve.to_csv()


def test_a_limit_that_never_binds_costs_nothing() -> None:
    slack = replace(LIMITED, limit=Limit("tightness", 50.0, 60.0))
    curve = Work(SMALL, slack, dual=5.0).train(Watch()).curve
    assert (curve["mu"].iloc[0], curve["mu"].iloc[-1]) == (slack.penalty, 0.0)
    assert curve["slack"].iloc[-1] > 0


@pytest.mark.parametrize(
    ("algorithm", "scenario", "message"),
    [("ppo", NUMBERS, "needs a scenario with a cost limit"), ("sac", LIMITED, "SAC learns from stored ones")],
)
def test_a_multiplier_needs_a_limit_and_fresh_rewards(algorithm: str, scenario: Scenario, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Work(replace(SMALL, algorithm=algorithm), scenario, dual=0.1).train(Watch())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("algorithm", ["ppo", pytest.param("sac", marks=pytest.mark.slow)])
def test_a_process_killed_by_the_system_is_gone_on_with(algorithm: str, tmp_path: Path) -> None:
    """Three processes, of which one is killed by SIGKILL in the middle: the digests are equal."""
    folder = tmp_path / algorithm
    victim = started(algorithm, folder)
    while victim.poll() is None and len(list(folder.glob("*.json"))) < 2:
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    assert list(folder.glob("step-*.json"))
    story, digest = told(started(algorithm, folder))
    assert "went on from the checkpoint of step" in story
    assert told(started(algorithm, tmp_path / "none")) == ("[]", digest)


def started(algorithm: str, folder: Path) -> subprocess.Popen[str]:
    """Start this file as a program that trains."""
    command = [sys.executable, __file__, algorithm, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def told(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return the story and the digest of the final weights."""
    out, _ = process.communicate()
    assert process.returncode == 0
    story, digest = out.splitlines()
    return story, digest


def main(algorithm: str, folder: Path) -> None:
    """Train, slowly enough to be killed, and print how it went and a digest of the weights."""
    journal = None if folder.name == "none" else Checkpoints(folder, every=0.02)
    config = replace(SMALL, algorithm=algorithm, steps=4_000 if algorithm == "ppo" else 1_200, evaluations=40)
    trained = Work(config).train(Watch(journal=journal))
    parts: list[Any] = [trained.actor.mean, trained.actor.scale, *trained.actor.weights, *trained.actor.biases]
    digest = hashlib.sha256(b"".join(part.tobytes() for part in parts) + trained.curve.to_csv().encode())
    print(json.dumps(trained.story), digest.hexdigest(), sep="\n")  # noqa: T201 - read by the test


if __name__ == "__main__":
    from pathlib import Path

    main(sys.argv[1], Path(sys.argv[2]))
