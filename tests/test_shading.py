"""Shading: what it earns at first price, that it is linear at second price, floors and soft floors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from bidpilot.agents import incremental, shading
from bidpilot.agents.base import Past
from bidpilot.agents.curve import MOST_ROWS, measured
from bidpilot.agents.oracle import Oracle
from bidpilot.agents.rollout import run_episode
from bidpilot.envs.auctions import soft_floor
from bidpilot.envs.day import Day, Opportunities
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import SCENARIOS
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.types import Campaign, CampaignState, Rules


@cache
def traffic() -> tuple[Day, ...]:
    """Return days of the first-price scenario."""
    law = SCENARIOS["bidpilot/PacingFirstPrice-v0"].traffic
    return tuple(draw_days(TrafficMarket(law), 18, np.random.default_rng(3)))


def past_of(auction: str) -> Past:
    return Past(traffic()[:8], Forecast.of(traffic()[:8], auction))


def campaign_of(past: Past, share: float, auction: str) -> Campaign:
    full = past.forecast.full_cost
    return Campaign(share * full, past.forecast.ticks, full, Rules(auction))


@pytest.mark.parametrize(("share", "lead"), [(1 / 8, 1.01), (1 / 2, 1.02)])
def test_at_first_price_it_earns_more_than_the_best_uniform_multiplier(share: float, lead: float) -> None:
    past = past_of("first_price")
    campaign = campaign_of(past, share, "first_price")
    shaded, plain = shading.Config().build(past), incremental.Config().build(past)
    earned = []
    for day in traffic()[8:]:
        rng = np.random.default_rng(0)
        played = [run_episode(policy, day, campaign, rng) for policy in (shaded, plain, Oracle(day))]
        earned.append([result.total("expected") for result in played])
    ours, controller, best = np.mean(earned, axis=0)
    assert ours > lead * best
    assert ours > 1.025 * controller


def test_at_second_price_bids_are_linear_and_as_good_as_the_controllers() -> None:
    past = past_of("second_price")
    campaign = campaign_of(past, 1 / 8, "second_price")
    policy, controller = shading.Config().build(past), incremental.Config().build(past)
    day = traffic()[8]
    policy.reset(campaign, np.random.default_rng(0))
    bids = policy.bid(CampaignState.start(campaign), day.seen)
    assert np.ptp(bids / day.seen.value) < 1e-12 * bids.max() / day.seen.value.min()
    totals = [
        sum(run_episode(each, d, campaign, np.random.default_rng(0)).total("expected") for d in traffic()[8:13])
        for each in (policy, controller)
    ]
    assert totals[0] == pytest.approx(totals[1], rel=0.005)


def started(auction: str) -> shading.Shading:
    policy = shading.Config().build(past_of(auction))
    policy.reset(campaign_of(past_of(auction), 1 / 8, auction), np.random.default_rng(0))
    return policy


def seen_with(reserve: float, soft: float, count: int) -> Opportunities:
    ones, none = np.ones(count), np.zeros(count, np.int64)
    return Opportunities(0.02 * ones, 0.1 * ones, 0.008 * ones, reserve * ones, none, none, None, soft * ones)


def test_a_reserve_is_bid_where_the_best_bid_lies_below_it_and_worth_above() -> None:
    policy, worth = started("first_price"), np.array([0.001, 0.0049, 0.0051, 0.02, 0.2])
    free, floored = (policy.curve(worth, seen_with(reserve, 0.0, 5)) for reserve in (0.0, 0.005))
    assert floored == pytest.approx(np.where(worth > 0.005, np.maximum(free, 0.005), free))
    assert floored[2] == 0.005


def test_under_a_soft_floor_the_bid_leaves_as_much_as_any_other() -> None:
    policy, worth, floor = started("soft_floor"), np.geomspace(0.001, 0.1, 30), 0.004
    seen = seen_with(0.0, floor, 30)
    prices = policy.law.typical(seen)[0] * np.exp(policy.law.sigma * np.random.default_rng(1).standard_normal(40_000))
    micros, soft = np.rint(1e6 * prices).astype(np.int64), np.full(len(prices), round(1e6 * floor))

    def surplus(v: float, bid: float) -> float:
        cost = soft_floor(micros, np.full(len(prices), 1e6 * bid), soft) / 1e6
        return float(np.mean((v - cost) * (micros <= 1e6 * bid)))

    for v, bid in zip(worth, policy.curve(worth, seen), strict=True):
        others = max(surplus(v, other) for other in v * np.linspace(0.02, 1.0, 50))
        assert surplus(v, bid) >= others - 0.004 * v


def test_a_large_past_is_measured_on_a_part_of_its_rows() -> None:
    days, base = traffic()[:4], past_of("first_price").forecast
    whole = measured(lambda worth, _: worth, days, base, "second_price")
    many = tuple(days) * (1 + MOST_ROWS // sum(map(len, days)))
    thinned = measured(lambda worth, _: worth, many, base, "second_price")
    assert thinned.spending(base.multiplier(0.3)) == pytest.approx(whole.spending(base.multiplier(0.3)), rel=0.03)
    assert whole.spending(base.multipliers[-1]) == pytest.approx(
        np.mean([day.full_cost for day in days]) / 1e6 / base.full_cost, rel=1e-3
    )
