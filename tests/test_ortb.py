"""ORTB: closed forms against a grid, the fitted win curve, the level for the budget, and what it gets wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents import ortb1, ortb2
from bidpilot.agents.base import Past
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.types import Campaign, Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import FloatArray

FORMS = [(ortb1.ortb1, 1.0), (ortb2.ortb2, 2.0)]


@pytest.mark.parametrize(("form", "power"), FORMS)
@pytest.mark.parametrize("c", [0.003, 50.0])
def test_closed_forms_are_the_best_of_a_grid(
    form: Callable[[FloatArray, float], FloatArray], power: float, c: float
) -> None:
    worths = c * np.array([0.01, 0.3, 1.0, 4.0, 60.0])
    for worth, bid in zip(worths, form(worths, c), strict=True):
        grid = np.linspace(0.0, worth, 20_001)
        surplus = grid**power / (c**power + grid**power) * (worth - grid)
        assert bid == pytest.approx(grid[np.argmax(surplus)], abs=1.01 * grid[1])


def test_they_bid_less_than_the_worth_that_is_best_at_second_price() -> None:
    assert ortb1.ortb1(np.array([200.0]), 50.0)[0] == pytest.approx(61.8, abs=0.05)
    assert ortb2.ortb2(np.array([200.0]), 50.0)[0] == pytest.approx(75.6, abs=0.05)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_win_curve_of_prices_drawn_from_it_is_found(power: float) -> None:
    share = np.random.default_rng(2).random(100_000)
    price = 0.7 * (share / (1.0 - share)) ** (1.0 / power)
    assert ortb1.half_point(price, power) == pytest.approx(0.7, rel=0.02)
    assert ortb1.half_point(1000 * price, power) == pytest.approx(1000 * ortb1.half_point(price, power))


@pytest.mark.parametrize("auction", ["second_price", "first_price"])
@pytest.mark.parametrize("config", [ortb1.Config(), ortb2.Config()])
def test_on_a_past_day_the_level_spends_the_budget(config: ortb1.Config | ortb2.Config, auction: str) -> None:
    days = draw_days(default_market(4_000, 24), 1, np.random.default_rng(1))
    past = Past(tuple(days), Forecast.of(days, auction))
    campaign = Campaign(past.forecast.full_cost / 8, 24, past.forecast.full_cost, Rules(auction))
    spend = run_episode(config.build(past), days[0], campaign, np.random.default_rng(0)).total("spend")
    assert spend == pytest.approx(campaign.budget * MICROS, rel=0.05)
