"""What holds for every registered id, whatever it plays."""

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_checker import check_env as sb3_check

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS
from bidpilot.envs import ad_features, seats
from bidpilot.envs.ad_selection import AdSelection
from bidpilot.envs.allocation import Allocation
from bidpilot.envs.bidding import BiddingEnv
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.features import Feature, names, table
from bidpilot.envs.marketplace import Marketplace
from bidpilot.envs.marketplace_traffic import MarketplaceConfig
from bidpilot.envs.observations import EVERY, features_of
from bidpilot.envs.scenarios import MARKETPLACE, SCENARIOS, past_forecast
from bidpilot.envs.traffic import TrafficMarket

Env: TypeAlias = gym.Env[Any, Any]
Step = tuple[bytes, float, bool, bool, str]

IDS = sorted(name for name in gym.registry if name.startswith("bidpilot/"))
CAMPAIGNS = [name for name in IDS if name != MARKETPLACE]
KINDS = [f"bidpilot/{kind}-v0" for kind in ("Pacing", "Targeting", "Allocation", "AdSelection", "Marketplace")]
LADDERS = [name for name, scenario in SCENARIOS.items() if scenario.action == "ladder"]
LEARNERS: dict[type[gym.Space[Any]], tuple[type[Any], ...]] = {
    gym.spaces.Box: (PPO, SAC),
    gym.spaces.Discrete: (PPO, DQN),
    gym.spaces.MultiDiscrete: (PPO,),
}
SETTINGS: dict[type[Any], dict[str, Any]] = {
    PPO: {"n_steps": 64, "batch_size": 64, "n_epochs": 2},
    SAC: {"learning_starts": 64, "train_freq": 8, "batch_size": 64},
    DQN: {"learning_starts": 64, "train_freq": 8, "batch_size": 64},
}
SCORES = {  # id: (least, most) of what the controller reaches on average over the seeds 0 to 7
    "bidpilot/AdSelection-v0": (0.66, 0.80),
    "bidpilot/Allocation-v0": (0.91, 0.98),
    "bidpilot/Marketplace-v0": (1.90, 2.35),
    "bidpilot/Pacing-v0": (0.98, 0.995),
    "bidpilot/PacingCPA-v0": (0.91, 0.98),
    "bidpilot/PacingFirstPrice-v0": (0.73, 0.80),
    "bidpilot/PacingHard-v0": (0.80, 0.90),
    "bidpilot/PacingLadder-v0": (0.98, 0.995),
    "bidpilot/PacingOpen-v0": (0.975, 0.995),
    "bidpilot/PacingROS-v0": (0.87, 0.96),
    "bidpilot/PacingRandom-v0": (0.45, 0.75),
    "bidpilot/PacingRealised-v0": (0.98, 0.995),
    "bidpilot/PacingSoftFloor-v0": (0.85, 0.92),
    "bidpilot/Shading-v0": (0.75, 0.84),
    "bidpilot/Targeting-v0": (0.935, 0.97),
    "bidpilot/TargetingLadder-v0": (0.935, 0.97),
}
"""The score: expected worth less the price of broken limits, as a share of R*; in the marketplace worth / budget."""


@cache
def small(env_id: str) -> dict[str, Any]:
    """Return arguments that make the world of an id small and quick."""
    if env_id == MARKETPLACE:
        return {"config": MarketplaceConfig(buyers=8, ticks=6, opportunities=600.0)}
    scenario = SCENARIOS[env_id]
    scenario = replace(scenario, traffic=replace(scenario.traffic, opportunities=600.0, ticks=12))
    market = TrafficMarket(scenario.traffic)
    return {"scenario": scenario, "market": market, "forecast": past_forecast(market, scenario)}


def made(env_id: str, **arguments: Any) -> Env:  # noqa: ANN401 - as the id has them
    """Make a small environment as a user does."""
    return gym.make(env_id, **small(env_id), **arguments)


def campaign(env_id: str) -> BiddingEnv:
    env = made(env_id).unwrapped
    assert isinstance(env, BiddingEnv)
    return env


