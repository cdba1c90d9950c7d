"""The incremental controller, step by step."""

from collections.abc import Callable

import numpy as np
import pytest

from bidpilot.ctr.types import MICROS
from bidpilot.envs.controller import GAIN, Campaigns, Controller, Pacer
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.types import Campaign, CampaignState, Feedback


def state(tick: int, spent: float, budget: float, total: Feedback | None = None) -> CampaignState:
    told = total or Feedback(*np.zeros((10, 1)))
    offers = Feedback(np.full(len(told.clicks), 100.0), *np.zeros((9, len(told.clicks))))
    return CampaignState(tick, spent, budget - spent, told, offers).lifted()


@pytest.fixture
def campaign(forecast: Forecast) -> Campaign:
    return Campaign(0.25 * forecast.full_cost, forecast.ticks, forecast.full_cost)


def test_it_starts_at_the_forecast(campaign: Campaign, forecast: Forecast) -> None:
    pacer = Pacer(Campaigns.of([campaign]), forecast)
    assert pacer.observe(state(0, 0.0, campaign.budget)) == forecast.multiplier(0.25) == pacer.start
    assert pacer.target == pytest.approx(campaign.budget * forecast.plan(0.25)[0])


@pytest.mark.parametrize(("share", "error"), [(1.0, 0.0), (0.4, 0.6), (0.0, 1.0), (1.5, -0.5), (9.0, -1.0)])
def test_a_step_by_hand(campaign: Campaign, forecast: Forecast, share: float, error: float) -> None:
    pacer, plan = Pacer(Campaigns.of([campaign]), forecast), forecast.plan(0.25)
    pacer.observe(state(0, 0.0, campaign.budget))
    spent = share * pacer.target
    assert pacer.observe(state(1, spent, campaign.budget)) == pytest.approx(pacer.start * np.exp(GAIN * error))
    assert pacer.target == pytest.approx((campaign.budget - spent) * plan[1] / plan[1:].sum())


def test_what_was_not_spent_is_planned_anew(campaign: Campaign, forecast: Forecast) -> None:
    pacer, targets = Pacer(Campaigns.of([campaign]), forecast), []
    for tick in range(forecast.ticks):
        pacer.observe(state(tick, 0.0, campaign.budget))
        targets.append(pacer.target)
    assert targets[-1] == pytest.approx(campaign.budget)
    assert pacer.target_at(state(forecast.ticks, 0.0, campaign.budget)) == 0


def test_without_money_it_waits(campaign: Campaign, forecast: Forecast) -> None:
    pacer = Pacer(Campaigns.of([campaign]), forecast)
    pacer.observe(state(0, 0.0, campaign.budget))
    reached = pacer.observe(state(1, campaign.budget, campaign.budget))
    assert pacer.target == 0
    assert {pacer.observe(state(tick, campaign.budget, campaign.budget)) for tick in range(2, 13)} == {reached}


def test_a_tick_without_traffic_teaches_nothing(campaign: Campaign, forecast: Forecast) -> None:
    pacer = Pacer(Campaigns.of([campaign]), forecast)
    pacer.observe(state(0, 0.0, campaign.budget))
    silent = CampaignState.start(campaign)
    unheard = CampaignState(1, 0.0, campaign.budget, silent.total, silent.last)
    assert pacer.observe(unheard.lifted()) == pacer.start


def test_without_gain_it_is_constant(campaign: Campaign, forecast: Forecast) -> None:
    pacer = Pacer(Campaigns.of([campaign]), forecast, gain=0.0)
    assert {pacer.observe(state(tick, 0.0, campaign.budget)) for tick in range(12)} == {pacer.start}


def test_an_even_day_is_spent_evenly(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(0, rows=24_000, ticks=24)
    forecast = Forecast.of([smooth_day(seed, rows=24_000, ticks=24) for seed in (1, 2)])
    campaign = Campaign(0.2 * forecast.full_cost, 24, forecast.full_cost)
    pacer, episode = Pacer(Campaigns.of([campaign]), forecast), Episode(day, campaign)
    while not episode.over:
        episode.bid_multipliers(np.array([pacer.observe(episode.state().lifted())]))
    share = np.cumsum(episode.result().table[:, 1]) / MICROS / campaign.budget
    np.testing.assert_allclose(share, np.arange(1, 25) / 24, atol=0.03)
    assert share[-1] > 0.98


@pytest.mark.parametrize(("gain", "spent_by_noon"), [(0.0, 0.95), (GAIN, 0.54)])
def test_it_corrects_a_forecast_of_half_the_traffic(
    smooth_day: Callable[..., Day], gain: float, spent_by_noon: float
) -> None:
    day, forecast = smooth_day(0, rows=24_000, ticks=48), Forecast.of([smooth_day(1, rows=12_000, ticks=48)])
    campaign = Campaign(0.2 * forecast.full_cost, 48, forecast.full_cost)
    pacer, episode = Pacer(Campaigns.of([campaign]), forecast, gain), Episode(day, campaign)
    while not episode.over:
        episode.bid_multipliers(np.array([pacer.observe(episode.state().lifted())]))
    share = np.cumsum(episode.result().table[:, 1]) / MICROS / campaign.budget
    assert share[23] == pytest.approx(spent_by_noon, abs=0.05)
    assert share[-1] > 0.97


def test_recalibration_by_hand(campaign: Campaign, forecast: Forecast) -> None:
    columns = dict.fromkeys(Feedback._fields, np.zeros(3))
    columns |= {"clicks": np.array([30.0, 0.0, 10.0]), "predicted_clicks": np.array([20.0, 60.0, 10.0])}
    controller = Controller(Campaigns.of([campaign], 3), forecast, groups=3, prior=20.0)
    multipliers = controller.observe(state(0, 0.0, campaign.budget, Feedback(**columns)))
    np.testing.assert_allclose(multipliers, controller.pacer.start * np.array([[50 / 40, 20 / 80, 1.0]]))


def test_before_the_first_click_nothing_is_recalibrated(campaign: Campaign, forecast: Forecast) -> None:
    controller = Controller(Campaigns.of([campaign], 3), forecast, groups=3, prior=20.0)
    multipliers = controller.observe(state(0, 0.0, campaign.budget, Feedback(*np.zeros((10, 3)))))
    np.testing.assert_allclose(multipliers, forecast.multiplier(campaign.scarcity), rtol=1e-15)


def test_without_a_prior_all_groups_bid_alike(campaign: Campaign, forecast: Forecast) -> None:
    total = Feedback(*np.random.default_rng(0).uniform(1, 9, (10, 3)))
    controller = Controller(Campaigns.of([campaign], 3), forecast, groups=3)
    alike = controller.observe(state(0, 0.0, campaign.budget, total))
    assert alike.tolist() == [[forecast.multiplier(campaign.scarcity)] * 3]
