"""The contract of every registered environment."""

import pickle
from dataclasses import replace
from typing import Any, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_checker import check_env as sb3_check
from stable_baselines3.common.vec_env import DummyVecEnv

from bidpilot.agents.base import Past
from bidpilot.agents.incremental import Config as Incremental
from bidpilot.agents.recalibrate import Config as Recalibrate
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS
from bidpilot.envs.bidding import BiddingEnv
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.features import names, table
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.market import Market
from bidpilot.envs.observations import EVERY, FEATURES
from bidpilot.envs.rewards import REWARDS
from bidpilot.envs.scenarios import find_scenario, make
from bidpilot.envs.simulator import play
from bidpilot.envs.types import COLUMNS, Rules

Floats = npt.NDArray[np.float32]
Step = tuple[bytes, float, bool, bool, str]


@pytest.fixture(params=["bidpilot/Pacing-v0", "bidpilot/Targeting-v0"])
def env_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def env(env_id: str, market: Market, forecast: Forecast) -> BiddingEnv:
    return make(env_id, market, forecast)


def made(env_id: str, market: Market, forecast: Forecast) -> gym.Env[Floats, Floats]:
    """Make an environment as a user does."""
    return cast("gym.Env[Floats, Floats]", gym.make(env_id, market=market, forecast=forecast))


def zero(env: BiddingEnv) -> Floats:
    """Return the action of the controller."""
    return np.zeros(env.groups, np.float32)


def play_on(env: BiddingEnv, rng: np.random.Generator) -> list[Step]:
    """Play random actions to the end of the episode."""
    steps: list[Step] = []
    while not steps or not steps[-1][2]:
        action = rng.uniform(-1, 1, env.groups).astype(np.float32)
        seen, reward, terminated, truncated, info = env.step(action)
        steps.append((seen.tobytes(), reward, terminated, truncated, repr(info)))
    return steps


# --- the interface ------------------------------------------------------------------------------------------------


def test_both_checkers_are_content(env_id: str, market: Market, forecast: Forecast) -> None:
    gymnasium_check(made(env_id, market, forecast).unwrapped)
    sb3_check(made(env_id, market, forecast))


def test_it_needs_nothing_but_its_name(env_id: str) -> None:
    env = gym.make(env_id)
    seen, _ = env.reset(seed=0)
    assert seen in env.observation_space


def test_the_documentation_has_the_usual_headings(env: BiddingEnv) -> None:
    text = type(env).__doc__ or ""
    for heading in ("Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End"):
        assert f"## {heading}\n" in text
    assert table(EVERY) in text


def test_spaces_are_finite(env: BiddingEnv) -> None:
    assert isinstance(env.observation_space, gym.spaces.Box)
    assert env.observation_space.is_bounded()
    assert env.observation_space.shape == (len(names(FEATURES, env.groups)),)
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (env.groups,), dtype=np.float32)


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_unmodified_learners_learn(env_id: str, market: Market, forecast: Forecast, algorithm: type[PPO | SAC]) -> None:
    settings: dict[str, Any] = {"n_steps": 128, "n_epochs": 2} if algorithm is PPO else {"learning_starts": 200}
    env = made(env_id, market, forecast)
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **settings).learn(256)
    assert model.num_timesteps == 256
    action, _ = model.predict(env.reset(seed=0)[0], deterministic=True)
    assert action in env.action_space


# --- seeds --------------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes(env_id: str, market: Market, forecast: Forecast) -> None:
    runs: list[list[Any]] = []
    for seed in (7, 7, 8):
        env = make(env_id, market, forecast)
        rng = np.random.default_rng(1)
        start = env.reset(seed=seed)
        first = play_on(env, rng)
        again = env.reset()
        runs.append([start[0].tobytes(), repr(start[1]), first, again[0].tobytes(), play_on(env, rng)])
    assert runs[0] == runs[1]
    for one, other in zip(runs[0], runs[2], strict=True):
        assert one != other


def test_seeding_again_starts_again(env: BiddingEnv) -> None:
    days = []
    for seed in (3, None, 3, None):
        env.reset(seed=seed)
        days.append((env.episode.day.traffic_hash, env.episode.campaign.budget))
    assert days[:2] == days[2:]
    assert days[0] != days[1]


