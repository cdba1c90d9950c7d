"""AdSelection: the contract of an environment, the controller inside it, and that there is something to learn."""

import pickle
from collections.abc import Callable
from dataclasses import replace
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
from bidpilot.ctr.types import MICROS
from bidpilot.envs.ad_features import AD_FEATURES, PRIOR, Shown, ad_features, ad_hands
from bidpilot.envs.ad_selection import AdSelection, chooser_alone
from bidpilot.envs.ads import AdDay, AdMarket
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.market import Market, draw_days
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.residual import Residual
from bidpilot.envs.rewards import REWARDS
from bidpilot.envs.scenario import Limit, Scenario
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.shadow import controller_alone
from bidpilot.envs.types import COLUMNS, Rules

Step = tuple[bytes, float, bool, bool, str]
PLAIN = Scenario("ad_selection")
LADDER = Scenario("ad_selection", action="ladder", levels=5)
Builder = Callable[..., AdSelection]


@pytest.fixture(scope="module")
def build(market: Market, forecast: Forecast) -> Builder:
    """Return a builder of environments on the small market."""

    def made(scenario: Scenario = PLAIN, **settings: Any) -> AdSelection:  # noqa: ANN401 - of several kinds
        return AdSelection(market, forecast, scenario, **settings)

    return made


