"""One budget for several campaigns: the split, and the money that follows it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS
from bidpilot.envs.allocation import FURTHEST, Allocation, Split
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import Market
from bidpilot.envs.scenario import Limit, Scenario
from bidpilot.envs.scenarios import find_scenario, make
from bidpilot.envs.shadow import controller_alone
from bidpilot.envs.types import Campaign, CampaignState

PLAIN = Scenario("allocation", prior=20.0)


@pytest.fixture(scope="module")
def parts(past_days: tuple[Day, ...]) -> Forecast:
    """Return a forecast of each campaign."""
    return Forecast.with_parts(past_days)


@pytest.fixture
def campaign(parts: Forecast) -> Campaign:
    return Campaign(0.2 * parts.full_cost, parts.ticks, parts.full_cost)


def begun(campaign: Campaign, parts: Forecast, scenario: Scenario = PLAIN, groups: int = 8) -> Split:
    """Return a split before the first tick."""
    split = Split([campaign], parts, groups, scenario)
    split.observe(CampaignState.start(campaign, groups).lifted())
    return split


def spend_of(
    env: Allocation, action: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return what each campaign (8,) spends in an episode of one action, currency."""
    env.reset(seed=3, options={"scarcity": 0.1})
    while not env.episode.over:
        env.step(action)
    return np.ravel(env.episode.glance().total.spend)


# --- the split ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scarcity", [1e-4, 0.05, 0.5, 3.0])
def test_shares_are_a_whole_and_spend_the_plan(parts: Forecast, scarcity: float) -> None:
    campaign = Campaign(scarcity * parts.full_cost, parts.ticks, parts.full_cost)
    split = begun(campaign, parts)
    for action in (np.zeros((1, 8)), np.linspace(-1, 1, 8)[None], np.full((1, 8), 9.0)):
        split.multipliers(action)
        assert (split._target >= 0).all()
        assert split._target.sum() == pytest.approx(float(np.ravel(split.pacer.target)[0]), rel=1e-12)
    assert split._share.sum() == pytest.approx(1.0, rel=1e-12)


def test_an_action_moves_shares_by_the_reach(campaign: Campaign, parts: Forecast) -> None:
    split = begun(campaign, parts, replace(PLAIN, reach=0.5))
    split.multipliers(np.zeros((1, 8)))
    even = split._target.copy()
    split.multipliers(np.array([[1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7.0]]))
    moved = split._target / even
    np.testing.assert_allclose(moved / moved[0, 2], [np.exp(0.5 * np.array([1, -1, 0, 0, 0, 0, 0, 1]))])


def test_all_actions_alike_are_the_controller(campaign: Campaign, parts: Forecast) -> None:
    split = begun(campaign, parts)
    still = split.multipliers(np.zeros((1, 8)))
    np.testing.assert_allclose(split.multipliers(np.full((1, 8), 0.7)), still, rtol=1e-12)


def test_without_clicks_all_campaigns_bid_alike(campaign: Campaign, parts: Forecast) -> None:
    multipliers = begun(campaign, parts).multipliers(np.zeros((1, 8)))[0]
    common = float(parts.multiplier(0.2))
    np.testing.assert_allclose(multipliers, common, rtol=0.15)  # as far as the parts' own tables tell the same


def test_more_clicks_than_predicted_bring_a_larger_share(
    campaign: Campaign, parts: Forecast, past_days: tuple[Day, ...]
) -> None:
    episode = Episode(past_days[0], campaign, 8)
    episode.bid_multipliers(np.full(8, 0.2))
    state = episode.glance()
    lucky = state.total._replace(clicks=state.total.predicted_clicks + np.eye(8)[[2]] * 30)
    shares = []
    for told in (state.total._replace(clicks=state.total.predicted_clicks), lucky):
        split = begun(campaign, parts)
        split.multipliers(np.zeros((1, 8)))
        split.observe(state._replace(total=told))
        shares.append(split._share[0])
    assert shares[1][2] > shares[0][2]
    assert (np.delete(shares[1], 2) < np.delete(shares[0], 2)).all()