def still(space: gym.Space[Any]) -> Any:  # noqa: ANN401 - as the space has it
    """Return the action of the controller."""
    if isinstance(space, gym.spaces.Box):
        return np.zeros(space.shape, np.float32)
    if isinstance(space, gym.spaces.Discrete):
        return int(space.n) // 2
    assert isinstance(space, gym.spaces.MultiDiscrete)
    middle = np.asarray(space.nvec) // 2
    if len(set(space.nvec.tolist())) > 1:  # ads: 0 leaves the choice to the controller
        middle[:-1] = 0
    return middle


def edge(space: gym.Space[Any], size: float) -> Any:  # noqa: ANN401 - as the space has it
    """Return an extreme action: a number of this size, or the level at this end."""
    if isinstance(space, gym.spaces.Box):
        return np.full(space.shape, size, np.float32)
    if isinstance(space, gym.spaces.Discrete):
        return int(space.n) - 1 if size > 0 else 0
    assert isinstance(space, gym.spaces.MultiDiscrete)
    return np.asarray(space.nvec) - 1 if size > 0 else np.zeros_like(space.nvec)


def hands_of(env: Env, seed: int) -> Callable[[], Any]:
    """Return a source of random actions."""
    space = pickle.loads(pickle.dumps(env.action_space))  # noqa: S301 - our own bytes: a space with its own stream
    space.seed(seed)
    return space.sample  # type: ignore[no-any-return]


def play_on(env: Env, seed: int) -> list[Step]:
    """Play random actions to the end of the episode."""
    steps: list[Step] = []
    action = hands_of(env, seed)
    while not steps or not steps[-1][2]:
        seen, reward, terminated, truncated, info = env.step(action())
        steps.append((seen.tobytes(), float(reward), terminated, truncated, repr(info)))
    return steps


def features(env: Env) -> list[str]:
    """Return the names of the entries of an observation."""
    if isinstance(env, Marketplace):
        return names(seats.FEATURES, env.config.slots)
    if isinstance(env, AdSelection):
        return names(ad_features.ad_features(env.scenario), env.groups * env.ads.ads)
    assert isinstance(env, BiddingEnv)
    return names(features_of(env.scenario), env.held)


# --- the interface ------------------------------------------------------------------------------------------------


def test_there_is_a_score_for_every_id() -> None:
    assert sorted(SCORES) == IDS == sorted([*SCENARIOS, MARKETPLACE])


@pytest.mark.parametrize("env_id", IDS)
def test_both_checkers_are_content_and_an_id_has_a_version(env_id: str) -> None:
    env = made(env_id)
    gymnasium_check(env.unwrapped)  # pictures are among what it looks at
    sb3_check(env)
    assert re.fullmatch(r"bidpilot/[A-Z][A-Za-z]+-v\d+", env_id)
    assert env.spec is not None
    assert env.spec.id == env_id


@pytest.mark.parametrize("env_id", IDS)
def test_spaces_are_finite_and_every_entry_has_a_name(env_id: str) -> None:
    env = made(env_id).unwrapped
    space = env.observation_space
    assert isinstance(space, gym.spaces.Box)
    assert space.is_bounded()
    assert space.dtype == np.float32
    assert len(set(features(env))) == len(features(env)) == space.shape[0]
    if isinstance(env.action_space, gym.spaces.Box):
        assert env.action_space == gym.spaces.Box(-1.0, 1.0, env.action_space.shape, np.float32)


@pytest.mark.parametrize("env_id", IDS)
def test_the_documentation_has_the_usual_headings_and_the_table_of_features(env_id: str) -> None:
    env = made(env_id).unwrapped
    text = type(env).__doc__ or ""
    found = re.findall(r"^    ## (.+)$", text, re.MULTILINE)
    assert found == [
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
        "Arguments",
    ]
    rows: dict[type[Env], tuple[tuple[Feature, ...], str]] = {
        Marketplace: (seats.FEATURES, "slot"),
        AdSelection: (ad_features.AD_FEATURES, "segment and ad"),
        Allocation: (EVERY, "campaign"),
    }
    assert table(*rows.get(type(env), (EVERY, "bid group"))) in text


