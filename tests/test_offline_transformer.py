"""The decision transformer: it looks back only, does as it is asked, and is played as it was trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bidpilot.agents.offline import decision_transformer
from bidpilot.agents.offline.attention import Sequencer
from bidpilot.agents.offline.dataset import Dataset
from bidpilot.agents.offline.decision_transformer import Config, Sequel, Sequenced
from bidpilot.agents.offline.recording import VARIED, record
from bidpilot.agents.offline.sequence_policy import SequencePolicy
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import make
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.features import Floats
    from bidpilot.envs.forecast import Forecast

QUICK = Config(steps=150, batch=32, learning_rate=3e-3, evaluations=1, window=3, width=16, depth=1, heads=2)
TICKS = 4


def toy(episodes: int = 400) -> Dataset:
    """Return episodes that earn as much as they act: a level per episode, and a little noise."""
    rng = np.random.default_rng(1)
    level = np.repeat(rng.uniform(-0.8, 0.8, episodes), TICKS)
    actions = np.clip(level + rng.normal(0.0, 0.1, len(level)), -1, 1).astype(np.float32)
    done = np.arange(len(level)) % TICKS == TICKS - 1
    observations = rng.normal(size=(len(level), 2)).astype(np.float32)
    return Dataset(observations, actions[:, None], actions.copy(), done)


def later_is_better(_sequel: Sequel) -> FloatArray:
    later_is_better.count += 1  # type: ignore[attr-defined]
    return np.array([float(later_is_better.count)])  # type: ignore[attr-defined]


later_is_better.count = 0  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def trained() -> Sequenced:
    return decision_transformer.train(QUICK, toy(), later_is_better, 1)


def earned(sequel: Sequel, level: float) -> float:
    """Play the toy: what is earned is the sum of the actions."""
    rng = np.random.default_rng(2)
    observations: list[Floats] = []
    actions: list[Floats] = []
    for tick in range(TICKS):
        observations.append(rng.normal(size=2).astype(np.float32))
        actions.append(sequel.act(sequel.target(level), observations, actions, tick).astype(np.float32))
    return float(np.sum(actions))


def test_who_asks_for_more_gets_more(trained: Sequenced) -> None:
    returns = [earned(trained.sequel, level) for level in (0.1, 0.5, 0.9)]
    assert returns[0] < returns[1] < returns[2]
    assert returns[2] - returns[0] > 1.5


def test_targets_are_quantiles_of_what_was_earned_from_each_tick_on(trained: Sequenced) -> None:
    data = toy()
    returns = data.returns.reshape(-1, TICKS) / data.returns.std()
    for level in (0.0, 0.37, 0.9, 1.0):
        np.testing.assert_allclose(trained.sequel.target(level), np.quantile(returns, level, axis=0), atol=0.02)
    with pytest.raises(InputError, match="level must be a share"):
        trained.sequel.target(1.1)


def test_an_action_depends_on_nothing_that_comes_later() -> None:
    generator = torch.Generator().manual_seed(1)
    network = Sequencer(6, 3, 2, (16, 2, 2), generator)
    network.head.weight.data.mul_(100.0)
    parts = [torch.randn(shape, generator=generator) for shape in ((1, 6), (1, 6, 3), (1, 6, 2))]
    ticks = torch.arange(6)[None]
    first = network(*parts, ticks)
    for index in range(3):
        changed = [part.clone() for part in parts]
        changed[index][:, 3:] += 1.0
        again = network(*changed, ticks)
        own = 4 if index == 2 else 3  # an action is chosen before it is known, so its own tick may not change
        assert torch.equal(again[:, :own], first[:, :own])
        assert not torch.allclose(again[:, own:], first[:, own:])


def test_at_work_it_looks_at_the_window_it_was_trained_on(trained: Sequenced) -> None:
    sequel, rng = trained.sequel, np.random.default_rng(3)
    seen = [rng.normal(size=2).astype(np.float32) for _ in range(TICKS)]
    done = [rng.uniform(-1, 1, 1).astype(np.float32) for _ in range(TICKS - 1)]
    target = sequel.target(0.8)
    with torch.no_grad():
        whole = sequel.network(
            torch.from_numpy(target[1:].astype(np.float32))[None],
            sequel.scaler(np.stack(seen[1:]))[None],
            torch.from_numpy(np.stack([*done[1:], np.ones(1, np.float32)]))[None],
            torch.arange(1, TICKS)[None],
        )
    assert sequel.act(target, seen, done, 3)[0] == pytest.approx(whole[0, -1, 0].item(), abs=1e-6)
    other = [seen[0] + 1, *seen[1:]]
    assert sequel.act(target, other, done, 3) == sequel.act(target, seen, done, 3)


def test_the_same_seed_gives_the_same_bytes(trained: Sequenced) -> None:
    before = torch.get_rng_state()
    again, other = (decision_transformer.train(QUICK, toy(), later_is_better, seed) for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    states = [each.sequel.network.state_dict() for each in (trained, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["when"], states[2]["when"])


def test_the_best_of_the_curve_is_kept() -> None:
    count = iter(range(100))
    result = decision_transformer.train(replace(QUICK, steps=20), toy(50), lambda _: np.array([-float(next(count))]), 1)
    assert result.curve["steps"].tolist() == [0, 20]
    assert list(result.curve.columns) == ["steps", "score", "low", "high"]
    assert abs(earned(result.sequel, 0.9)) < 0.2  # the untrained: nearly the controller


def test_what_is_saved_is_loaded(trained: Sequenced, tmp_path: Path) -> None:
    path = tmp_path / "sequel.safetensors"
    trained.sequel.save(path)
    again = Sequel.load(path)
    assert [earned(again, level) for level in (0.1, 0.9)] == [earned(trained.sequel, level) for level in (0.1, 0.9)]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="no complete decision transformer"):
        Sequel.load(path)


def test_episodes_of_other_lengths_and_settings_that_cannot_be_are_refused() -> None:
    data = toy(50)
    done = data.done.copy()
    done[0] = True
    with pytest.raises(InputError, match="episodes of one length"):
        decision_transformer.train(QUICK, replace(data, done=done), later_is_better, 1)
    with pytest.raises(InputError, match="heads must divide"):
        replace(QUICK, heads=3)
    with pytest.raises(InputError, match="window must be above 0"):
        replace(QUICK, window=0)


@pytest.mark.parametrize("kind", ["pacing", "targeting"])
def test_its_policy_plays_a_campaign(past_days: tuple[Day, ...], forecast: Forecast, kind: str) -> None:
    scenario = Scenario(kind)
    data = record(make(scenario, ReplayMarket(past_days), forecast), VARIED, 6, np.random.default_rng(1))
    result = decision_transformer.train(replace(QUICK, steps=10), data, later_is_better, 1)
    policy = SequencePolicy(result.sequel, scenario, forecast)
    campaign = Campaign(forecast.full_cost / 8, 12, forecast.full_cost)
    runs = [run_episode(policy, past_days[0], campaign, np.random.default_rng(seed)) for seed in (1, 2)]
    assert runs[0].table.tobytes() == runs[1].table.tobytes()
    assert 0 < runs[0].total("spend") <= campaign.budget * 1e6
