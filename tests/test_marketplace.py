"""The marketplace as a Gymnasium environment: its contract, its seats, and what a seat may know."""

import pickle
import sys
from dataclasses import fields, replace
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as sb3_check

from bidpilot.ctr.errors import InputError
from bidpilot.envs import marketplace
from bidpilot.envs.features import names, table
from bidpilot.envs.marketplace import Arena, Marketplace
from bidpilot.envs.marketplace_exchange import Told
from bidpilot.envs.marketplace_traffic import POLICIES, MarketplaceConfig, Traffic, draw_traffic
from bidpilot.envs.seats import FEATURES, RULES

CONFIG = MarketplaceConfig(buyers=8, ticks=6, opportunities=600.0)
Step = tuple[bytes, float, bool, bool, str]
ZERO = np.zeros(1, np.float32)


def play_on(env: Marketplace, rng: np.random.Generator) -> list[Step]:
    """Play random actions to the end of the episode."""
    steps: list[Step] = []
    while not steps or not steps[-1][2]:
        seen, reward, terminated, truncated, info = env.step(rng.uniform(-1, 1, 1).astype(np.float32))
        steps.append((seen.tobytes(), reward, terminated, truncated, repr(info)))
    return steps


def arena(seed: int = 0, config: MarketplaceConfig = CONFIG) -> Arena:
    return Arena(config, np.random.default_rng(seed))


# --- the interface ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["residual", "ladder"])
def test_both_checkers_are_content(action: str) -> None:
    settings = {"config": replace(CONFIG, action=action)}
    gym.register("bidpilot-test/Marketplace-v0", "bidpilot.envs.marketplace:Marketplace", kwargs=settings)
    try:
        env = gym.make("bidpilot-test/Marketplace-v0")
        gymnasium_check(env.unwrapped)
        sb3_check(env.unwrapped)
    finally:
        del gym.registry["bidpilot-test/Marketplace-v0"]


def test_the_same_seed_gives_the_same_episodes() -> None:
    one, two = Marketplace(CONFIG), Marketplace(CONFIG)
    for seed in (4, None):
        first, second = one.reset(seed=seed), two.reset(seed=seed)
        assert first[0].tobytes() == second[0].tobytes()
        assert repr(first[1]) == repr(second[1])
        assert play_on(one, np.random.default_rng(1)) == play_on(two, np.random.default_rng(1))


def test_an_episode_does_not_depend_on_how_far_the_one_before_was_played() -> None:
    one, two = Marketplace(CONFIG), Marketplace(CONFIG)
    one.reset(seed=4)
    two.reset(seed=4)
    play_on(two, np.random.default_rng(0))
    assert one.reset()[0].tobytes() == two.reset()[0].tobytes()
    assert play_on(one, np.random.default_rng(1)) == play_on(two, np.random.default_rng(1))


def test_episodes_of_one_environment_differ() -> None:
    env = Marketplace(CONFIG)
    env.reset(seed=4)
    first = play_on(env, np.random.default_rng(1))
    env.reset()
    assert play_on(env, np.random.default_rng(1)) != first


def test_a_copy_goes_on_alike() -> None:
    env = Marketplace(CONFIG)
    env.reset(seed=4)
    env.step(ZERO)
    copy = pickle.loads(pickle.dumps(env))  # noqa: S301 - our own bytes
    assert play_on(copy, np.random.default_rng(1)) == play_on(env, np.random.default_rng(1))


def test_the_horizon_terminates_and_the_last_observation_is_of_the_ended_episode() -> None:
    env = Marketplace(CONFIG)
    env.reset(seed=0)
    for tick in range(CONFIG.ticks):
        seen, reward, terminated, truncated, info = env.step(ZERO)
        assert (terminated, truncated) == (tick == CONFIG.ticks - 1, False)
        assert env.observation_space.contains(seen)
        assert reward == info["reward/expected"] == info["expected"] / info["budget"]
    entries = dict(zip(names(FEATURES, CONFIG.slots), seen, strict=True))
    assert entries["time_left"] == 0.0
    assert entries["budget_left"] == pytest.approx(info["left"] / info["budget"], abs=1e-6)
    with pytest.raises(InputError, match="the episode is over after 6 ticks; reset"):
        env.step(ZERO)


def test_a_seat_is_chosen_by_option_or_settings_or_drawn() -> None:
    env = Marketplace(replace(CONFIG, seat=3))
    assert env.reset(seed=0)[1]["seat"] == 3
    assert env.reset(options={"seat": 5})[1]["seat"] == 5
    with pytest.raises(InputError, match="a seat must be one of 0 to 7; got 8"):
        env.reset(options={"seat": 8})
    env = Marketplace(CONFIG)
    assert len({env.reset(seed=seed)[1]["seat"] for seed in range(60)}) == CONFIG.buyers