@pytest.mark.parametrize("env_id", IDS)
def test_a_picture_is_rows_of_coloured_pixels(env_id: str) -> None:
    env = made(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(still(env.action_space))
    picture: Any = env.render()
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert picture.min() < picture.max()
    assert made(env_id).unwrapped.render() is None


# --- seeds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", IDS)
def test_same_seed_same_bytes_and_another_seed_differs(env_id: str) -> None:
    runs: list[list[Any]] = []
    for seed in (7, 7, 8):
        env = made(env_id)
        start = env.reset(seed=seed)
        first = play_on(env, 1)
        again = env.reset()
        runs.append([start[0].tobytes(), repr(start[1]), first, again[0].tobytes(), repr(again[1]), play_on(env, 2)])
    assert runs[0] == runs[1]
    for place in (1, 2, 4, 5):  # first observations may be alike: they show only what is known
        assert runs[0][place] != runs[2][place]
    assert runs[0][1] != runs[0][4]  # episodes of one environment differ


@pytest.mark.parametrize("env_id", IDS)
def test_seeding_again_starts_again(env_id: str) -> None:
    env = made(env_id)
    resets = [env.reset(seed=seed) for seed in (3, None, 3, None)]
    got = [(seen.tobytes(), repr(info)) for seen, info in resets]
    assert got[:2] == got[2:]
    assert got[0] != got[1]


@pytest.mark.parametrize("env_id", IDS)
def test_what_is_done_changes_nothing_of_later_episodes(env_id: str) -> None:
    later = []
    for actions, ticks in ((1, None), (2, None), (3, 2)):
        env = made(env_id).unwrapped
        env.reset(seed=5)
        if ticks is None:
            play_on(env, actions)
        else:
            for _ in range(ticks):
                env.step(still(env.action_space))
        seen, info = env.reset()
        later.append((seen.tobytes(), repr(info), play_on(env, 9)))
    assert later[0] == later[1] == later[2]


def told(env: BiddingEnv, options: dict[str, Any]) -> tuple[list[str], list[dict[str, float]]]:
    """Return the traffic of two episodes, and their draws but for what depends on money."""
    days, draws = [], []
    for seed in (4, None):
        _, info = env.reset(seed=seed, options=options)
        days.append(env.episode.ads.traffic_hash if isinstance(env, AdSelection) else env.episode.day.traffic_hash)
        draws.append({name: x for name, x in info.items() if name not in {"scale", "best_value", "cost_limit"}})
    return days, draws


@pytest.mark.parametrize("env_id", CAMPAIGNS)
def test_every_role_has_a_stream_of_its_own(env_id: str) -> None:
    env = campaign(env_id)
    days, draws = told(env, {})
    assert days[0] != days[1]
    rich_days, rich = told(env, {"scarcity": 0.5})
    assert rich_days == days
    for mine, theirs in zip(draws, rich, strict=True):
        assert theirs == {**mine, "scarcity": theirs["scarcity"]}
        assert theirs["scarcity"] == pytest.approx(0.5)
    other = env.market.day(np.random.default_rng(0))
    own = {name for name in draws[0] if not name.startswith("day/")}
    for mine, theirs in zip(draws, told(env, {"day": other})[1], strict=True):
        assert {name: mine[name] for name in own} == {name: theirs[name] for name in own}
    if "limit" in draws[0]:
        assert told(env, {"limit": 1.3}) == (days, [draw | {"limit": 1.3} for draw in draws])
    if "volume" in draws[0]:
        dear_days, dear = told(env, {"price_scale": 1.5})
        assert dear_days != days
        assert dear == [draw | {"price_scale": 1.5} for draw in draws]


def test_a_seat_is_chosen_without_changing_the_market() -> None:
    env = made(MARKETPLACE).unwrapped
    assert isinstance(env, Marketplace)
    markets = []
    for seat in (None, 2, 5):
        for seed in (4, None):
            env.reset(seed=seed, options=None if seat is None else {"seat": seat})
            assert env.arena is not None
            buyers = env.arena.buyers
            markets.append((buyers.worth.tobytes(), buyers.budget.tobytes(), buyers.policy.tobytes()))
    assert markets[:2] == markets[2:4] == markets[4:]
    assert markets[0] != markets[1]


def test_unknown_options_are_refused() -> None:
    for env_id in CAMPAIGNS:
        with pytest.raises(InputError, match="unknown option of reset 'weather'"):
            campaign(env_id).reset(options={"weather": 1})


@pytest.mark.parametrize("env_id", IDS)
def test_pickled_in_mid_episode_it_goes_on_alike(env_id: str) -> None:
    env = made(env_id).unwrapped
    env.reset(seed=2)
    action = hands_of(env, 3)
    for _ in range(4):
        env.step(action())
    copy = pickle.loads(pickle.dumps(env))  # noqa: S301 - our own bytes: worker processes get environments like this
    ends = []
    for each in (env, copy):
        rest = play_on(each, 0)
        again = each.reset()
        ends.append((rest, again[0].tobytes(), play_on(each, 1)))
    assert ends[0] == ends[1]


# --- many at once -------------------------------------------------------------------------------------------------


def same_as_singles(env_id: str, together: gym.vector.VectorEnv[Any, Any, Any], count: int, *, exact: bool) -> None:
    """Compare a vector environment with single ones, seed for seed, over two episodes and into a third."""
    alone = [made(env_id).unwrapped for _ in range(count)]
    seen, infos = together.reset(seed=11)
    starts = [env.reset(seed=11 + i) for i, env in enumerate(alone)]
    for i, (start, info) in enumerate(starts):
        assert seen[i].tobytes() == start.tobytes()
        same_info(infos, i, info)
    actions = [hands_of(env, i) for i, env in enumerate(alone)]
    ends = 0
    while ends < 2:
        chosen = [action() for action in actions]
        seen, rewards, terminated, truncated, infos = together.step(np.array(chosen))
        assert not np.any(truncated)
        ends += int(terminated[0])
        for i, env in enumerate(alone):
            last, reward, over, _, info = env.step(chosen[i])
            assert (float(rewards[i]), bool(terminated[i])) == (float(reward), over)
            if over:
                assert infos["final_obs"][i].tobytes() == last.tobytes()
                same_info(infos["final_info"], i, info)
                last, info = env.reset()
            assert seen[i].tobytes() == last.tobytes()
            same_info(infos, i, info)
    names = {name for name in infos if not name.startswith("_")}
    assert not exact or names == set(alone[0].reset()[1]) | {"final_obs", "final_info"}
    together.close()


def same_info(infos: dict[str, Any], number: int, info: dict[str, Any]) -> None:
    for name, amount in info.items():
        assert infos[name][number] == amount, name
        assert infos[f"_{name}"][number]


@pytest.mark.parametrize("env_id", [name for name in IDS if gym.registry[name].vector_entry_point is not None])
def test_the_batched_form_is_the_single_one_seed_for_seed(env_id: str) -> None:
    together = gym.make_vec(env_id, num_envs=3, vectorization_mode="vector_entry_point", **small(env_id))
    same_as_singles(env_id, together, 3, exact=True)


@pytest.mark.parametrize("env_id", [name for name in IDS if gym.registry[name].vector_entry_point is None])
def test_side_by_side_is_one_by_one(env_id: str) -> None:
    same_step: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}
    together = gym.make_vec(env_id, 3, vectorization_mode="sync", vector_kwargs=same_step, **small(env_id))
    same_as_singles(env_id, together, 3, exact=False)


