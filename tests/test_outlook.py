"""Levels of days: found under censoring, carried on where chance does not explain them."""

import numpy as np
import pytest

from bidpilot.ctr.log import SECONDS_PER_DAY
from bidpilot.ctr.outlook import Level, carried, price_levels, volume_levels
from bidpilot.ctr.price_models.base import ABOVE, EXACT, Observed
from bidpilot.ctr.price_models.kaplan_meier import Same

DAYS = np.arange(7.0)


def test_a_clear_trend_is_carried_to_the_day_ahead() -> None:
    level = carried(DAYS, 0.05 * (DAYS - 3) + 0.002 * np.array([1, -1, 1, -1, 1, -1, 1]), 8.0)
    assert level.shift == pytest.approx(0.25, abs=0.01)
    assert level.slope == pytest.approx(level.fitted, rel=0.02)


def test_days_that_differ_by_chance_have_no_trend() -> None:
    """Of 400 weeks without one a slope is believed in one in twenty, and forecasts are about as wide as last days."""
    rng = np.random.default_rng(0)
    found = [carried(DAYS, 0.15 * rng.standard_normal(7), 8.0) for _ in range(400)]
    assert 0.02 < np.mean([each.slope != 0.0 for each in found]) < 0.09
    assert np.mean([each.shift for each in found]) == pytest.approx(0.0, abs=0.02)
    assert np.std([each.shift for each in found]) < 0.13


def test_the_last_days_weigh_most_and_too_few_say_nothing() -> None:
    assert carried(np.arange(3.0), np.array([0.0, 0.0, 0.3]), 4.0).shift == pytest.approx(0.3 / (1 + 0.7 + 0.49))
    assert carried(np.arange(2.0), np.array([0.0, 0.3]), 3.0) == Level()


def test_price_levels_are_found_though_half_of_the_prices_are_hidden() -> None:
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(4), 6_000)
    true = np.array([0.0, 0.2, -0.1, 0.4])
    usual = np.exp(8.0 + 0.5 * rng.standard_normal(60_000))
    price = np.rint(np.exp(8.0 + true[day] + 0.5 * rng.standard_normal(24_000))).astype(np.int64)
    bid = np.rint(np.exp(8.1 + 0.4 * rng.standard_normal(24_000))).astype(np.int64)
    grid = np.sort(usual)[::50].astype(np.int64)
    laws = Same(np.unique(grid), np.arange(1, len(np.unique(grid)) + 1) / len(np.unique(grid)), 10**9, 24_000)
    kind = np.where(bid >= price, EXACT, ABOVE).astype(np.int8)
    seen = Observed(np.minimum(price, bid), kind, bid)
    levels = price_levels(laws, seen, day, day == 0)
    np.testing.assert_allclose(levels, true, atol=0.03)
    won = kind == EXACT
    naive = np.array([np.log(price[won & (day == d)]).mean() for d in range(4)])
    assert naive[3] - naive[0] < 0.25, "the wins alone hide most of the rise"


def test_volume_levels_allow_for_days_that_are_not_whole() -> None:
    """Every day has the same traffic: the log begins at midnight and ends at 18:00 of the fourth day."""
    time = np.arange(0.0, 3.75 * SECONDS_PER_DAY, 60.0)
    day, level = volume_levels(time)
    np.testing.assert_allclose(day, [0.5, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(level, 0.0, atol=1e-3)


def test_volume_levels_are_those_of_the_days() -> None:
    rate = np.array([1_000, 2_000, 4_000])
    parts = [number + np.linspace(0, 1, count, endpoint=False) for number, count in enumerate(rate)]
    time = SECONDS_PER_DAY * np.concatenate(parts)
    np.testing.assert_allclose(volume_levels(time)[1], np.log(rate / rate.mean()), atol=0.02)
