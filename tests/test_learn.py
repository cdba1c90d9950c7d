"""A run's learner by name: each gives a policy of its own, and those from logs say that they cannot be resumed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents.callbacks import Watch
from bidpilot.agents.names import FROM_LOGS
from bidpilot.agents.offline import bc, imitation, iql, td3bc
from bidpilot.ctr.errors import InputError
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import make
from bidpilot.envs.traffic_law import TrafficLaw
from bidpilot.experiments import learn as module
from bidpilot.experiments.config import LearnerSettings
from bidpilot.experiments.learn import Task, check_resumable, learn

if TYPE_CHECKING:
    from bidpilot.agents.learned import Actor
    from bidpilot.envs.bidding import BiddingEnv

SMALL = Scenario("targeting", prior=20.0, traffic=TrafficLaw(opportunities=300.0, ticks=8, segments=3, once=False))


def env() -> BiddingEnv:
    return make(SMALL)


def observed(_: Actor) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return one observation twice."""
    return np.stack([env().reset(seed=1)[0]] * 2)


TASK = Task(env, lambda actor: np.array([-float(np.abs(actor.weights[0]).sum())]), observed, 3)


@pytest.mark.parametrize("name", [*FROM_LOGS, "ppo"])
def test_every_kind_of_learner_is_trained_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORDED", 4)
    for each in (bc, iql, td3bc):
        monkeypatch.setattr(each, "Config", partial(each.Config, steps=8, batch=16, hidden=(8,)))
    monkeypatch.setattr(imitation, "Config", partial(imitation.Config, steps=8, batch=16, episodes=2, rounds=1))
    settings = LearnerSettings(algorithm=name, steps=400, envs=2, evaluations=2)
    config, trained = learn(settings, TASK, Watch())
    assert config.evaluations == 2
    assert trained.actor.groups == 3
    assert trained.actor.gap(trained.observations, trained.actions) <= 1e-5


def test_what_learns_from_logs_leaves_no_checkpoints() -> None:
    check_resumable("ppo")
    with pytest.raises(InputError, match="imitation trains in minutes and leaves no checkpoints; train again without"):
        check_resumable("imitation")


def test_the_settings_name_every_learner() -> None:
    with pytest.raises(ValueError, match=r"'pp0' is no learner; name one of ppo, .*, imitation, bc, td3bc, iql"):
        LearnerSettings(algorithm="pp0")
