"""One multiplier all day: right on the day that it was made from, blind to every other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.agents.linear import Config
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from bidpilot.envs.day import Day

TICKS = 12


@pytest.fixture(scope="module")
def day() -> Day:
    return draw_days(default_market(6_000, TICKS), 1, np.random.default_rng(3))[0]


def campaign(past: Past, share: float) -> Campaign:
    return Campaign(share * past.forecast.full_cost, TICKS, past.forecast.full_cost)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_on_the_day_it_knows_it_is_the_optimum(day: Day, share: float) -> None:
    past = Past((day,), Forecast.of((day,)))
    asked = campaign(past, share)
    result = run_episode(Config().build(past), day, asked, np.random.default_rng(0))
    assert result.total("spend") / MICROS == pytest.approx(asked.budget, rel=0.01)
    assert result.total("expected") > 0.99 * best_value(day, np.array([asked.budget]))[0]


def test_the_factor_multiplies_the_forecast(day: Day) -> None:
    past = Past((day,), Forecast.of((day,)))
    multipliers = []
    for factor in (1.0, 0.7):
        policy = Config(factor).build(past)
        policy.reset(campaign(past, 0.3), np.random.default_rng(0))
        multipliers.append(policy.multipliers(None).tolist())  # type: ignore[arg-type]  # it never looks
    assert multipliers == [[past.forecast.multiplier(0.3)], [0.7 * past.forecast.multiplier(0.3)]]
