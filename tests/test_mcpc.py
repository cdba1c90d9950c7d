"""Mcpc: what a click cost at the budget, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.agents.mcpc import Config
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.types import Campaign, CampaignState


def hand_made(rate: float = 0.25) -> Day:
    """Return a day of four impressions of worth 1 and prices 1, 2, 3 and 10."""
    ones, none = np.ones(4), np.zeros(4, np.int64)
    seen = Opportunities(rate * ones, ones, ones, 0 * ones, none, none)
    return Day.build(seen, Hidden(MICROS * np.array([1, 2, 3, 10]), none > 0, none > 0, none, ones), 1)


@pytest.mark.parametrize(("budget", "expected"), [(1.0, 4.0), (3.0, 6.0), (6.0, 8.0), (16.0, 16.0), (99.0, 16.0)])
def test_a_click_cost_what_the_impressions_that_the_budget_buys_did(budget: float, expected: float) -> None:
    day = hand_made()
    past = Past((day,), Forecast.of((day,)))
    policy = Config(2.0).build(past)
    campaign = Campaign(budget, 1, past.forecast.full_cost)
    policy.reset(campaign, np.random.default_rng(0))
    assert policy.per_click == pytest.approx(2.0 * expected)
    assert policy.bid(CampaignState.start(campaign), day.seen) == pytest.approx(2.0 * expected * day.seen.pctr)


def test_without_clicks_there_is_no_bid() -> None:
    day = hand_made(rate=0.0)
    policy = Config().build(Past((day,), Forecast.of((day,))))
    policy.reset(Campaign(3.0, 1, 16.0), np.random.default_rng(0))
    assert policy.per_click == 0.0