def test_every_rung_of_the_ladder_is_a_residual() -> None:
    config = replace(CONFIG, action="ladder", levels=5)
    for rung, action in enumerate((-1.0, -0.5, 0.0, 0.5, 1.0)):
        ladder, box = Marketplace(config), Marketplace(CONFIG)
        ladder.reset(seed=1)
        box.reset(seed=1)
        one, two = ladder.step(rung), box.step(np.array([action], np.float32))
        assert one[0].tobytes() == two[0].tobytes()
        assert one[1] == two[1]


@pytest.mark.parametrize("action", [[np.nan], [np.inf], [0.0, 0.0], 0.0, ["up"]], ids=str)
def test_impossible_actions_are_refused(action: object) -> None:
    env = Marketplace(CONFIG)
    env.reset(seed=0)
    with pytest.raises(InputError, match="an action must be one finite number in"):
        env.step(np.array(action))


@pytest.mark.parametrize("action", [-1, 9, 0.5, [1, 2]], ids=str)
def test_rungs_that_are_not_there_are_refused(action: object) -> None:
    env = Marketplace(replace(CONFIG, action="ladder"))
    env.reset(seed=0)
    with pytest.raises(InputError, match="an action must be a whole number from 0 to 8; got"):
        env.step(np.array(action))


def test_actions_outside_the_box_are_clipped() -> None:
    one, two = Marketplace(CONFIG), Marketplace(CONFIG)
    one.reset(seed=0)
    two.reset(seed=0)
    assert one.step(np.array([9.0]))[0].tobytes() == two.step(np.array([1.0]))[0].tobytes()


def test_nothing_is_played_before_a_reset() -> None:
    with pytest.raises(InputError, match=r"there is no episode yet; call reset\(\) first"):
        Marketplace(CONFIG).step(ZERO)


def test_the_picture_shows_the_spend_beside_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[npt.NDArray[Any], npt.NDArray[Any], str]] = []

    def spend_picture(plan: npt.NDArray[Any], spent: npt.NDArray[Any], title: str) -> npt.NDArray[np.uint8]:
        drawn.append((plan, spent, title))
        return np.zeros((2, 2, 3), np.uint8)

    stand_in = ModuleType("bidpilot.envs.render")
    stand_in.spend_picture = spend_picture  # type: ignore[attr-defined]  # a stand-in module
    monkeypatch.setitem(sys.modules, "bidpilot.envs.render", stand_in)
    env = Marketplace(replace(CONFIG, seat=2), render_mode="rgb_array")
    env.reset(seed=0)
    for _ in range(2):
        *_, info = env.step(ZERO)
    assert env.render().shape == (2, 2, 3)
    plan, spent, title = drawn[0]
    assert plan[-1] == pytest.approx(1.0)
    assert (len(plan), len(spent), title) == (6, 2, "seat 2")
    assert spent[-1] == pytest.approx(1.0 - info["left"] / info["budget"])
    assert Marketplace(CONFIG).render() is None
    with pytest.raises(InputError, match="render_mode must be None or one of"):
        Marketplace(CONFIG, render_mode="human")


def test_the_documentation_has_the_table_of_features() -> None:
    assert table(FEATURES, "slot") in str(Marketplace.__doc__)


# --- what a seat may know -----------------------------------------------------------------------------------------


def observations(seed: int, multipliers: list[npt.NDArray[np.float64]]) -> list[bytes]:
    """Return what seat 0 sees through an episode."""
    episode = arena(seed)
    seen = [episode.observations()[0].tobytes()]
    for row in multipliers:
        episode.play(row)
        seen.append(episode.observations()[0].tobytes())
    return seen


def test_nothing_of_the_future_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [np.linspace(0.5, 1.5, 8)] * CONFIG.ticks
    usual, calls = observations(0, rows), 0

    def other_future(
        config: MarketplaceConfig, n: int, offered: np.random.Generator, response: np.random.Generator
    ) -> Traffic:
        nonlocal calls
        calls += 1
        traffic = draw_traffic(config, n, offered, response)
        return traffic if calls <= 3 else draw_traffic(config, 3 * n + 50, np.random.default_rng(9), response)

    monkeypatch.setattr(marketplace, "draw_traffic", other_future)
    changed = observations(0, rows)
    assert changed[:4] == usual[:4]
    assert changed[4] != usual[4]


def test_losers_are_not_told_what_winners_pay() -> None:
    others = np.random.default_rng(0).lognormal(0.0, 1.0, (2, CONFIG.ticks, 8))
    others[:, :, 0] = 0.0
    assert observations(0, list(others[0])) == observations(0, list(others[1]))


def test_what_is_offered_does_not_depend_on_what_is_bid(monkeypatch: pytest.MonkeyPatch) -> None:
    def days(multiplier: float) -> list[Traffic]:
        drawn: list[Traffic] = []

        def keep(*arguments: Any) -> Traffic:  # noqa: ANN401 - passed on
            drawn.append(draw_traffic(*arguments))
            return drawn[-1]

        monkeypatch.setattr(marketplace, "draw_traffic", keep)
        episode = arena()
        while not episode.over:
            episode.play(np.full(8, multiplier))
        return drawn

    for one, two in zip(days(0.0), days(np.inf), strict=True):
        for field in fields(Traffic):
            assert np.array_equal(getattr(one, field.name), getattr(two, field.name))


