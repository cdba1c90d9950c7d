"""Two controllers: which one bids, where they start, and that limits are kept while little is lost."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents import incremental, limited, mpid
from bidpilot.agents.base import Past
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_of
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenario import Limit
from bidpilot.envs.scenarios import SCENARIOS
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from bidpilot.envs.day import Day

POLICIES = [limited.Config(), mpid.Config()]


@cache
def traffic(delay: float) -> tuple[Day, ...]:
    law = replace(SCENARIOS["bidpilot/PacingROS-v0"].traffic, delay=delay)
    return tuple(draw_days(TrafficMarket(law), 14, np.random.default_rng(3)))


def past_of(delay: float = 0.0) -> Past:
    return Past(traffic(delay)[:6], Forecast.of(traffic(delay)[:6]))


def campaign_of(past: Past, share: float, tightness: float) -> Campaign:
    forecast = past.forecast
    limit = Limit("tightness", 0.1, 9.0).cost_limit(tightness, share, forecast) if tightness < np.inf else np.inf
    return Campaign(share * forecast.full_cost, forecast.ticks, forecast.full_cost, cost_limit=limit)


@pytest.mark.parametrize("config", POLICIES)
@pytest.mark.parametrize("delay", [0.0, 6.0])
@pytest.mark.parametrize("tightness", [0.5, 0.8])
def test_a_binding_limit_is_kept_and_little_is_lost(
    config: limited.Config | mpid.Config, delay: float, tightness: float
) -> None:
    past = past_of(delay)
    campaign = campaign_of(past, 1 / 4, tightness)
    policy, cost, share = config.build(past), [], []
    for day in traffic(delay)[6:]:
        result = run_episode(policy, day, campaign, np.random.default_rng(0))
        worth = result.total("expected")
        cost.append(result.total("spend") / MICROS / worth / campaign.cost_limit)
        share.append(worth / best_of(day, campaign.budget, campaign.cost_limit))
    assert np.mean(cost) < 1.03
    assert np.mean(share) > 0.93


@pytest.mark.parametrize(("tightness", "floor"), [(np.inf, 0.97), (3.0, 0.96)])
@pytest.mark.parametrize("config", POLICIES)
def test_where_no_limit_binds_the_budget_is_spent(
    config: limited.Config | mpid.Config, tightness: float, floor: float
) -> None:
    past = past_of()
    campaign = campaign_of(past, 1 / 4, tightness)
    policy = config.build(past)
    scores = [
        run_episode(policy, day, campaign, np.random.default_rng(0)).total("expected")
        / best_of(day, campaign.budget, campaign.cost_limit)
        for day in traffic(0.0)[6:]
    ]
    assert np.mean(scores) > floor


def test_without_a_limit_it_is_the_incremental_controller() -> None:
    past = past_of()
    campaign, day = campaign_of(past, 1 / 8, np.inf), traffic(0.0)[6]
    one, two = (
        run_episode(config.build(past), day, campaign, np.random.default_rng(0)).table
        for config in (limited.Config(), incremental.Config())
    )
    assert (one == two).all()


@pytest.mark.parametrize("config", POLICIES)
def test_conversions_that_fail_to_come_lower_the_bid(config: limited.Config | mpid.Config) -> None:
    past = past_of()
    campaign, day = campaign_of(past, 1 / 4, 0.8), traffic(0.0)[6]
    none = np.zeros(len(day), bool)
    barren = replace(day, hidden=replace(day.hidden, conversion=none, revenue=np.zeros(len(day), np.int64)))
    spend = [
        run_episode(replace(config, prior=5.0).build(past), each, campaign, np.random.default_rng(0)).total("spend")
        for each in (day, barren)
    ]
    assert spend[1] < 0.8 * spend[0]


def test_the_threshold_is_where_the_forecasts_mean_cost_meets_the_limit() -> None:
    grid = np.geomspace(0.01, 10.0, 4001)
    worth, cost = grid / 10.0, grid**2 / 200.0  # prices even over 0..10: the mean cost is half the multiplier
    forecast = Forecast(grid, cost[:, None], worth[:, None], np.ones(1), 100.0, 10.0)
    for limit in (0.1, 1.0, 3.0):
        assert forecast.affordable(limit) == pytest.approx(2.0 * limit, rel=1e-3)
    assert forecast.affordable(1e-5) == 1e-5  # nothing is known to be had so cheaply
    assert forecast.affordable(50.0) == 50.0
