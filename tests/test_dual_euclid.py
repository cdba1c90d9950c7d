"""Euclidean dual descent: its step, its bounds, and that it converges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.agents.base import Past
from bidpilot.agents.dual_euclid import Config, DualEuclid
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_multiplier, best_value
from bidpilot.envs.types import Campaign, CampaignState, Feedback

TICKS = 10
BUDGET = 30.0


def started(eta: float) -> DualEuclid:
    """Return a policy whose forecast is flat: a multiplier m spends the share m of 100, evenly."""
    grid = np.geomspace(0.001, 1.0, 129)
    share = np.repeat(grid[:, None] / TICKS, TICKS, axis=1)
    policy = Config(eta).build(Past((), Forecast(grid, share, share, np.full(TICKS, 0.1), 100.0, 100.0)))
    policy.reset(Campaign(BUDGET, TICKS, 100.0), np.random.default_rng(0))
    policy.multipliers(state(0, 0.0))
    return policy


def state(tick: int, spend: float) -> CampaignState:
    last = Feedback(*np.full((8, 1), 100.0))
    last.spend[:] = spend
    return CampaignState(tick, 0.0, BUDGET, last, last)


@pytest.mark.parametrize(("spend", "step"), [(0.0, -0.07), (3.0, 0.0), (6.0, 0.07), (33.0, 0.7)])
def test_one_step_is_eta_times_the_miss_as_a_share_of_the_first_price(spend: float, step: float) -> None:
    policy = started(0.07)
    first = policy.shadow
    multiplier = policy.multipliers(state(1, spend))[0]
    assert policy.shadow == pytest.approx((1.0 + step) * first)
    assert multiplier == pytest.approx(1.0 / policy.shadow)


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=TICKS), st.floats(0.001, 100))
def test_the_shadow_price_stays_at_least_zero_and_bids_finite(spends: list[float], eta: float) -> None:
    policy = started(eta)
    for tick, spend in enumerate(spends, start=1):
        assert 0 < policy.multipliers(state(tick, spend))[0] <= 1.0
        assert policy.shadow >= 0.0


def test_from_zero_it_rises_again() -> None:
    policy = started(1.5)
    policy.multipliers(state(1, 0.0))
    assert policy.shadow == 0.0
    policy.multipliers(state(2, 6.0))
    assert policy.shadow > 0.0


def test_it_finds_the_shadow_price_of_stationary_traffic() -> None:
    rng, ticks, per_tick = np.random.default_rng(8), 200, 150
    days = []
    for _ in range(2):
        n = ticks * per_tick
        worth, none, ones = rng.lognormal(-5.0, 0.5, n), np.zeros(n, np.int64), np.ones(n)
        price = np.rint(MICROS * rng.lognormal(-6.0, 0.6, n)).astype(np.int64)
        seen = Opportunities(0.1 * ones, ones, worth, 0 * ones, none, np.repeat(np.arange(ticks), per_tick))
        days.append(Day.build(seen, Hidden(price, none > 0, none > 0, none, worth), ticks))
    past = Past((days[0],), Forecast.of(days[:1]))
    campaign = Campaign(past.forecast.full_cost / 6, ticks, past.forecast.full_cost)
    policy = Config(0.02).build(past)
    result = run_episode(policy, days[1], campaign, np.random.default_rng(0))
    best = best_value(days[1], np.array([campaign.budget]))[0]
    assert result.total("expected") > 0.99 * best
    assert policy.multiplier == pytest.approx(best_multiplier(days[1], campaign.budget), rel=0.1)