@given(seed=st.integers(0, 99), actions=st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6))
def test_observations_stay_in_bounds_and_budgets_hold(seed: int, actions: list[float]) -> None:
    env = Marketplace(replace(CONFIG, reach=5.0))
    seen, info = env.reset(seed=seed)
    spent = 0.0
    for action in actions:
        assert env.observation_space.contains(seen)
        seen, _, _, _, info = env.step(np.array([action]))
        spent += info["spend"]
    assert spent <= info["budget"] + 1e-9
    assert info["left"] == pytest.approx(info["budget"] - spent, abs=1e-6)
    episode = env.arena
    assert episode is not None
    assert episode.exchange.revenue == (episode.buyers.budget - episode.exchange.left).sum()


@pytest.mark.parametrize("change", [{"opportunities": 0.0}, {"reserve": 1e5}, {"buyers": 1, "slots": 1}, {"ticks": 1}])
def test_empty_and_tiny_markets_can_be_played(change: dict[str, Any]) -> None:
    env = Marketplace(replace(CONFIG, **change))
    seen, _ = env.reset(seed=0)
    terminated = False
    while not terminated:
        seen, reward, terminated, _, _ = env.step(ZERO)
        assert env.observation_space.contains(seen)
        assert np.isfinite(reward)


# --- the built-in policies ----------------------------------------------------------------------------------------


def test_every_policy_has_a_rule() -> None:
    assert tuple(RULES) == POLICIES


def test_the_zero_action_is_the_pacing_policy() -> None:
    config = replace(CONFIG, policies=(0.0, 0.0, 1.0, 0.0), seat=4)
    env, episode = Marketplace(config), Arena(config, np.random.default_rng(7))
    env.reset(seed=7)
    while not episode.over:
        told = episode.play(episode.multipliers({}))
        *_, info = env.step(ZERO)
        assert (info["spend"], info["expected"]) == (told.spend[4], told.expected[4])


def test_the_controller_spends_its_budget_by_the_plan() -> None:
    config = MarketplaceConfig(policies=(0.0, 0.0, 1.0, 0.0), budgets=(0.3, 0.8))
    gaps, spent = [], []
    for seed in range(3):
        episode = arena(seed, config)
        plan, gap = np.cumsum(config.profile), np.zeros(config.buyers)
        while not episode.over:
            episode.play(episode.multipliers({}))
            gap += abs(episode.total.spend / episode.seats.budget - plan[episode.tick - 1]) / config.ticks
        gaps.append(float(np.median(gap)))
        spent.append(float(np.median(episode.total.spend / episode.seats.budget)))
    assert max(gaps) < 0.15
    assert min(spent) > 0.97


def test_the_first_multipliers_spend_about_the_budget() -> None:
    config = MarketplaceConfig(policies=(1.0, 0.0, 0.0, 0.0), aggression=0.0, volume_noise=0.0, opportunities=20_000.0)
    for seed in range(3):
        episode = arena(seed, config)
        for _ in range(32):  # not to the end: what runs out cannot overspend
            episode.play(episode.multipliers({}))
        pace = episode.total.spend / episode.seats.budget / config.profile[:32].sum()
        assert float(np.median(pace)) == pytest.approx(1.0, abs=0.15)
        assert float(np.median(abs(np.log(pace)))) < 0.5


def test_buyers_with_a_limit_keep_it_better_than_those_without() -> None:
    def excess(policy: str) -> float:
        weights = tuple(float(name == policy) for name in POLICIES)
        episode = arena(1, MarketplaceConfig(policies=weights, limits=(0.4, 0.4), budgets=(1.0, 1.5)))
        while not episode.over:
            episode.play(episode.multipliers({}))
        return float(episode.total.spend.sum() / episode.total.expected.sum() / 0.4)

    assert excess("limited") < 1.1 < excess("pacing")


def test_truthful_buyers_bid_their_value_and_constant_ones_their_first_multiplier() -> None:
    episode = arena(0, replace(CONFIG, policies=(1.0, 1.0, 0.0, 0.0)))
    for _ in range(2):
        wanted = np.where(episode.buyers.policy == POLICIES.index("truthful"), 1.0, episode.buyers.start)
        assert np.array_equal(episode.multipliers({}), wanted)
        episode.play(wanted)


def test_a_tick_without_traffic_teaches_nothing() -> None:
    episode = arena()
    episode.play(episode.multipliers({}))
    before = episode.seats.paced.copy(), episode.seats.capped.copy()
    episode.seats.learn(Told.nothing(8, 3), episode.total, episode.seats.left, ~episode.exchange.out)
    assert np.array_equal(before[0], episode.seats.paced)
    assert np.array_equal(before[1], episode.seats.capped)


def test_options_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="unknown option of reset 'scarcity'; known: seat"):
        Marketplace(MarketplaceConfig(opportunities=200.0, ticks=4)).reset(options={"scarcity": 0.1})