def test_every_campaign_with_one_ad_has_a_batched_form() -> None:
    with_one = {name for name in CAMPAIGNS if SCENARIOS[name].environment != "ad_selection"}
    assert {name for name in IDS if gym.registry[name].vector_entry_point is not None} == with_one


@pytest.mark.parametrize("env_id", KINDS)
def test_in_processes_of_their_own_it_plays_alike(env_id: str) -> None:
    makers = [lambda: made(env_id)] * 2
    same_as_singles(env_id, AsyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP), 2, exact=False)


# --- the end, actions and rewards ---------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", IDS)
def test_the_horizon_terminates_and_the_last_observation_is_of_the_episode_that_ended(env_id: str) -> None:
    env = made(env_id).unwrapped
    for options in ({}, {"scarcity": 1e-6}, {"scarcity": 50.0}) if env_id != MARKETPLACE else ({},):
        env.reset(seed=1, options=options)
        steps = play_on(env, 0)
        horizon = 6 if env_id == MARKETPLACE else 12
        assert [step[2] for step in steps] == [False] * (horizon - 1) + [True]  # no money left does not end a day
        assert not any(step[3] for step in steps)
        last = dict(zip(features(env), np.frombuffer(steps[-1][0], np.float32), strict=True))
        assert last["time_left"] == 0.0
        if isinstance(env, BiddingEnv):
            left = env.episode.left / MICROS / env.episode.campaign.budget
            assert last["budget_left"] == pytest.approx(left, abs=1e-6)
        else:
            assert isinstance(env, Marketplace)
            assert env.arena is not None
            left = env.arena.seats.left[env.seat] / env.arena.seats.budget[env.seat]
            assert last["budget_left"] == pytest.approx(left, abs=1e-6)


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("size", [-1e30, -1.0, 1.0, 1e30])
def test_observations_are_finite_and_in_the_space_whatever_is_done(env_id: str, size: float) -> None:
    env = made(env_id).unwrapped
    for options in ({"scarcity": 1e-6}, {"scarcity": 100.0}) if env_id != MARKETPLACE else ({},):
        seen, _ = env.reset(seed=9, options=options)
        terminated, sign = False, 1.0
        while not terminated:
            assert env.observation_space.contains(seen)
            seen, reward, terminated, _, info = env.step(edge(env.action_space, size * sign))
            assert np.isfinite(list(info.values())).all()
            assert np.isfinite(float(reward))
            sign = -sign if abs(size) > 1 else sign
        assert env.observation_space.contains(seen)


