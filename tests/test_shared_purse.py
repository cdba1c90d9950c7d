"""Policies that split one purse between segments."""

import numpy as np
import pytest

from bidpilot.agents import split_even, split_marginal, split_value
from bidpilot.agents.base import Past
from bidpilot.agents.rollout import run_episode
from bidpilot.agents.shared_purse import SharedPurse
from bidpilot.agents.split_marginal import curves_of
from bidpilot.ctr.types import MICROS
from bidpilot.envs.allocation import Split
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.shadow import controller_alone
from bidpilot.envs.types import Campaign, CampaignState


@pytest.fixture(scope="module")
def past(past_days: tuple[Day, ...], forecast: Forecast) -> Past:
    return Past(past_days[:4], forecast)


@pytest.fixture(scope="module")
def campaign(past: Past) -> Campaign:
    return Campaign(0.3 * past.forecast.full_cost, past.forecast.ticks, past.forecast.full_cost)


def first_shares(policy: SharedPurse, campaign: Campaign, past: Past) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the shares before the first tick."""
    policy.reset(campaign, np.random.default_rng(0))
    forecast = Forecast.with_parts(past.days)
    return policy.shares(CampaignState.start(campaign, 8), forecast, campaign.budget)


def test_each_policy_splits_by_its_own_rule(past: Past, campaign: Campaign) -> None:
    parts = Forecast.with_parts(past.days).parts
    assert first_shares(split_even.Config().build(past), campaign, past).tolist() == [0.125] * 8
    worth = np.array([part.full_value for part in parts])
    assert first_shares(split_value.Config().build(past), campaign, past) == pytest.approx(worth / worth.sum())


def test_equal_marginal_returns_are_one_multiplier_where_predictions_hold(past: Past, campaign: Campaign) -> None:
    forecast = Forecast.with_parts(past.days)
    policy = split_marginal.Config().build(past)
    share = first_shares(policy, campaign, past)
    split = Split([campaign], forecast, 8, Scenario("allocation", prior=20.0))
    split.observe(CampaignState.start(campaign, 8).lifted())
    assert np.abs(share - split._share[0]).sum() < 0.1  # of 2: the forecasts' grids of multipliers differ
    multipliers = policy.multipliers(CampaignState.start(campaign, 8))
    busy = share > 0.03
    assert np.log(multipliers[busy]).std() < 0.2


def test_a_campaign_whose_clicks_exceed_the_predictions_gets_more(past: Past, campaign: Campaign) -> None:
    policy, forecast = split_marginal.Config().build(past), Forecast.with_parts(past.days)
    before = first_shares(policy, campaign, past)
    start = CampaignState.start(campaign, 8)
    clicks = np.zeros((1, 8))
    clicks[0, 2] = 40.0
    told = start._replace(total=start.total._replace(clicks=clicks, predicted_clicks=np.zeros((1, 8))))
    after = policy.shares(told, forecast, campaign.budget)
    assert after[2] > before[2]
    assert after.sum() == pytest.approx(1.0)


def test_shares_become_spend() -> None:
    days = draw_days(default_market(6_000.0, 12), 3, np.random.default_rng(1))
    past = Past(days[:2], Forecast.of(days[:2]))
    campaign = Campaign(0.05 * past.forecast.full_cost, 12, past.forecast.full_cost)
    spent = []
    for config in (split_even.Config(), split_value.Config()):
        policy = config.build(past)
        policy.reset(campaign, np.random.default_rng(0))
        episode = Episode(days[2], campaign, 8)
        while not episode.over:
            episode.bid_multipliers(policy.multipliers(episode.state()))
        each = np.ravel(episode.state().total.spend)
        spent.append(each / each.sum())
    value = np.array([part.full_value for part in Forecast.with_parts(past.days).parts])
    assert np.abs(spent[0] - 0.125).sum() < 0.5 * np.abs(spent[1] - 0.125).sum()
    assert np.abs(spent[1] - value / value.sum()).sum() < 0.5 * np.abs(spent[0] - value / value.sum()).sum()


def test_a_segment_that_was_never_seen_is_no_obstacle(
    past: Past, past_days: tuple[Day, ...], campaign: Campaign
) -> None:
    def without(day: Day) -> Day:
        rows = np.flatnonzero(day.seen.segment != 0)
        return Day.build(day.seen.rows(rows), day.hidden.rows(rows), day.ticks, day.segments)

    blind = Past(tuple(without(day) for day in past.days), past.forecast)
    for config in (split_even.Config(), split_value.Config(), split_marginal.Config()):
        result = run_episode(config.build(blind), past_days[4], campaign, np.random.default_rng(0))
        assert result.total("wins") > 0
        assert result.total("spend") <= campaign.budget * MICROS


def test_it_earns_what_the_environments_own_split_earns(
    past: Past, past_days: tuple[Day, ...], campaign: Campaign
) -> None:
    forecast, day = Forecast.with_parts(past.days), past_days[4]
    own = controller_alone(Split, day, campaign, forecast, 8, Scenario("allocation", prior=20.0))[0].sum()
    result = run_episode(split_marginal.Config().build(past), day, campaign, np.random.default_rng(0))
    assert result.total("expected") == pytest.approx(float(own), rel=0.05)


def test_returns_are_free_of_the_unit_of_money(past: Past) -> None:
    curves = curves_of(Forecast.with_parts(past.days))
    everything = curves.spread(2.0)
    assert everything.spent.sum() == pytest.approx(1.0, abs=0.01)
    assert everything.worth.sum() == pytest.approx(1.0, abs=0.01)
