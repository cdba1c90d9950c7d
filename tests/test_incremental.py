"""The incremental controller is the environments' Pacer, and nothing besides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.agents.incremental import Config
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.controller import GAIN, Campaigns, Pacer
from bidpilot.envs.episode import Episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.types import Campaign, CampaignState, Feedback

if TYPE_CHECKING:
    from bidpilot.envs.day import Day

TICKS = 24


@pytest.fixture(scope="module")
def days() -> tuple[Day, ...]:
    return draw_days(default_market(1_200, TICKS), 3, np.random.default_rng(3))


def state(tick: int, spend: float, left: float, spent: float) -> CampaignState:
    """Return a state after a tick of 100 offers in which this much was spent."""
    last = Feedback(*np.full((8, 1), 100.0))
    last.spend[:] = spend
    return CampaignState(tick, spent, left, last, last)


@pytest.mark.parametrize("gain", [GAIN, 0.3])
def test_it_bids_what_the_pacer_says(days: tuple[Day, ...], gain: float) -> None:
    past = Past(days[:2], Forecast.of(days[:2]))
    campaign = Campaign(0.2 * past.forecast.full_cost, TICKS, past.forecast.full_cost)
    episode, pacer = Episode(days[2], campaign), Pacer(Campaigns.of([campaign]), past.forecast, gain)
    while not episode.over:
        episode.bid_multipliers(np.array([pacer.observe(episode.state().lifted())]))
    result = run_episode(Config(gain).build(past), days[2], campaign, np.random.default_rng(0))
    assert (result.table == episode.result().table).all()


def test_too_much_spend_lowers_the_bid_and_too_little_raises_it(days: tuple[Day, ...]) -> None:
    past = Past(days, Forecast.of(days))
    campaign = Campaign(0.2 * past.forecast.full_cost, TICKS, past.forecast.full_cost)
    target = campaign.budget * past.forecast.plan(campaign.scarcity)[0]
    moved = []
    for share in (0.0, 0.5, 1.0, 1.5, 9.0):
        policy = Config().build(past)
        policy.reset(campaign, np.random.default_rng(0))
        start = policy.multipliers(state(0, 0.0, campaign.budget, 0.0))[0]
        spend = share * target
        moved.append(np.log(policy.multipliers(state(1, spend, campaign.budget - spend, spend))[0] / start))
    assert moved == pytest.approx([GAIN, GAIN / 2, 0.0, -GAIN / 2, -GAIN], abs=1e-9)


def test_it_spends_the_budget(days: tuple[Day, ...]) -> None:
    past = Past(days[:2], Forecast.of(days[:2]))
    for share in (0.1, 0.5):
        campaign = Campaign(share * past.forecast.full_cost, TICKS, past.forecast.full_cost)
        result = run_episode(Config().build(past), days[2], campaign, np.random.default_rng(0))
        assert 0.95 < result.total("spend") / MICROS / campaign.budget <= 1.0


def test_a_tick_before_reset_is_a_programming_error(days: tuple[Day, ...]) -> None:
    with pytest.raises(RuntimeError, match="reset the policy"):
        Config().build(Past(days, Forecast.of(days))).multipliers(state(0, 0.0, 1.0, 0.0))