def test_days_do_not_depend_on_what_is_done(env: BiddingEnv) -> None:
    seen = []
    for actions in (1, 2):
        env.reset(seed=5)
        play_on(env, np.random.default_rng(actions))
        env.reset()
        seen.append((env.episode.day.traffic_hash, env.episode.campaign.budget))
    assert seen[0] == seen[1]


def test_traffic_does_not_depend_on_money_nor_money_on_traffic(env: BiddingEnv, past_days: tuple[Day, ...]) -> None:
    def drawn(options: dict[str, Any]) -> list[tuple[str, float]]:
        resets = [env.reset(seed=4, options=options), env.reset(options=options)]
        assert len(resets) == 2
        return [(env.episode.day.traffic_hash, info["scarcity"]) for _, info in resets]

    plain, rich, given = drawn({}), drawn({"scarcity": 0.5}), drawn({"day": past_days[0]})
    assert [day for day, _ in plain] == [day for day, _ in rich]
    assert [money for _, money in plain] == [money for _, money in given]
    assert [money for _, money in rich] == pytest.approx([0.5, 0.5])


def test_budgets_cover_the_range_and_are_unrelated_to_volume(env: BiddingEnv) -> None:
    env.reset(seed=0)
    draws = np.array([(np.log(env.reset()[1]["scarcity"]), env.episode.day.full_cost) for _ in range(150)])
    low, high = np.log(env.scenario.scarcity)
    assert low <= draws[:, 0].min() < low + 0.3 < high - 0.3 < draws[:, 0].max() <= high
    assert abs(np.corrcoef(draws.T)[0, 1]) < 4 / np.sqrt(150)


def test_pickled_in_mid_episode_it_goes_on_alike(env: BiddingEnv) -> None:
    env.reset(seed=2)
    for _ in range(5):
        env.step(np.full(env.groups, 0.3, np.float32))
    copy = pickle.loads(pickle.dumps(env))  # noqa: S301 - our own bytes: worker processes get environments like this
    ends = []
    for each in (env, copy):
        rng = np.random.default_rng(0)
        rest = play_on(each, rng)
        each.reset()
        ends.append((rest, play_on(each, rng)))
    assert ends[0] == ends[1]


def test_side_by_side_is_one_by_one(env_id: str, market: Market, forecast: Forecast) -> None:
    together = gym.vector.SyncVectorEnv([lambda: made(env_id, market, forecast)] * 2)
    alone = [make(env_id, market, forecast) for _ in range(2)]
    seen, _ = together.reset(seed=[1, 2])
    for row, env, seed in zip(seen, alone, (1, 2), strict=True):
        np.testing.assert_array_equal(row, env.reset(seed=seed)[0])
    rng = np.random.default_rng(0)
    for _ in range(12):
        actions = rng.uniform(-1, 1, (2, alone[0].groups)).astype(np.float32)
        seen, rewards, *_ = together.step(actions)
        for i, env in enumerate(alone):
            single = env.step(actions[i])
            np.testing.assert_array_equal(seen[i], single[0])
            assert rewards[i] == single[1]


# --- the end ------------------------------------------------------------------------------------------------------


def test_it_terminates_at_the_horizon_and_never_truncates(env: BiddingEnv, forecast: Forecast) -> None:
    for scarcity in (1e-6, 0.1, 50.0):  # money that is gone does not end a day
        env.reset(seed=1, options={"scarcity": scarcity})
        steps = play_on(env, np.random.default_rng(0))
        assert len(steps) == forecast.ticks
        assert [step[2] for step in steps] == [False] * (forecast.ticks - 1) + [True]
        assert not any(step[3] for step in steps)


def test_the_last_observation_is_of_the_episode_that_ended(env: BiddingEnv, forecast: Forecast) -> None:
    env.reset(seed=1, options={"scarcity": 0.3})
    for _ in range(forecast.ticks):
        seen, *_ = env.step(zero(env))
    last = dict(zip(names(FEATURES, env.groups), seen.tolist(), strict=True))
    assert last["time_left"] == 0
    assert last["budget_left"] == pytest.approx(env.episode.left / MICROS / env.episode.campaign.budget, abs=1e-6)
    assert last["scarcity"] == pytest.approx(np.log2(0.3) / 6)


