"""Re-solving: the threshold of what is left, scaled by what the last ticks cost."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.agents.resolve import Config, Resolve
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.types import Campaign, CampaignState, Feedback

TICKS = 10
BUDGET = 30.0


def started(config: Config) -> Resolve:
    """Return a policy whose forecast is flat: a multiplier m spends the share m of 100, evenly."""
    grid = np.geomspace(0.001, 1.0, 129)
    share = np.repeat(grid[:, None] / TICKS, TICKS, axis=1)
    policy = config.build(Past((), Forecast(grid, share, share, np.full(TICKS, 0.1), 100.0, 100.0)))
    policy.reset(Campaign(BUDGET, TICKS, 100.0), np.random.default_rng(0))
    policy.multipliers(state(0, 0.0, BUDGET))
    return policy


def state(tick: int, spend: float, left: float, offered: float = 100.0) -> CampaignState:
    last = Feedback(*np.full((8, 1), offered))
    last.spend[:] = spend
    return CampaignState(tick, BUDGET - left, left, last, last)


def test_on_plan_nothing_moves() -> None:
    policy = started(Config())
    path = [policy.multipliers(state(tick, 3.0, BUDGET - 3.0 * tick))[0] for tick in range(1, TICKS)]
    assert path == pytest.approx([0.3] * 9, rel=1e-3)


@pytest.mark.parametrize(("spend", "left", "ticks_left"), [(6.0, 24.0, 9), (1.5, 28.5, 9), (0.0, 30.0, 9)])
def test_known_answer_after_one_tick(spend: float, left: float, ticks_left: int) -> None:
    trust = 0.1
    scale = (spend + trust * BUDGET) / (3.0 + trust * BUDGET)
    expected = left / (100.0 * ticks_left / TICKS * scale)
    found = started(Config(trust=trust)).multipliers(state(1, spend, left))[0]
    assert found == pytest.approx(min(expected, 1.0), rel=1e-3)


def test_only_the_window_counts() -> None:
    policy = started(Config(window=1, trust=1e-9))
    policy.multipliers(state(1, 9.0, 21.0))
    third = policy.multipliers(state(2, policy.multiplier * 10.0, 20.0))[0]  # as dear as forecast: the past is gone
    assert third == pytest.approx(20.0 / 80.0, rel=1e-3)


def test_ticks_without_offers_are_no_evidence_of_low_prices() -> None:
    policy = started(Config())
    assert [policy.multipliers(state(tick, 0.0, BUDGET, 0.0))[0] for tick in range(1, 6)] == pytest.approx([0.3] * 5)
    assert policy.multipliers(state(6, 3.0, 27.0))[0] == pytest.approx(27.0 / 40.0, rel=1e-3)


def test_the_last_tick_has_nothing_to_solve() -> None:
    policy = started(Config())
    before = policy.multiplier
    assert policy.multipliers(state(TICKS, 3.0, 0.0)).tolist() == [before]


def test_reset_forgets_what_was_paid() -> None:
    policy = started(Config())
    policy.multipliers(state(1, 20.0, 10.0))
    policy.reset(Campaign(BUDGET, TICKS, 100.0), np.random.default_rng(0))
    policy.multipliers(state(0, 0.0, BUDGET))
    assert policy.multipliers(state(1, 3.0, 27.0))[0] == pytest.approx(0.3, rel=1e-3)


def test_it_spends_the_budget_on_a_dearer_day() -> None:
    days = draw_days(default_market(1_200, 24), 5, np.random.default_rng(3))
    past = Past(days[:3], Forecast.of(days[:3]))
    campaign = Campaign(0.1 * past.forecast.full_cost, 24, past.forecast.full_cost)
    for day in days[3:]:
        result = run_episode(Config().build(past), day, campaign, np.random.default_rng(0))
        assert 0.97 < result.total("spend") / MICROS / campaign.budget <= 1