def still(env: AdSelection) -> npt.NDArray[Any]:
    """Return the action of the controller."""
    shape = env.action_space.shape
    assert shape is not None
    if env.scenario.action == "continuous":
        return np.zeros(shape, np.float32)
    return np.append(np.zeros(shape[0] - 1, int), env.scenario.levels // 2)


def play_on(env: AdSelection, rng: np.random.Generator) -> list[Step]:
    """Play random actions to the end of the episode."""
    steps: list[Step] = []
    while not steps or not steps[-1][2]:
        action = (
            rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
            if isinstance(env.action_space, gym.spaces.Box)
            else rng.integers(env.action_space.nvec)  # type: ignore[attr-defined]  # a MultiDiscrete
        )
        seen, reward, terminated, truncated, info = env.step(action)
        steps.append((seen.tobytes(), reward, terminated, truncated, repr(info)))
    return steps


# --- the interface ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [PLAIN, LADDER])
def test_both_checkers_are_content(market: Market, forecast: Forecast, scenario: Scenario) -> None:
    given_parts = {"market": market, "forecast": forecast, "scenario": scenario}
    gym.register("bidpilot-test/AdSelection-v0", "bidpilot.envs.ad_selection:AdSelection", kwargs=given_parts)
    try:
        env = gym.make("bidpilot-test/AdSelection-v0", render_mode="rgb_array")
        gymnasium_check(env.unwrapped)
        sb3_check(env.unwrapped)
    finally:
        del gym.registry["bidpilot-test/AdSelection-v0"]


def test_spaces_are_finite_and_documented(build: Builder) -> None:
    for ads in (1, 3):
        env = build(ads=ads)
        assert isinstance(env.observation_space, gym.spaces.Box)
        assert env.observation_space.is_bounded()
        assert env.observation_space.shape == (len(AD_FEATURES) - 3 + 3 * 8 * ads,)
        assert env.action_space == gym.spaces.Box(-1.0, 1.0, (8 * ads + 1,), dtype=np.float32)
    assert build(LADDER).action_space == gym.spaces.MultiDiscrete([5] * 8 + [5])
    text = AdSelection.__doc__ or ""
    headings = (
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
        "Arguments",
    )
    assert all(f"## {heading}\n" in text for heading in headings)
    assert all(f"| `{feature.name}` |" in text for feature in AD_FEATURES)


def test_a_picture_is_drawn_on_request(build: Builder) -> None:
    env = build(render_mode="rgb_array")
    env.reset(seed=0)
    env.step(still(env))
    picture = env.render()
    assert picture.ndim == 3
    assert picture.dtype == np.uint8
    assert build().render() is None


def test_actions_that_are_none_are_refused(build: Builder) -> None:
    env = build()
    env.reset(seed=0)
    zero = still(env)
    for wrong in (zero * np.float32("nan"), zero[:-1], zero[None]):
        with pytest.raises(InputError, match=r"an action must be 33 finite numbers in -1\.\.1; got"):
            env.step(wrong)
    env = build(LADDER)
    env.reset(seed=0)
    for bad in (still(env) + 5, still(env) - 1, still(env)[:-1], still(env).astype(float)):
        with pytest.raises(InputError, match="an action must be whole numbers below"):
            env.step(bad)
    with pytest.raises(InputError, match="unknown action form"):
        ad_hands("spoken", 2, 2, 3)


def test_it_refuses_what_does_not_fit(build: Builder, past_days: tuple[Day, ...]) -> None:
    with pytest.raises(InputError, match="at least 1 ad"):
        build(ads=0)
    env = build()
    ads = AdMarket(env.market, 3).over(past_days[0], np.random.default_rng(0))
    for options, why in (
        ({"weather": 1}, "unknown option of reset"),
        ({"factors": np.ones((4, 7))}, r"factors must be \(ads, 8\)"),
        ({"day": ads}, "the environment has 4 ads, the day brings 3"),
    ):
        with pytest.raises(InputError, match=why):
            env.reset(options=options)
    env = build(ads=3)
    for extra, why in (({"factors": ads.factors}, "day or factors, not both"), ({"volume": 0.5}, "keeps its volume")):
        with pytest.raises(InputError, match=why):
            env.reset(options={"day": ads, **extra})


# --- seeds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [PLAIN, LADDER])
def test_same_seed_same_bytes(build: Builder, scenario: Scenario) -> None:
    runs: list[list[Any]] = []
    for seed in (7, 7, 8):
        env, rng = build(scenario), np.random.default_rng(1)
        start = env.reset(seed=seed)
        first = play_on(env, rng)
        again = env.reset()
        runs.append([start[0].tobytes(), repr(start[1]), first, again[0].tobytes(), play_on(env, rng)])
    assert runs[0] == runs[1]
    assert all(one != other for one, other in zip(runs[0], runs[2], strict=True))


def test_traffic_and_ads_do_not_depend_on_what_is_done(build: Builder) -> None:
    env, seen = build(), []
    for actions in (1, 2):
        env.reset(seed=5)
        play_on(env, np.random.default_rng(actions))
        _, drawn = env.reset()
        seen.append((env.episode.ads.traffic_hash, env.episode.campaign.budget, repr(drawn)))
    assert seen[0] == seen[1]


def test_more_ads_meet_the_same_people_with_the_same_money(build: Builder) -> None:
    met = []
    for env in (build(ads=2), build(ads=5, spread=0.2)):
        for seed in (4, None):
            env.reset(seed=seed)
            met.append((env.episode.day.traffic_hash, env.episode.campaign.budget))
    assert met[:2] == met[2:]


def test_pickled_in_mid_episode_it_goes_on_alike(build: Builder) -> None:
    env = build()
    env.reset(seed=2)
    for _ in range(5):
        env.step(still(env))
    copy = pickle.loads(pickle.dumps(env))  # noqa: S301 - our own bytes: worker processes get environments like this
    ends = []
    for each in (env, copy):
        rng = np.random.default_rng(0)
        rest = play_on(each, rng)
        each.reset()
        ends.append((rest, play_on(each, rng)))
    assert ends[0] == ends[1]


# --- an episode ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [PLAIN, LADDER])
def test_zero_is_the_controller_alone(build: Builder, forecast: Forecast, scenario: Scenario) -> None:
    env = build(scenario)
    for seed in range(5):
        env.reset(seed=seed)
        alone = chooser_alone(env.episode.ads, env.episode.campaign, forecast, scenario)
        while not env.episode.over:
            tick = env.episode.tick
            _, reward, _, _, info = env.step(still(env))
            assert reward == 0.0
            assert info["expected"] == alone[tick]
            assert info["reward/expected"] + info["reward/controller"] == 0.0


def test_it_terminates_at_the_horizon_and_never_truncates(build: Builder, forecast: Forecast) -> None:
    env = build()
    for scarcity in (1e-6, 0.1, 50.0):
        env.reset(seed=1, options={"scarcity": scarcity})
        steps = play_on(env, np.random.default_rng(0))
        assert [step[2] for step in steps] == [False] * (forecast.ticks - 1) + [True]
        assert not any(step[3] for step in steps)


@given(
    seed=st.integers(0, 10**6), scarcity=st.floats(1e-6, 4.0), auction=st.sampled_from(["second_price", "first_price"])
)
def test_the_budget_holds(build: Builder, seed: int, scarcity: float, auction: str) -> None:
    env = build(replace(PLAIN, rules=Rules(auction)))
    env.reset(seed=seed, options={"scarcity": scarcity})
    seen, rng = env._observation, np.random.default_rng(seed)
    while not env.episode.over:
        assert seen in env.observation_space
        seen, reward, _, _, info = env.step(rng.choice([-1.0, 0.0, 1.0, 1e30], env.action_space.shape))
        assert np.isfinite(reward)
        assert info["spend"] >= 0
    assert seen in env.observation_space
    result = env.episode.result()
    assert result.total("spend") <= env.episode.campaign.budget * MICROS * (1 + 1e-12)
    assert result.total("expected") <= best_value(env.episode.ads.best, np.array([env.episode.campaign.budget]))[0] * (
        1 + 1e-9
    )


def test_info_tells_the_draws_the_counts_and_the_terms(build: Builder) -> None:
    env = build(replace(PLAIN, reward=tuple(REWARDS), limit=Limit("tightness", 0.8, 1.2)))
    _, drawn = env.reset(seed=3)
    assert {"scarcity", "spread", "scale", "best_value", "cost_limit"} <= set(drawn)
    best = best_value(env.episode.ads.best, np.array([env.episode.campaign.budget]))[0]
    assert drawn["best_value"] == pytest.approx(best, rel=1e-6)
    _, reward, _, _, info = env.step(still(env) - 1.0)
    assert reward == sum(info[f"reward/{name}"] for name in REWARDS)
    assert set(COLUMNS) < set(info)
    assert "best_value" not in build(replace(PLAIN, scale="forecast")).reset(seed=3)[1]


def test_a_day_may_bring_its_ads(build: Builder, past_days: tuple[Day, ...]) -> None:
    env = build(replace(PLAIN, miscalibration=(0.3, 0.3)))
    ads = AdMarket(env.market).over(past_days[0], np.random.default_rng(0))
    runs = []
    for given_day in (ads, replace(ads, once=True)):
        env.reset(seed=0, options={"day": given_day, "price_scale": 1.5})
        assert env.episode.ads.click is ads.click
        runs.append(play_on(env, np.random.default_rng(0)))
    assert runs[0] == runs[1]  # by the index or by the scan
    env = build()
    env.reset(options={"day": ads})
    assert env.episode.ads is ads
    env.reset(options={"day": past_days[0], "factors": np.ones((4, 8))})
    assert env.episode.ads.expected == pytest.approx(past_days[0].hidden.expected[None].repeat(4, axis=0))


def test_one_ad_that_fits_all_is_targeting(build: Builder, forecast: Forecast, past_days: tuple[Day, ...]) -> None:
    targeting = Scenario("targeting", prior=PRIOR)
    env = build(ads=1, spread=0.0)
    for day in past_days:
        env.reset(options={"day": day, "scarcity": 0.3})
        for wanted in controller_alone(Residual, day, env.episode.campaign, forecast, day.segments, targeting)[0]:
            assert env.step(still(env))[4]["expected"] == wanted
        assert env.episode.ads[0].traffic_hash == day.traffic_hash


def test_the_books_of_the_ads_add_up(build: Builder) -> None:
    env = build(LADDER)
    env.reset(seed=6)
    picks = np.array([1, 2, 3, 4, 1, 2, 3, 4, 2])
    for _ in range(4):
        env.step(picks)
    total, shown = env.episode.state().total, env.episode.shown
    for amounts, sums in zip(shown, (total.wins, total.clicks, total.predicted_clicks), strict=True):
        np.testing.assert_allclose(amounts.sum(axis=1), sums)
        assert (np.count_nonzero(amounts, axis=1) <= 1).all()
        np.testing.assert_allclose(amounts[np.arange(8), picks[:-1] - 1], sums)


def test_untried_ads_take_turns(build: Builder) -> None:
    env = build()
    env.reset(seed=0, options={"scarcity": 1e-6})  # nothing is won, so nothing is learnt
    chosen = []
    for _ in range(8):
        chosen.append(env._residual.decide(env.ad_hands.one(still(env)))[0])
        env.step(still(env))
    assert (np.diff(chosen, axis=0) % 4 == 1).all()
    assert (np.bincount(np.ravel(chosen)) == 16).all()


def test_the_learner_moves_ads_and_bids(build: Builder) -> None:
    env = build()
    env.reset(seed=0)
    clicks = np.full((8, 4), [[10.0, 0, 0, 0]])
    env._residual.shown = Shown(np.ones((8, 4)), clicks, np.full((8, 4), 20.0))
    for size, ad in ((0.0, 0), (0.4, 0), (0.6, 3)):  # the first ad's score is 0.35 above the others', reach is 0.7
        action = still(env)
        action[3:-1:4] = size
        assert (env._residual.decide(env.ad_hands.one(action))[0] == ad).all()
    plain, bold = (env._residual.decide(env.ad_hands.one(still(env) + bid)) for bid in ([0.0] * 33, [0.0] * 32 + [1.0]))
    np.testing.assert_allclose(bold[1] / plain[1], np.exp(env.scenario.reach))
    np.testing.assert_allclose(plain[1] / env._residual.pacer.multiplier[0], 30 / 40)
    picked = build(LADDER).ad_hands.one(np.array([4, 0, 0, 0, 0, 0, 0, 1, 2]))
    np.testing.assert_array_equal(env._residual.decide(picked)[0], [3, 0, 0, 0, 0, 0, 0, 0])


def test_late_conversions_are_told_late(build: Builder, past_days: tuple[Day, ...]) -> None:
    env, day = build(replace(PLAIN, reward=("realised",))), past_days[0]
    for delay in (0, 3):
        late = replace(day, hidden=replace(day.hidden, delay=np.full(len(day), delay)))
        ads = AdMarket(env.market).over(late, np.random.default_rng(0))
        env.reset(options={"day": ads, "scarcity": 2.0})
        came, told = [], []
        while not env.episode.over:
            came.append(env.step(still(env))[4]["revenue"])
            told.append(float(env.episode.state().last.revenue.sum()))
        assert sum(came) > 0
        np.testing.assert_allclose(told, [0.0] * delay + came[: len(came) - delay])


# --- nothing of the future ----------------------------------------------------------------------------------------


def grafted(ads: AdDay, other: AdDay, tick: int) -> AdDay:
    """Return the day, with everything from this tick on taken from another."""
    cut, rest = int(ads.base.starts[tick]), int(other.base.starts[tick])

    def joined(ours: Any, theirs: Any) -> Any:  # noqa: ANN401 - of several types
        return None if ours is None else np.concatenate([ours[..., :cut], theirs[..., rest:]], axis=-1)

    def part(name: str, kind: type[Opportunities] | type[Hidden]) -> Any:  # noqa: ANN401 - either kind
        ours, theirs = getattr(ads.base, name), getattr(other.base, name)
        return kind(*(joined(getattr(ours, n), getattr(theirs, n)) for n in kind.__slots__))

    day = Day(part("seen", Opportunities), part("hidden", Hidden), ads.base.ticks, ads.base.segments)
    return AdDay(day, ads.factors, *(joined(a, b) for a, b in zip(ads.outcomes, other.outcomes, strict=True)))


@pytest.mark.parametrize("tick", [0, 1, 5, 11])
def test_observations_know_nothing_of_the_future(build: Builder, tick: int) -> None:
    env, runs = build(), []
    ads, other = (AdMarket(env.market).day(np.random.default_rng(seed)) for seed in (0, 1))
    for each in (ads, grafted(ads, other, tick)):
        seen = [env.reset(options={"day": each, "scarcity": 0.2})[0].tobytes()]
        seen += [step[0] for step in play_on(env, np.random.default_rng(0))]
        runs.append(seen)
    assert runs[0][: tick + 1] == runs[1][: tick + 1]
    assert runs[0][tick + 1] != runs[1][tick + 1]


# --- something to learn -------------------------------------------------------------------------------------------


def test_knowing_the_ads_beats_the_controller_and_that_beats_one_ad() -> None:
    market = default_market()
    past = draw_days(market, 6, np.random.default_rng(11))
    env = AdSelection(ReplayMarket(past), Forecast.of(past), replace(LADDER, reward=("expected",)))
    scores: list[list[float]] = []
    for seed in range(24):
        day = []
        for policy in ("fixed", "controller", "cheater"):
            env.reset(seed=seed, options={"scarcity": 0.25})
            action = still(env)
            if policy != "controller":
                action[:-1] = 1 if policy == "fixed" else env.episode.ads.factors.argmax(axis=0) + 1
            day.append(0.0)
            while not env.episode.over:
                day[-1] += env.step(action)[1]
        scores.append(day)
    assert np.max(scores) <= 1.0
    gains = np.diff(scores, axis=1)
    assert (gains.mean(axis=0) > 4 * gains.std(axis=0) / np.sqrt(len(gains))).all()
    assert (gains.mean(axis=0) > 0.08).all()


def test_a_day_teaches_which_ad_fits(build: Builder) -> None:
    env = build(replace(PLAIN, scarcity=(1.0, 1.0)))
    fits = np.ones((4, 8))
    fits[2] = 5.0
    env.reset(seed=0, options={"factors": fits})
    while not env.episode.over:
        env.step(still(env))
    posterior = env._residual.posterior()
    assert posterior[:, 2].mean() > posterior[:, [0, 1, 3]].mean()


def test_more_is_seen_where_there_is_a_limit_or_prices_are_open() -> None:
    assert ad_features(PLAIN) == AD_FEATURES
    more = ad_features(replace(PLAIN, limit=Limit("roas", 0.5, 2.0), rules=Rules(censored=False)))
    added = {f.name for f in more} - {f.name for f in AD_FEATURES}
    assert added == {"limit", "limit_slack", "cost_of_worth", "price_seen"}
