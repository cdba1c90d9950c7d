"""Throttling: the first probability, its steps, and that worth does not decide who takes part."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.agents.throttling import LEAST, Config, Throttling
from bidpilot.envs.day import Opportunities
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.types import Campaign, CampaignState, Feedback

TICKS = 10
BUDGET = 30.0


def started(config: Config) -> Throttling:
    """Return a policy whose forecast is flat: a multiplier m spends the share m of 100, evenly."""
    grid = np.geomspace(0.001, 1.0, 129)
    share = np.repeat(grid[:, None] / TICKS, TICKS, axis=1)
    policy = config.build(Past((), Forecast(grid, share, share, np.full(TICKS, 0.1), 100.0, 100.0)))
    policy.reset(Campaign(BUDGET, TICKS, 100.0), np.random.default_rng(0))
    return policy


def state(tick: int, spend: float, offered: float = 100.0) -> CampaignState:
    last = Feedback(*np.full((8, 1), offered))
    last.spend[:] = spend
    return CampaignState(tick, 0.0, BUDGET, last, last)


def offers(count: int) -> Opportunities:
    rng, ones = np.random.default_rng(4), np.ones(count)
    none = np.zeros(count, np.int64)
    return Opportunities(0.1 * ones, ones, rng.lognormal(0.0, 1.0, count), 0.0 * ones, none, none)


@pytest.mark.parametrize(("factor", "probability"), [(1.0, 1.0), (2.0, 0.5), (3.0, 1 / 3)])
def test_the_first_probability_is_the_budget_over_the_full_bids_spend(factor: float, probability: float) -> None:
    assert started(Config(factor)).probability == pytest.approx(probability, rel=0.01)


@pytest.mark.parametrize(("spend", "offered", "change"), [(2.9, 9.0, 1.1), (3.6, 9.0, 0.9), (0.0, 0.0, 1.0)])
def test_the_probability_moves_towards_the_plan_by_a_tenth(spend: float, offered: float, change: float) -> None:
    policy = started(Config(2.0))
    policy.bid(state(0, 0.0), offers(1))
    before = policy.probability
    policy.bid(state(1, spend, offered), offers(1))
    assert policy.probability == pytest.approx(change * before)


def test_the_probability_keeps_within_its_bounds() -> None:
    policy = started(Config(2.0, step=0.3))
    for tick in range(TICKS):
        policy.bid(state(tick, 0.0), offers(1))
    assert policy.probability == 1.0
    for _ in range(40):
        policy.bid(state(5, 1e9), offers(1))
    assert policy.probability == LEAST


def test_who_takes_part_does_not_depend_on_worth() -> None:
    policy, seen = started(Config(2.0)), offers(40_000)
    bids = policy.bid(state(0, 0.0), seen)
    takes_part = bids > 0
    assert takes_part.mean() == pytest.approx(0.5, abs=0.01)
    assert abs(np.corrcoef(takes_part, seen.value)[0, 1]) < 0.015
    assert bids[takes_part] == pytest.approx(0.6 * seen.value[takes_part], rel=0.01)
