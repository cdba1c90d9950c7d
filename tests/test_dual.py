"""Dual descent: its step, its convergence, and that it never reaches zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.agents.base import Past
from bidpilot.agents.dual import Config, Dual
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_multiplier, best_value
from bidpilot.envs.types import Campaign, CampaignState, Feedback

TICKS = 10
BUDGET = 30.0


def started(eta: float) -> Dual:
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


@pytest.mark.parametrize(("spend", "step"), [(0.0, 0.07), (3.0, 0.0), (6.0, -0.07), (3.6, -0.014), (1e9, -1.0)])
def test_one_step_is_eta_times_the_miss_over_the_mean_target(spend: float, step: float) -> None:
    policy = started(0.07)
    before = policy.multiplier
    after = policy.multipliers(state(1, spend))[0]
    assert np.log(after / before) == pytest.approx(step, abs=1e-9)


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=TICKS), st.floats(0.001, 100))
def test_the_multiplier_stays_above_zero(spends: list[float], eta: float) -> None:
    policy = started(eta)
    for tick, spend in enumerate(spends, start=1):
        assert 0 < policy.multipliers(state(tick, spend))[0] < np.inf


def stationary_day(rng: np.random.Generator, ticks: int = 200, per_tick: int = 150) -> Day:
    """Draw independent log-normal worths and prices."""
    n = ticks * per_tick
    worth, none, ones = rng.lognormal(-5.0, 0.5, n), np.zeros(n, np.int64), np.ones(n)
    price = np.rint(MICROS * rng.lognormal(-6.0, 0.6, n)).astype(np.int64)
    seen = Opportunities(0.1 * ones, ones, worth, 0 * ones, none, np.repeat(np.arange(ticks), per_tick))
    return Day.build(seen, Hidden(price, none > 0, none > 0, none, worth), ticks)


@pytest.mark.parametrize("wrong", [1.0, 4.0, 0.25])
def test_it_converges_to_the_shadow_price_on_stationary_traffic(wrong: float) -> None:
    past_day, day = (stationary_day(rng) for rng in np.random.default_rng(8).spawn(2))
    past = Past((past_day,), Forecast.of((past_day,)))
    campaign = Campaign(past.forecast.full_cost / 6, day.ticks, past.forecast.full_cost)
    policy = Config(0.05).build(past)
    policy.reset(campaign, np.random.default_rng(0))
    best = best_multiplier(day, campaign.budget)
    path = WrongStart(policy, wrong)
    result = run_episode(path, day, campaign, np.random.default_rng(0))
    assert np.mean(path.path[60:110]) == pytest.approx(best, rel=0.1)
    if wrong == 1.0:
        assert result.total("expected") > 0.99 * best_value(day, np.array([campaign.budget]))[0]


class WrongStart(Dual):
    """The policy with a first multiplier that is off by a factor; keeps the path."""

    def __init__(self, policy: Dual, factor: float) -> None:
        """Take over the settings."""
        super().__init__(policy.config, Past((), policy.forecast))
        self.factor = factor
        self.path: list[float] = []

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start off."""
        super().reset(campaign, rng)
        self.multiplier *= self.factor

    def react(self, state: CampaignState) -> None:
        """React and note the multiplier."""
        super().react(state)
        self.path.append(self.multiplier)
