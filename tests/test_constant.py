"""The flat bid: its level comes from the past, the budget and the factor, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.agents.constant import Config
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.types import Campaign

TICKS = 12


@pytest.fixture(scope="module")
def past() -> Past:
    days = draw_days(default_market(600, TICKS), 3, np.random.default_rng(3))
    return Past(days, Forecast.of(days))


def campaign(past: Past, share: float) -> Campaign:
    return Campaign(share * past.forecast.full_cost, TICKS, past.forecast.full_cost)


def test_the_level_is_factor_times_multiplier_times_mean_worth(past: Past) -> None:
    policy = Config(1.5).build(past)
    policy.reset(campaign(past, 0.2), np.random.default_rng(0))
    worth = np.mean(np.concatenate([day.seen.value for day in past.days]))
    assert policy.amount == pytest.approx(1.5 * past.forecast.multiplier(0.2) * worth, rel=1e-12)


def test_wins_are_all_prices_up_to_the_bid(past: Past) -> None:
    day, policy = past.days[0], Config(2.0).build(past)
    plenty = Campaign(100 * past.forecast.full_cost, TICKS, past.forecast.full_cost)
    result = run_episode(policy, day, plenty, np.random.default_rng(0))
    won = day.hidden.price <= np.floor(policy.amount * MICROS)
    assert 0 < result.total("wins") == won.sum()
    assert result.total("spend") == day.hidden.price[won].sum()


def test_a_larger_budget_bids_more(past: Past) -> None:
    policy, amounts = Config().build(past), []
    for share in (0.05, 0.2, 0.8):
        policy.reset(campaign(past, share), np.random.default_rng(0))
        amounts.append(policy.amount)
    assert amounts == sorted(set(amounts))