def test_corrections_stay_within_their_bounds(campaign: Campaign, parts: Forecast) -> None:
    split, start = Split([campaign], parts, 8, replace(PLAIN, gain=2.0)), CampaignState.start(campaign, 8)
    for tick in range(parts.ticks):
        offered = start.last._replace(offered=np.full(8, 9.0))  # much is offered and nothing is won
        split.observe(start._replace(tick=tick, last=offered, total=offered).lifted())
        split.multipliers(np.zeros((1, 8)))
    assert (split._log_correction == FURTHEST).all()


def test_a_limit_bounds_every_campaigns_bid(parts: Forecast) -> None:
    limited = Campaign(0.5 * parts.full_cost, parts.ticks, parts.full_cost, cost_limit=0.01)
    scenario = replace(PLAIN, limit=Limit("roas", 1.0, 2.0))
    assert (begun(limited, parts, scenario).multipliers(np.ones((1, 8))) <= 0.01).all()


@pytest.mark.parametrize("groups", [1, 8])
def test_a_forecast_without_the_parts_is_refused(forecast: Forecast, campaign: Campaign, groups: int) -> None:
    with pytest.raises(InputError, match=f"an allocation between {groups} campaigns needs a forecast of each.*; got 0"):
        Split([campaign], forecast, groups, PLAIN)


def test_the_environment_refuses_it_too(market: Market, forecast: Forecast) -> None:
    env = make("bidpilot/Allocation-v0", market, forecast)
    with pytest.raises(InputError, match=r"see Forecast\.with_parts; got 0"):
        env.reset(seed=0)


# --- the environment ----------------------------------------------------------------------------------------------


@pytest.fixture
def env(market: Market, parts: Forecast) -> Allocation:
    made = make(find_scenario("bidpilot/Allocation-v0"), market, parts)
    assert isinstance(made, Allocation)
    return made


def test_money_follows_the_action(env: Allocation) -> None:
    even = spend_of(env, np.zeros(8, np.float32))
    for favoured in (0, 5):
        action = np.full(8, -1.0, np.float32)
        action[favoured] = 1.0
        moved = spend_of(env, action)
        assert moved[favoured] > 1.5 * even[favoured]
        assert np.delete(moved, favoured).sum() < np.delete(even, favoured).sum()


def test_the_purse_is_one(env: Allocation) -> None:
    for seed in range(3):
        env.reset(seed=seed, options={"scarcity": 0.02})
        rng = np.random.default_rng(seed)
        while not env.episode.over:
            env.step(rng.uniform(-1, 1, 8).astype(np.float32))
        assert env.episode.left >= 0
        assert env.episode.result().total("spend") <= env.episode.campaign.budget * MICROS * (1 + 1e-12)


def test_the_zero_action_is_the_controller_to_the_bit(env: Allocation, parts: Forecast) -> None:
    for seed in range(3):
        env.reset(seed=seed)
        day, campaign = env.episode.day, env.episode.campaign
        earned, rewards = [], set()
        while not env.episode.over:
            _, reward, _, _, info = env.step(np.zeros(8, np.float32))
            earned.append(info["expected"])
            rewards.add(reward)
        assert earned == controller_alone(Split, day, campaign, parts, 8, env.scenario)[0].tolist()
        assert rewards == {0.0}


def test_moving_money_to_those_who_are_underrated_pays(env: Allocation) -> None:
    gain = []
    for seed in range(6):
        scores = []
        for knows in (False, True):
            env.reset(seed=seed, options={"scarcity": 0.1})
            belief = env.episode.day.belief
            assert belief is not None
            hint = np.clip(-np.log(belief) / np.log(belief).std(), -1, 1) if knows else np.zeros(8)
            score = 0.0
            while not env.episode.over:
                score += env.step(hint.astype(np.float32))[4]["reward/expected"]
            scores.append(score)
        gain.append(scores[1] - scores[0])
    assert np.mean(gain) > 0.02


def test_one_campaign_alone_has_nothing_to_split(smooth_day: Callable[..., Day]) -> None:
    days = [smooth_day(seed, rows=200, segments=1) for seed in range(3)]
    alone = Forecast.with_parts(days)
    campaign = Campaign(0.2 * alone.full_cost, alone.ticks, alone.full_cost)
    split = Split([campaign], alone, 1, PLAIN)
    split.observe(CampaignState.start(campaign, 1).lifted())
    assert split.multipliers(0.0) == split.multipliers(1.0) > 0