def wrong(space: gym.Space[Any]) -> list[Any]:
    """Return what is no action of a space."""
    zero = still(space)
    if isinstance(space, gym.spaces.Box):
        return [zero * np.float32("nan"), zero + np.float32("inf"), np.append(zero, zero), zero[None], zero[:0]]
    if isinstance(space, gym.spaces.Discrete):
        return [-1, int(space.n), 0.5, np.array([1, 1])]
    assert isinstance(space, gym.spaces.MultiDiscrete)
    return [zero - 9, space.nvec, zero.astype(float), zero[:-1]]


@pytest.mark.parametrize("env_id", IDS)
def test_what_is_no_action_is_refused_and_plays_nothing(env_id: str) -> None:
    env, other = made(env_id).unwrapped, made(env_id).unwrapped
    env.reset(seed=0)
    other.reset(seed=0)
    for action in wrong(env.action_space):
        with pytest.raises(InputError, match=r"an action must be .*; got"):
            env.step(action)
    assert play_on(env, 1) == play_on(other, 1)


@pytest.mark.parametrize("env_id", IDS)
def test_the_reward_is_the_sum_of_its_terms(env_id: str) -> None:
    env = made(env_id).unwrapped
    env.reset(seed=3)
    action, terminated = hands_of(env, 0), False
    while not terminated:
        _, reward, terminated, _, info = env.step(action())
        terms = {name: amount for name, amount in info.items() if name.startswith("reward/")}
        assert reward == sum(terms.values())
        scenario = SCENARIOS.get(env_id)
        assert list(terms) == [f"reward/{name}" for name in (scenario.reward if scenario else ("expected",))]


def test_who_has_a_limit_is_rewarded_for_keeping_it() -> None:
    for name, scenario in SCENARIOS.items():
        assert (scenario.limit is not None) == ("limit" in scenario.reward), name