def test_sb3_gets_the_last_observation(env_id: str, market: Market, forecast: Forecast) -> None:
    alone = make(env_id, market, forecast)
    many = DummyVecEnv([lambda: made(env_id, market, forecast)])
    many.seed(6)
    np.testing.assert_array_equal(cast("Floats", many.reset())[0], alone.reset(seed=6)[0])
    for _ in range(forecast.ticks):
        after, _, done, infos = many.step(zero(alone)[None])
        last, *_ = alone.step(zero(alone))
    assert done[0]
    assert not infos[0]["TimeLimit.truncated"]
    np.testing.assert_array_equal(infos[0]["terminal_observation"], last)
    np.testing.assert_array_equal(cast("Floats", after)[0], alone.reset()[0])


# --- what is played -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scarcity", [1 / 64, 1 / 5, 3 / 4])
@pytest.mark.parametrize("auction", ["second_price", "first_price"])
def test_the_zero_action_is_the_controller_to_the_bit(
    env_id: str, market: Market, past_days: tuple[Day, ...], scarcity: float, auction: str
) -> None:
    scenario = replace(find_scenario(env_id), rules=Rules(auction))
    past = Past(past_days, Forecast.of(past_days, auction))
    settings = Incremental(scenario.gain) if scenario.prior is None else Recalibrate(scenario.prior, scenario.gain)
    env, policy = make(scenario, market, past.forecast), settings.build(past)
    for seed in range(5):
        _, info = env.reset(seed=seed, options={"scarcity": scarcity})
        day, campaign = env.episode.day, env.episode.campaign
        ticks, earned, rewards = [], 0.0, []
        while not env.episode.over:
            _, reward, _, _, info = env.step(zero(env))
            money = {"spend": MICROS, "revenue": MICROS}
            ticks.append([np.rint(info[name] * money[name]) if name in money else info[name] for name in COLUMNS])
            earned += info["reward/expected"]
            rewards.append(reward)
        result = run_episode(policy, day, campaign, np.random.default_rng(0))
        assert result.table.tobytes() == np.array(ticks).tobytes() == env.episode.result().table.tobytes()
        best = float(best_value(day, np.array([campaign.budget]))[0])
        assert info["best_value"] == best
        assert earned == pytest.approx(result.total("expected") / best, rel=1e-12)
        assert set(rewards) == {0.0}  # the controller earns what the controller earns


def test_the_reward_is_the_sum_of_its_terms(market: Market, forecast: Forecast, env_id: str) -> None:
    for terms in (("expected",), ("controller",), tuple(REWARDS)):
        env = make(replace(find_scenario(env_id), reward=terms), market, forecast)
        env.reset(seed=3)
        _, reward, _, _, info = env.step(np.full(env.groups, -1.0, np.float32))
        assert {name for name in info if name.startswith("reward/")} == {f"reward/{name}" for name in terms}
        assert reward == sum(info[f"reward/{name}"] for name in terms)


def test_the_best_score_is_out_of_reach(env: BiddingEnv) -> None:
    for seed in range(10):
        env.reset(seed=seed)
        rng, score = np.random.default_rng(seed), 0.0
        while not env.episode.over:
            score += env.step(rng.uniform(-1, 1, env.groups).astype(np.float32))[4]["reward/expected"]
        assert 0 < score <= 1 + 1e-12
        assert env.episode.result().total("spend") <= env.episode.campaign.budget * MICROS * (1 + 1e-12)


@pytest.mark.parametrize(("name", "least"), [("bidpilot/Pacing-v0", 0.985), ("bidpilot/Targeting-v0", 0.93)])
def test_the_controller_scores_well_and_spending_fast_does_not_win(name: str, least: float) -> None:
    env, score = make(name), {0.0: 0.0, 1.0: 0.0}
    for action in score:
        for seed in range(6):
            env.reset(seed=seed, options={"scarcity": 0.25})
            while not env.episode.over:
                score[action] += env.step(np.full(env.groups, action, np.float32))[4]["reward/expected"] / 6
    assert 1 > score[0.0] > max(least, score[1.0])


