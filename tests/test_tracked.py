"""Re-solving at a tracked level: how far a tick moves it depends on how many wins it stands for."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.agents import resolve
from bidpilot.agents.base import Past
from bidpilot.agents.rollout import run_episode
from bidpilot.agents.tracked import LOWEST, Config, Tracked, units
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.types import Campaign, CampaignState, Feedback

TICKS, BUDGET = 10, 30.0


def day_of(price: list[float], tick: list[int] | None = None, ticks: int = TICKS) -> Day:
    """Return a day of impressions worth 1 each, at these prices in currency."""
    count = len(price)
    none, ones = np.zeros(count, dtype=np.int64), np.ones(count)
    at = np.zeros(count, dtype=np.int64) if tick is None else np.array(tick)
    seen = Opportunities(0.01 * ones, ones, ones, 0.0 * ones, none, at)
    cost = np.rint(np.array(price) * MICROS).astype(np.int64)
    return Day.build(seen, Hidden(cost, none > 0, none > 0, none, ones), ticks)


def started(config: Config, price: float) -> Tracked:
    """Return a policy whose forecast is flat (a multiplier m spends the share m of 100, evenly), in wins of a price."""
    grid = np.geomspace(0.001, 1.0, 129)
    share = np.repeat(grid[:, None] / TICKS, TICKS, axis=1)
    past = Past((day_of([price] * 5),), Forecast(grid, share, share, np.full(TICKS, 0.1), 100.0, 100.0))
    policy = config.build(past)
    policy.reset(Campaign(BUDGET, TICKS, 100.0), np.random.default_rng(0))
    policy.multipliers(state(0, 0.0, BUDGET))
    return policy


def state(tick: int, spend: float, left: float, offered: float = 100.0) -> CampaignState:
    last = Feedback(*np.full((8, 1), offered))
    last.spend[:] = spend
    return CampaignState(tick, BUDGET - left, left, last, last)


def test_on_plan_nothing_moves() -> None:
    policy = started(Config(), 0.001)
    path = [policy.multipliers(state(tick, 3.0, BUDGET - 3.0 * tick))[0] for tick in range(1, TICKS)]
    assert path == pytest.approx([0.3] * 9, rel=1e-3)


@pytest.mark.parametrize("spend", [6.0, 1.5, 0.0])
@pytest.mark.parametrize("price", [0.001, 0.2])
def test_known_answer_after_one_tick(spend: float, price: float) -> None:
    """The textbook filter: variance, gain, level; then the multiplier that spends the rest over nine ticks."""
    config = Config(surprise=0.5, drift=0.2, noise=0.3)
    variance = 0.5**2 + 0.2**2 / TICKS
    gain = variance / (variance + price / 3.0 + 0.3**2)
    level = 1.0 + gain * (spend / 3.0 - 1.0)
    policy = started(config, price)
    found = policy.multipliers(state(1, spend, BUDGET - spend))[0]
    assert policy.level == pytest.approx(level, rel=1e-3)
    assert found == pytest.approx(min((BUDGET - spend) / (100.0 * 0.9 * level), 1.0), rel=2e-3)


def test_a_few_dear_wins_say_less_than_many_cheap_ones() -> None:
    cheap, dear = (started(Config(), price) for price in (0.001, 3.0))
    for policy in (cheap, dear):
        policy.multipliers(state(1, 6.0, 24.0))
    assert 1.0 < dear.level < cheap.level < 2.0


def test_ticks_without_offers_teach_nothing_and_none_makes_the_level_vanish() -> None:
    policy = started(Config(), 0.001)
    before = policy.multiplier
    assert policy.multipliers(state(1, 0.0, BUDGET, offered=0.0))[0] == before
    for tick in range(2, TICKS):
        policy.multipliers(state(tick, 0.0, BUDGET))
    assert policy.level >= LOWEST


def test_units_are_the_mean_square_over_the_mean_of_what_is_won() -> None:
    found = units([day_of([1.0, 2.0, 4.0])], np.array([0.5, 1.0, 2.0, 9.0]))
    np.testing.assert_allclose(found, [1.0, 1.0, 5.0 / 3.0, 3.0])


def uneven_day(rng: np.random.Generator, size: int = 400, ticks: int = 48) -> Day:
    """Return a day of few impressions at its own price level, so that every win is a lump of the budget."""
    tick = np.sort(rng.integers(ticks, size=size))
    price = 0.05 * np.exp(0.7 * rng.normal(size=size) + rng.normal(0.0, 0.15))
    return day_of(price.tolist(), tick.tolist(), ticks)


def test_it_beats_the_window_where_wins_are_few() -> None:
    past_rng, test_rng = np.random.default_rng(8).spawn(2)
    known = tuple(uneven_day(rng) for rng in past_rng.spawn(12))
    past = Past(known, Forecast.of(known))
    campaign = Campaign(past.forecast.full_cost / 16, 48, past.forecast.full_cost)
    days = [uneven_day(rng) for rng in test_rng.spawn(40)]
    best = np.array([best_value(day, np.array([campaign.budget]))[0] for day in days])
    shares = [
        np.array([run_episode(policy, day, campaign, np.random.default_rng(0)).total("expected") for day in days])
        / best
        for policy in (Config().build(past), resolve.Config().build(past))
    ]
    gap = shares[0] - shares[1]
    assert gap.mean() > 2.0 * gap.std() / np.sqrt(len(gap))
    assert shares[0].mean() > 0.95