def total(env: Env, seed: int, action: Any, penalty: float) -> float:  # noqa: ANN401 - as the space has it
    """Return the expected worth of an episode less the price of a broken limit, as a share of R* (or the budget)."""
    _, info = env.reset(seed=seed)
    worth, spent, terminated = 0.0, 0.0, False
    while not terminated:
        _, _, terminated, _, info = env.step(action)
        worth, spent = worth + info["expected"], spent + info["spend"]
    excess = max(0.0, spent / info.get("cost_limit", np.inf) - worth)
    return float((worth - penalty * excess) / info.get("best_value", info.get("budget")))


@pytest.mark.parametrize("env_id", IDS)
def test_it_needs_nothing_but_its_name_and_the_controller_has_its_known_score(env_id: str) -> None:
    env = gym.make(env_id).unwrapped
    penalty = 0.0 if env_id == MARKETPLACE else SCENARIOS[env_id].penalty
    scores = [total(env, seed, still(env.action_space), penalty) for seed in range(8)]
    least, most = SCORES[env_id]
    assert least < np.mean(scores) < most
    fast = [total(env, seed, edge(env.action_space, 1.0), penalty) for seed in range(8)]
    assert np.mean(fast) < np.mean(scores) + 1e-9  # to spend fast does not win (campaigns that all ask get no more)


# --- nothing of the future ----------------------------------------------------------------------------------------


def grafted(day: Day, other: Day, tick: int) -> Day:
    """Return the day, with everything from this tick on taken from another."""

    def joined(part: str, kind: type[Opportunities] | type[Hidden]) -> Any:  # noqa: ANN401 - either kind
        ours, theirs = getattr(day, part), getattr(other, part)
        cut, rest = int(day.starts[tick]), int(other.starts[tick])
        pairs = [(getattr(ours, name), getattr(theirs, name)) for name in kind.__slots__]
        columns: list[Any] = [None if a is None else np.concatenate([a[:cut], b[rest:]]) for a, b in pairs]
        return kind(*columns)

    return Day(joined("seen", Opportunities), joined("hidden", Hidden), day.ticks, day.segments, once=day.once)


@pytest.mark.parametrize("env_id", CAMPAIGNS)  # the marketplace draws its traffic tick by tick: see its own tests
def test_observations_know_nothing_of_the_future(env_id: str) -> None:
    env = campaign(env_id)
    streams = np.random.default_rng(0).spawn(2)
    day, other = (env.market.day(stream) for stream in streams)
    for tick in (0, 1, 5, 11):
        runs = []
        for each in (day, grafted(day, other, tick)):
            seen = [env.reset(seed=0, options={"day": each, "scarcity": 0.2})[0].tobytes()]
            runs.append(seen + [step[0] for step in play_on(env, 0)])
        assert runs[0][: tick + 1] == runs[1][: tick + 1]
        assert runs[0][tick + 1] != runs[1][tick + 1]


# --- learners -----------------------------------------------------------------------------------------------------


def pairs() -> list[tuple[str, type[Any]]]:
    """Return every id with the unmodified learners that its actions suit."""
    return [(name, learner) for name in IDS for learner in LEARNERS[type(made(name).action_space)]]


def learn(env_id: str, learner: type[Any], steps: int) -> None:
    env = made(env_id)
    model = learner("MlpPolicy", env, seed=0, device="cpu", policy_kwargs={"net_arch": [16]}, **SETTINGS[learner])
    model.learn(steps)
    assert model.num_timesteps >= steps
    action, _ = model.predict(env.reset(seed=0)[0], deterministic=True)
    assert env.action_space.contains(action)
    assert all(np.isfinite(x.detach().numpy()).all() for x in model.policy.parameters())


@pytest.mark.parametrize(("env_id", "learner"), [pair for pair in pairs() if pair[0] in {*KINDS, *LADDERS}])
def test_unmodified_learners_learn(env_id: str, learner: type[Any]) -> None:
    learn(env_id, learner, 128)


@pytest.mark.slow
@pytest.mark.parametrize(("env_id", "learner"), pairs())
def test_unmodified_learners_learn_for_longer(env_id: str, learner: type[Any]) -> None:
    learn(env_id, learner, 2000)
