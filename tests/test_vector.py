"""The batched environments as Gymnasium's vector environments: the details of that interface."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from bidpilot.ctr.errors import InputError
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import Market
from bidpilot.envs.scenarios import make
from bidpilot.envs.vector import VectorBidding, make_vector, seeds


@pytest.fixture
def small(market: Market, forecast: Forecast) -> dict[str, Any]:
    return {"market": market, "forecast": forecast}


@pytest.fixture
def many(small: dict[str, Any]) -> VectorBidding:
    return make_vector(3, scenario="bidpilot/Targeting-v0", **small)


def still(many: VectorBidding) -> np.ndarray[Any, np.dtype[np.float32]]:
    shape = many.action_space.shape
    assert shape is not None
    return np.zeros(shape, np.float32)


def test_make_vec_makes_one_by_name_alone() -> None:
    many = gym.make_vec("bidpilot/Pacing-v0", num_envs=4)
    assert isinstance(many, VectorBidding)
    assert many.num_envs == 4
    assert many.reset(seed=0)[0].shape == (4, 13)


def test_spaces_are_those_of_the_copies(many: VectorBidding, small: dict[str, Any]) -> None:
    like = make("bidpilot/Targeting-v0", **small)
    assert many.single_action_space == like.action_space
    assert many.single_observation_space == like.observation_space
    assert many.action_space == gym.spaces.Box(-1.0, 1.0, (3, 8), dtype=np.float32)
    assert isinstance(many.observation_space, gym.spaces.Box)
    assert many.observation_space.shape == (3, *(like.observation_space.shape or ()))
    assert many.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


@pytest.mark.parametrize("name", ["Pacing", "PacingLadder", "Targeting", "TargetingLadder"])
def test_samples_of_its_spaces_fit(name: str, small: dict[str, Any]) -> None:
    many = make_vector(3, scenario=f"bidpilot/{name}-v0", **small)
    many.action_space.seed(0)
    seen, _ = many.reset(seed=0)
    for _ in range(25):
        assert many.observation_space.contains(seen)
        seen, rewards, terminated, truncated, _ = many.step(many.action_space.sample())
        assert rewards.shape == terminated.shape == truncated.shape == (3,)
        assert [each.dtype.char for each in (rewards, terminated, truncated)] == ["d", "?", "?"]


def test_all_end_together_and_begin_anew_in_the_same_step(many: VectorBidding, forecast: Forecast) -> None:
    many.reset(seed=0)
    for tick in range(1, 3 * forecast.ticks + 1):
        seen, _, terminated, truncated, infos = many.step(still(many))
        over = tick % forecast.ticks == 0
        assert terminated.tolist() == [over] * 3
        assert not truncated.any()
        assert ("final_obs" in infos) == ("final_info" in infos) == over
        assert ("spend" in infos) == (not over)
        if over:
            first = [seen[i].tolist() for i in range(3)]
            assert infos["_final_obs"].all()
            assert infos["_final_info"].all()
            assert [row.dtype for row in infos["final_obs"]] == [np.float32] * 3
            assert all(row.tolist() != new for row, new in zip(infos["final_obs"], first, strict=True))
            assert infos["final_info"]["spend"].shape == (3,)


def test_infos_are_gymnasiums_own(small: dict[str, Any], forecast: Forecast) -> None:
    many = make_vector(2, scenario="bidpilot/PacingROS-v0", **small)
    plain: Any = SyncVectorEnv(
        [lambda: gym.make("bidpilot/PacingROS-v0", **small)] * 2, autoreset_mode=AutoresetMode.SAME_STEP
    )
    mine, theirs = many.reset(seed=4)[1], plain.reset(seed=4)[1]
    for _ in range(forecast.ticks + 1):
        assert mine.keys() == theirs.keys()
        for name in mine.keys() - {"final_obs", "final_info"}:
            assert np.asarray(mine[name]).tolist() == np.asarray(theirs[name]).tolist()
        if "final_obs" in mine:
            assert [row.tobytes() for row in mine["final_obs"]] == [row.tobytes() for row in theirs["final_obs"]]
            last, its = mine["final_info"], theirs["final_info"]
            assert last.keys() == its.keys()
            assert all(last[name].tolist() == its[name].tolist() for name in last)
        mine, theirs = many.step(still(many))[4], plain.step(still(many))[4]


def test_gymnasiums_wrappers_take_it(many: VectorBidding, forecast: Forecast) -> None:
    counted = RecordEpisodeStatistics(many)
    counted.reset(seed=0)
    total = np.zeros(3)
    for _ in range(forecast.ticks):
        _, rewards, _, _, infos = counted.step(np.full((3, 8), 0.3, np.float32))
        total += rewards
    np.testing.assert_allclose(infos["episode"]["r"], total)
    assert infos["episode"]["l"].tolist() == [forecast.ticks] * 3


def test_seeds_count_on_from_the_first_or_are_given(many: VectorBidding) -> None:
    one = many.reset(seed=5)[0]
    assert many.reset(seed=[5, 6, 7])[0].tobytes() == one.tobytes()
    assert many.reset(seed=[7, 6, 5])[0].tobytes() == one[::-1].tobytes()
    assert many.reset()[0].tobytes() != one.tobytes()
    assert seeds(3, 2) == [3, 4]
    assert seeds(None, 2) == [None, None]
    assert seeds([None, 4], 2) == [None, 4]
    with pytest.raises(InputError, match="expected a seed for each of 3 environments, got 2"):
        many.reset(seed=[1, 2])


def test_options_are_for_all(many: VectorBidding) -> None:
    _, infos = many.reset(seed=0, options={"scarcity": 0.25})
    assert infos["scarcity"] == pytest.approx(0.25)
    assert infos["_scarcity"].all()
    with pytest.raises(InputError, match="unknown option of reset"):
        many.reset(options={"weather": 1})


def test_the_next_episodes_are_free_of_the_options_of_the_first(many: VectorBidding, forecast: Forecast) -> None:
    many.reset(seed=0, options={"scarcity": 0.25})
    for _ in range(forecast.ticks):
        infos = many.step(still(many))[4]
    assert len(set(infos["scarcity"].tolist())) == 3


def test_final_observations_are_not_overwritten(many: VectorBidding, forecast: Forecast) -> None:
    many.reset(seed=0)
    for _ in range(forecast.ticks):
        infos = many.step(still(many))[4]
    kept = [row.tobytes() for row in infos["final_obs"]]
    for _ in range(forecast.ticks):
        many.step(still(many))
    assert [row.tobytes() for row in infos["final_obs"]] == kept


def test_wrong_counts_are_refused(small: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="a batch needs at least 1 environment; got 0"):
        make_vector(0, scenario="bidpilot/Pacing-v0", **small)
    with pytest.raises(InputError, match="unknown scenario 'Pacing'"):
        make_vector(2, scenario="Pacing", **small)
    many = make_vector(3, scenario="bidpilot/Pacing-v0", **small)
    many.reset(seed=0)
    with pytest.raises(InputError, match="expected actions of 3 environments, got 2"):
        many.step(np.zeros((2, 1), np.float32))