@pytest.mark.parametrize("scarcity", [1e-6, 0.1, 100.0])
@pytest.mark.parametrize("size", [0.0, 1.0, -1.0, 1e30, -1e30])
def test_observations_are_finite_and_within_bounds(env: BiddingEnv, scarcity: float, size: float) -> None:
    seen, _ = env.reset(seed=9, options={"scarcity": scarcity})
    while not env.episode.over:
        assert seen in env.observation_space
        seen, reward, *_ = env.step(np.full(env.groups, size, np.float32))
        assert np.isfinite(reward)
    assert seen in env.observation_space


def test_actions_are_clipped(env: BiddingEnv) -> None:
    ends = []
    for size in (1.0, 7.0):
        env.reset(seed=9)
        ends.append([env.step(np.full(env.groups, size, np.float32))[0].tobytes() for _ in range(12)])
    assert ends[0] == ends[1]


def test_actions_that_are_none_are_refused(env: BiddingEnv) -> None:
    env.reset(seed=0)
    still = zero(env)
    for wrong in (still * np.float32("nan"), still + np.float32("inf"), np.append(still, still), still[None]):
        with pytest.raises(InputError, match=rf"an action must be {env.groups} finite numbers in -1\.\.1; got"):
            env.step(wrong)
    assert env.episode.tick == 0


def test_each_group_has_its_own_multiplier(env: BiddingEnv, past_days: tuple[Day, ...]) -> None:
    env.reset(options={"day": past_days[0], "scarcity": 0.5})
    action = np.linspace(1, -0.9, env.groups).astype(np.float32)
    multipliers = env.forecast.multiplier(0.5) * np.exp(env.scenario.reach * action.astype(np.float64))
    assert env.episode.day.hidden is past_days[0].hidden
    wanted = play(env.episode.day, 0, multipliers, env.episode.left).table  # misjudged, where the scenario says so
    env.step(action)
    told = env.episode.glance().last
    np.testing.assert_array_equal(np.ravel(told.wins), wanted[:, 0])
    np.testing.assert_array_equal(np.ravel(told.spend), wanted[:, 1] / MICROS)


def test_a_day_that_does_not_fit_is_refused(env: BiddingEnv, past_days: tuple[Day, ...]) -> None:
    longer = Day(past_days[0].seen, past_days[0].hidden, 13, 8)
    with pytest.raises(InputError, match="the campaign runs 12 ticks, the day has 13"):
        env.reset(options={"day": longer})
    if env.groups > 1:
        seen = past_days[0].seen
        fewer = replace(past_days[0], seen=replace(seen, segment=seen.segment // 4), segments=2)
        with pytest.raises(InputError, match="the day has 2, not 8"):
            env.reset(options={"day": fewer})


# --- nothing of the future ----------------------------------------------------------------------------------------


def grafted(day: Day, other: Day, tick: int) -> Day:
    """Return the day, with everything from this tick on taken from another."""

    def joined(part: str, kind: type[Opportunities] | type[Hidden]) -> Any:  # noqa: ANN401 - either kind
        ours, theirs = getattr(day, part), getattr(other, part)
        cut, rest = int(day.starts[tick]), int(other.starts[tick])
        pairs = [(getattr(ours, name), getattr(theirs, name)) for name in kind.__slots__]
        columns: list[Any] = [None if a is None else np.concatenate([a[:cut], b[rest:]]) for a, b in pairs]
        return kind(*columns)

    return Day(joined("seen", Opportunities), joined("hidden", Hidden), day.ticks, day.segments)


@pytest.mark.parametrize("tick", [0, 1, 5, 11])
def test_observations_know_nothing_of_the_future(env: BiddingEnv, past_days: tuple[Day, ...], tick: int) -> None:
    day, runs = past_days[0], []
    for each in (day, grafted(day, past_days[1], tick)):
        seen = [env.reset(seed=0, options={"day": each, "scarcity": 0.2})[0].tobytes()]
        rng = np.random.default_rng(0)
        seen += [step[0] for step in play_on(env, rng)]
        runs.append(seen)
    assert runs[0][: tick + 1] == runs[1][: tick + 1]
    assert runs[0][tick + 1] != runs[1][tick + 1]
