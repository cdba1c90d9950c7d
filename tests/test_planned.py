"""Targets on the remaining budget, the error against them, and what an hour without traffic does."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.agents import dual
from bidpilot.agents.base import Past
from bidpilot.agents.planned import PlannedPolicy
from bidpilot.agents.registry import policies
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, Feedback

TICKS = 48
OUTAGE = 20


class Doubling(PlannedPolicy):
    """Doubles after every tick and notes the error that it saw."""

    def __init__(self, forecast: Forecast) -> None:
        """Start without notes."""
        super().__init__(forecast)
        self.errors: list[float] = []

    def react(self, state: CampaignState) -> None:
        """Double."""
        self.errors.append(self.error(state))
        self.multiplier *= 2.0


def flat_forecast(ticks: int = 4) -> Forecast:
    """Return a forecast by which a multiplier m spends the share m of the full cost, evenly over the day."""
    grid = np.geomspace(0.001, 1.0, 129)
    share = np.repeat(grid[:, None] / ticks, ticks, axis=1)
    return Forecast(grid, share, np.sqrt(share), np.full(ticks, 1 / ticks), 100.0, 100.0)


def state(tick: int, spend: float, left: float) -> CampaignState:
    """Return a state after a tick of 100 offers in which this much was spent."""
    last = Feedback(*np.full((8, 1), 100.0))
    last.spend[:] = spend
    return CampaignState(tick, 40.0 - left, left, last, last)


def test_targets_share_out_what_is_left_and_errors_are_relative_and_clipped() -> None:
    policy = Doubling(flat_forecast())
    policy.reset(Campaign(40.0, 4, 100.0), np.random.default_rng(0))
    path = [(0, 0.0, 40.0), (1, 10.0, 30.0), (2, 5.0, 25.0), (3, 25.0, 0.0), (4, 0.0, 0.0)]
    multipliers, targets = [], []
    for step in path:
        multipliers.append(policy.multipliers(state(*step))[0])
        targets.append(policy.target)
    assert targets == pytest.approx([10.0, 10.0, 12.5, 0.0, 0.0])
    assert policy.errors == pytest.approx([0.0, 0.5, -1.0, 0.0])
    assert multipliers == pytest.approx([0.4, 0.8, 1.6, 3.2, 6.4], rel=0.01)


def test_reset_starts_again() -> None:
    policy = Doubling(flat_forecast())
    for budget in (40.0, 20.0):
        policy.reset(Campaign(budget, 4, 100.0), np.random.default_rng(0))
        first = policy.multipliers(state(0, 0.0, budget))
        assert (first[0], policy.target) == pytest.approx((budget / 100.0, budget / 4), rel=0.01)
        policy.multipliers(state(1, 1.0, budget - 1.0))


@pytest.fixture(scope="module")
def past() -> Past:
    days = draw_days(default_market(6_000, TICKS), 4, np.random.default_rng(3))
    return Past(days, Forecast.of(days))


def after_an_outage(day: Day, begin: int) -> Day:
    """Return the day without the opportunities of 20 ticks from one on."""
    rows = np.flatnonzero((day.seen.tick < begin) | (day.seen.tick >= begin + OUTAGE))
    return Day.build(day.seen.rows(rows), day.hidden.rows(rows), day.ticks, day.segments)


@pytest.mark.parametrize("begin", [0, 16])
@pytest.mark.parametrize("name", ["pid", "resolve", "incremental", "recalibrate", "limited", "mpid", "shading"])
def test_after_20_ticks_without_traffic_the_first_spends_at_most_twice_its_plan(
    name: str, begin: int, past: Past
) -> None:
    policy = policies()[name]().build(past)
    campaign = Campaign(past.forecast.full_cost / 8, TICKS, past.forecast.full_cost)
    result = run_episode(policy, after_an_outage(past.days[0], begin), campaign, np.random.default_rng(0))
    spend = result.table[:, COLUMNS.index("spend")] / MICROS
    planned = campaign.budget * past.forecast.plan(campaign.scarcity)
    assert 0 < spend[begin + OUTAGE] <= 2 * planned[begin + OUTAGE]


def test_dual_descent_makes_up_for_an_outage(past: Past) -> None:
    campaign = Campaign(past.forecast.full_cost / 8, TICKS, past.forecast.full_cost)
    result = run_episode(
        dual.Config().build(past), after_an_outage(past.days[0], 0), campaign, np.random.default_rng(0)
    )
    assert result.total("spend") / MICROS > 0.95 * campaign.budget
