"""Datasets: returns and neighbours by hand, what is refused, and logs read as the learner would have seen them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bidpilot.agents.offline.dataset import Dataset
from bidpilot.agents.offline.recording import VARIED, Behaviour, TickLog, from_logs, record
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, whole_micros
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import make
from bidpilot.envs.types import Campaign, CampaignState, Feedback, Rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.day import Day
    from bidpilot.envs.features import Floats
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.residual import Residual

TARGETING = Scenario("targeting", reach=1.0, miscalibration=(0.3, 0.3), prior=20.0)


@pytest.fixture(scope="module")
def env(past_days: tuple[Day, ...], forecast: Forecast) -> BiddingEnv:
    return make(TARGETING, ReplayMarket(past_days), forecast)


def arrays(rows: int = 60, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    done = np.zeros(rows, dtype=np.bool_)
    done[5::6] = True
    return {
        "observations": rng.normal(size=(rows, 3)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "rewards": rng.normal(size=rows).astype(np.float32),
        "done": done,
    }


def test_returns_neighbours_and_ticks_by_hand() -> None:
    observations = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]], dtype=np.float32)
    actions = np.array([[0.5], [-0.5], [0.1], [0.3], [-0.2]], dtype=np.float32)
    rewards, done = np.array([1, 2, 4, 8, 16], np.float32), np.array([False, False, True, False, True])
    data = Dataset(observations, actions, rewards, done)
    assert data.returns.tolist() == [7, 6, 4, 24, 16]
    assert data.following.ravel().tolist() == [1, 2, 2, 4, 4]
    assert data.ticks.tolist() == [0, 1, 2, 0, 1]
    assert data.lengths.tolist() == [3, 2]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    data = Dataset(**arrays())
    data.save(tmp_path / "data.safetensors")
    again = Dataset.load(tmp_path / "data.safetensors")
    for name in arrays():
        assert getattr(again, name).tobytes() == getattr(data, name).tobytes()
        assert getattr(again, name).dtype == getattr(data, name).dtype


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04no safetensors", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_missing_or_damaged_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "data.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="no complete dataset"):
        Dataset.load(path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("observations", lambda x: x[:-1], "expected observations"),
        ("observations", lambda x: x[:, 0], "expected observations"),
        ("actions", lambda x: x[:, None], "expected observations"),
        ("rewards", lambda x: x[:, None], "expected"),
        ("done", lambda x: x[:-1], "expected observations"),
        ("observations", lambda x: np.where(x > 2, np.nan, x), "observations must be finite"),
        ("actions", lambda x: np.where(x > 0.9, np.nan, x), "actions must be finite"),
        ("rewards", lambda x: np.where(x > 1, np.inf, x), "rewards must be finite"),
        ("actions", lambda x: 2 * x, r"in -1\.\.1"),
        ("done", lambda x: x & (np.arange(len(x)) < len(x) - 1), "must end an episode"),
        ("actions", lambda x: 0.0 * x + 0.25, "single action per state"),
    ],
)
def test_what_is_no_dataset_is_refused(name: str, change: Callable[[Any], Any], message: str) -> None:
    parts = arrays()
    with pytest.raises(InputError, match=message):
        Dataset(**{**parts, name: change(parts[name])})


def test_actions_that_follow_from_the_observation_are_refused() -> None:
    parts = arrays()
    ruled = np.clip(0.1 * parts["observations"][:, :2], -1, 1).astype(np.float32)
    with pytest.raises(InputError, match="single action per state"):
        Dataset(**{**parts, "actions": ruled})
    noise = 0.1 * np.random.default_rng(1).normal(size=ruled.shape).astype(np.float32)
    assert len(Dataset(**{**parts, "actions": np.clip(ruled + noise, -1, 1)})) == 60


def test_a_recording_holds_whole_episodes_of_what_the_environment_said(env: BiddingEnv) -> None:
    data = record(env, VARIED, 6, np.random.default_rng(1))
    assert data.observations.shape == (6 * 12, *env.observation_space.shape)  # type: ignore[misc]
    assert data.lengths.tolist() == [12] * 6
    env.reset(seed=int(np.random.default_rng(1).integers(2**31)))
    for rows in np.split(np.arange(len(data)), 6):
        observation, _ = env.reset()
        for row in rows:
            assert observation.tobytes() == data.observations[row].tobytes()
            observation, reward, over, _, _ = env.step(data.actions[row])
            assert (np.float32(reward), over) == (data.rewards[row], data.done[row])


def test_the_same_stream_records_the_same_bytes(env: BiddingEnv) -> None:
    one, two, other = (record(env, VARIED, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.actions.tobytes() == two.actions.tobytes()
    assert one.rewards.tobytes() == two.rewards.tobytes()
    assert one.actions.tobytes() != other.actions.tobytes()


def test_the_bare_controller_is_no_data_to_learn_from(env: BiddingEnv) -> None:
    with pytest.raises(InputError, match="single action per state"):
        record(env, [Behaviour(factor=0.0, noise=0.0)], 3, np.random.default_rng(1))
    with pytest.raises(InputError, match="at least 0"):
        Behaviour(noise=-0.1)


def played(env: BiddingEnv, behaviour: Behaviour, seed: int) -> tuple[TickLog, list[Any], list[Any]]:
    """Play an episode; return its log of ticks, and the observations and actions."""
    rng = np.random.default_rng(seed)
    act = behaviour.begin(env.groups, rng)
    observation, _ = env.reset(seed=seed)
    observations, actions, over = [], [], False
    while not over:
        observations.append(observation)
        actions.append(act(observation))
        observation, _, over, _, _ = env.step(actions[-1])
    episode = env.episode
    residual = type(env._residual)([episode.campaign], env.forecast, env.groups, env.scenario)
    log = TickLog(episode.campaign, np.zeros((12, env.groups)), episode._offered, episode._tables)  # type: ignore[union-attr, arg-type]
    bids = bid_along(residual, log, actions)
    return replace(log, multipliers=bids), observations, actions


def bid_along(residual: Residual, log: TickLog, actions: list[Floats]) -> FloatArray:
    left = float(whole_micros(log.campaign.budget)) / MICROS
    state = CampaignState.start(log.campaign, len(actions[0]))._replace(left=left)
    bids = []
    for action, offered, table in zip(actions, log.offered, log.table, strict=True):
        residual.observe(state.lifted())
        bids.append(np.ravel(residual.multipliers(action[None].astype(np.float64))))
        state = state.after(Feedback.of(offered, table))
    return np.array(bids)


def test_a_log_of_ticks_is_read_as_the_learner_would_have_seen_it(env: BiddingEnv) -> None:
    logs, seen, done = zip(*(played(env, Behaviour(factor=0.2, noise=0.1), seed) for seed in (1, 2, 3)), strict=True)
    data = from_logs(logs, env.forecast, env.scenario)
    np.testing.assert_allclose(data.observations, np.concatenate(seen), atol=1e-5)
    np.testing.assert_allclose(data.actions, np.concatenate(done), atol=1e-5)
    revenue = sum(log.table[:, :, 4].sum() for log in logs)
    assert data.rewards.sum() > 0
    assert (data.rewards.reshape(3, 12).sum(axis=1) > 0).sum() == sum(log.table[:, :, 4].sum() > 0 for log in logs)
    assert revenue > 0


def test_logs_that_do_not_fit_are_refused(env: BiddingEnv) -> None:
    log, _, _ = played(env, Behaviour(), 1)
    with pytest.raises(InputError, match=r"out of|larger reach"):
        from_logs([replace(log, multipliers=log.multipliers * 50)], env.forecast, env.scenario)
    with pytest.raises(InputError, match="expected multipliers"):
        replace(log, offered=log.offered[:-1])
    with pytest.raises(InputError, match="multipliers must be numbers"):
        replace(log, multipliers=-log.multipliers)
    with pytest.raises(InputError, match="a campaign at least"):
        from_logs([], env.forecast, env.scenario)
    with pytest.raises(InputError, match="seen only where won"):
        from_logs([log], env.forecast, replace(env.scenario, rules=Rules(censored=False)))


def test_no_bid_is_the_action_that_switches_off(env: BiddingEnv) -> None:
    log, _, _ = played(env, Behaviour(), 1)
    bids = log.multipliers.copy()
    bids[0, 3] = 0.0
    data = from_logs([replace(log, multipliers=bids)], env.forecast, env.scenario)
    assert data.actions[0, 3] == -1.0
    assert (data.actions[0] == -1.0).sum() == 1


def test_one_bid_group_is_read_too(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    campaign = Campaign(forecast.full_cost / 8, 12, forecast.full_cost)
    rng = np.random.default_rng(1)
    at = float(forecast.multiplier(campaign.scarcity))
    table = np.zeros((12, 1, 8))
    table[:, 0, 1] = campaign.budget / 12 * 1e6
    bids = at * np.exp(rng.uniform(-0.3, 0.3, (12, 1)))
    log = TickLog(campaign, bids, past_days[0].volume, table)
    data = from_logs([log], forecast, Scenario(reach=3.0))
    assert data.actions[0, 0] == pytest.approx(np.log(bids[0, 0] / at) / 3.0, abs=1e-6)
    assert data.rewards.tolist() == [0.0] * 12
