"""The batched environments as Stable-Baselines3's vector environments: unmodified learners, the same numbers."""

import json
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from bidpilot.agents.sb3_vector import BatchedVecEnv
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import FloatArray
from bidpilot.envs.bidding import BiddingEnv
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import Market
from bidpilot.envs.scenarios import make
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.traffic_law import TrafficLaw

NAMES = ["bidpilot/Pacing-v0", "bidpilot/PacingLadder-v0", "bidpilot/Targeting-v0", "bidpilot/TargetingLadder-v0"]


@pytest.fixture
def small(market: Market, forecast: Forecast) -> dict[str, Any]:
    return {"market": market, "forecast": forecast}


@pytest.fixture
def many(small: dict[str, Any]) -> BatchedVecEnv:
    return BatchedVecEnv(make("bidpilot/Targeting-v0", **small), 3)


STILL = np.zeros((3, 8), np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_what_a_dummy_of_as_many_gives(name: str, small: dict[str, Any], forecast: Forecast) -> None:
    batched, dummy = BatchedVecEnv(make(name, **small), 3), DummyVecEnv([lambda: make(name, **small)] * 3)
    many: Any
    seen, ends = {}, {}
    for many in (batched, dummy):
        many.seed(8)
        space = many.action_space
        space.seed(1)
        rows = [many.reset().tobytes(), *(repr(sorted(info.items())) for info in many.reset_infos)]
        terminal = []
        for _ in range(2 * forecast.ticks + 3):
            found, rewards, done, infos = many.step(np.array([space.sample() for _ in range(3)]))
            rows += [found.tobytes(), rewards.astype(np.float32).tobytes(), done.tobytes()]
            terminal += [
                (info["terminal_observation"].tobytes(), info["TimeLimit.truncated"]) for info in infos if done[0]
            ]
        seen[many], ends[many] = rows, terminal
    assert seen[batched] == seen[dummy]
    assert ends[batched] == ends[dummy]
    assert len(ends[batched]) == 6


def test_infos_are_empty_but_at_the_end(many: BatchedVecEnv, forecast: Forecast) -> None:
    many.seed(0)
    many.reset()
    for tick in range(1, 2 * forecast.ticks + 1):
        *_, done, infos = many.step(STILL)
        assert all(bool(info) == bool(over) for info, over in zip(infos, done, strict=True))
        assert done.tolist() == [tick % forecast.ticks == 0] * 3


def test_the_end_tells_the_sums_that_a_monitor_tells(small: dict[str, Any], forecast: Forecast) -> None:
    name = "bidpilot/Pacing-v0"
    batched = BatchedVecEnv(make(name, **small), 2)
    batched.seed(3)
    batched.reset()
    alone = [Monitor(make(name, **small)) for _ in range(2)]
    for i, env in enumerate(alone):
        env.reset(seed=3 + i)
    spend = np.zeros(2)
    for _ in range(forecast.ticks):
        action = np.array([[0.4], [-0.4]], np.float32)
        *_, infos = batched.step(action)
        last = [env.step(action[i])[4] for i, env in enumerate(alone)]
        spend += [info["spend"] for info in last]
    for i in range(2):
        mine, theirs = infos[i]["episode"], last[i]["episode"]
        assert (mine["r"], mine["l"]) == (pytest.approx(theirs["r"], abs=2e-6), theirs["l"])  # monitors round
        assert mine["spend"] == pytest.approx(spend[i])
        assert mine["reward/expected"] + mine["reward/controller"] == pytest.approx(mine["r"])


def test_a_later_episode_is_counted_from_nothing(many: BatchedVecEnv, forecast: Forecast) -> None:
    many.seed(0)
    many.reset()
    returns: list[Any] = []
    for tick in range(3 * forecast.ticks):
        _, rewards, done, infos = many.step(STILL + 0.5)
        returns = [*returns, rewards] if tick % forecast.ticks else [rewards]
        if done[0]:
            assert [info["episode"]["r"] for info in infos] == pytest.approx(np.sum(returns, axis=0))


def test_seeds_are_used_once(many: BatchedVecEnv) -> None:
    assert many.seed(5) == [5, 6, 7]
    first, second = many.reset(), many.reset()
    assert first.tobytes() != second.tobytes()
    many.seed(5)
    assert many.reset().tobytes() == first.tobytes()


def test_options_are_for_all_and_for_one_reset(many: BatchedVecEnv) -> None:
    many.seed(0)
    many.set_options({"scarcity": 0.25})
    many.reset()
    assert [info["scarcity"] for info in many.reset_infos] == pytest.approx([0.25] * 3)
    many.reset()
    assert len({info["scarcity"] for info in many.reset_infos}) == 3
    many.set_options([{"scarcity": 0.25}, {}, {}])
    with pytest.raises(InputError, match="share the options of a reset"):
        many.reset()


def test_attributes_and_methods_are_those_of_the_copies(many: BatchedVecEnv) -> None:
    assert many.get_attr("groups") == [8] * 3
    assert many.get_attr("scenario", indices=[0, 2]) == [many._like.scenario] * 2
    assert many.get_attr("render_mode", indices=1) == [None]
    assert many.env_method("render") == [None] * 3
    assert many.env_method("get_wrapper_attr", "groups", indices=[1]) == [8]
    assert many.env_is_wrapped(Monitor) == [False] * 3
    assert many.env_is_wrapped(Monitor, indices=[0]) == [False]
    with pytest.raises(AttributeError, match="reach"):
        many.get_attr("reach")
    with pytest.raises(AttributeError, match=r"groups cannot be set to 3 .* batched environments share settings"):
        many.set_attr("groups", 3)
    with pytest.raises(AttributeError):
        many.env_method("fly")


def test_spaces_are_those_of_one(many: BatchedVecEnv, small: dict[str, Any]) -> None:
    like = make("bidpilot/Targeting-v0", **small)
    assert (many.observation_space, many.action_space) == (like.observation_space, like.action_space)
    assert many.num_envs == 3


@pytest.mark.parametrize(
    "name", [*NAMES, "bidpilot/PacingROS-v0", "bidpilot/PacingHard-v0", "bidpilot/PacingRandom-v0"]
)
@pytest.mark.parametrize("ticks", [0, 7, 30])
def test_episodes_written_down_are_gone_on_with_bit_for_bit(name: str, ticks: int, small: dict[str, Any]) -> None:
    """Also where traffic is fresh, where generators spawn others, and after an episode has ended."""
    users = TrafficMarket(TrafficLaw(opportunities=400, users=50, delay=2.0, ticks=12, once=True))
    like = make(name, **small | {"market": users} if "Hard" in name else small)
    first = BatchedVecEnv(like, 3, recording=True)
    first.seed(8)
    last: Any = first.reset()
    space = first.action_space
    space.seed(1)
    for _ in range(ticks):
        last, *_ = first.step(np.array([space.sample() for _ in range(3)]))
    facts, arrays = first.state()
    second = BatchedVecEnv(like, 3, recording=True)
    seen = second.restore(json.loads(json.dumps(facts)), arrays)
    assert seen.tobytes() == last.tobytes()
    for _ in range(30):
        action = np.array([space.sample() for _ in range(3)])
        one: Any
        two: Any
        (one, paid, done, infos), (two, earned, over, told) = first.step(action), second.step(action)
        assert (one.tobytes(), paid.tobytes(), done.tobytes()) == (two.tobytes(), earned.tobytes(), over.tobytes())
        assert repr(infos) == repr(told)


def test_options_cannot_be_written_down(small: dict[str, Any]) -> None:
    env = BatchedVecEnv(make(NAMES[0], **small), 2, recording=True)
    env.set_options({"scarcity": 0.25})
    with pytest.raises(InputError, match="take no options"):
        env.reset()


def test_the_price_of_a_limit_can_be_set_between_ticks(small: dict[str, Any], forecast: Forecast) -> None:
    """The term of the limit is then this price times the growth of the excess; overspend tells both ways."""
    like = make("bidpilot/PacingROS-v0", **small)
    ends = {}
    for price in (like.scenario.penalty, 0.5):
        env = BatchedVecEnv(like, 4)
        env.core.penalty = price
        env.seed(8)
        env.reset()
        for _ in range(forecast.ticks):
            *_, infos = env.step(np.full((4, 1), 1.0, np.float32))
        ends[price] = [info["episode"] for info in infos]
    for dear, cheap in zip(ends[like.scenario.penalty], ends[0.5], strict=True):
        assert dear["reward/limit"] == pytest.approx(-like.scenario.penalty * max(0.0, dear["overspend"]))
        assert cheap["reward/limit"] == pytest.approx(-0.5 * max(0.0, cheap["overspend"]))
        assert cheap["overspend"] == dear["overspend"]
    assert max(end["overspend"] for end in ends[0.5]) > 0.01


def test_what_cannot_be_is_refused(many: BatchedVecEnv, small: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="at least 1 environment; got 0"):
        BatchedVecEnv(make("bidpilot/Pacing-v0", **small), 0)
    with pytest.raises(InputError, match="no batched form"):
        BatchedVecEnv(make("bidpilot/AdSelection-v0", **small), 2)
    many.reset()
    with pytest.raises(InputError, match="expected actions of 3 environments, got 2"):
        many.step(STILL[:2])


def test_sb3s_own_wrappers_take_it(many: BatchedVecEnv, forecast: Forecast) -> None:
    wrapped = VecMonitor(VecNormalize(many, gamma=1.0))
    wrapped.seed(0)
    wrapped.reset()
    for _ in range(forecast.ticks):
        seen, _, done, infos = wrapped.step(STILL)
    assert isinstance(seen, np.ndarray)
    assert seen.shape == (3, 34)
    assert done.all()
    assert all(np.isfinite(info["terminal_observation"]).all() for info in infos)
    assert [info["episode"]["l"] for info in infos] == [forecast.ticks] * 3


def learned(name: str, small: dict[str, Any], kind: Callable[..., VecEnv], seed: int = 0) -> tuple[FloatArray, Any]:
    """Return the weights and the model of a short training in 4 environments."""
    scaled = VecNormalize(kind(make(name, **small), 4), gamma=1.0)
    settings: dict[str, Any] = {"gamma": 1.0, "seed": seed, "device": "cpu", "policy_kwargs": {"net_arch": [16]}}
    if isinstance(scaled.action_space, gym.spaces.Discrete):
        model: Any = DQN("MlpPolicy", scaled, learning_starts=48, train_freq=16, **settings)
    else:
        model = PPO("MlpPolicy", scaled, n_steps=24, batch_size=48, n_epochs=2, **settings)
    model.learn(192)
    return np.concatenate([x.detach().numpy().ravel() for x in model.policy.parameters()]), model


def dummy(like: BiddingEnv, count: int) -> VecEnv:
    """Return as many copies that are stepped one after the other."""
    parts = (like.scenario, like.market, like.forecast)
    return DummyVecEnv([lambda: make(*parts)] * count)


@pytest.mark.parametrize("name", [NAMES[1], NAMES[2]])  # DQN and PPO
def test_unmodified_learners_learn_in_a_batch_what_they_learn_in_a_dummy(name: str, small: dict[str, Any]) -> None:
    weights, model = learned(name, small, BatchedVecEnv)
    assert np.isfinite(weights).all()
    assert model.num_timesteps == 192
    assert len(model.ep_info_buffer) == 192 // 12  # episodes reach the learner without a monitor
    np.testing.assert_allclose(weights, learned(name, small, dummy)[0], atol=1e-3)  # a dummy's rewards are float32


def test_another_seed_learns_something_else(small: dict[str, Any]) -> None:
    name = "bidpilot/Targeting-v0"
    one, two = (learned(name, small, BatchedVecEnv, seed)[0] for seed in (1, 2))
    assert abs(one - two).max() > 0.05
