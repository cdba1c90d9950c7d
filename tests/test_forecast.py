"""What past days say: the multiplier for a budget, the plan, and the curves behind them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, FloatArray
from bidpilot.envs.day import Day
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.simulator import play
from bidpilot.envs.types import COLUMNS, Rules

AUCTIONS = ("second_price", "first_price")


def played(day: Day, multiplier: float, auction: str = "second_price") -> FloatArray:
    """Return the table (ticks, len(COLUMNS)) of a multiplier without a budget."""
    at = np.array([multiplier])
    return np.concatenate([play(day, tick, at, 2**51, Rules(auction)).table for tick in range(day.ticks)])


@pytest.mark.parametrize("auction", AUCTIONS)
@pytest.mark.parametrize("scarcity", [1 / 64, 1 / 16, 1 / 4, 3 / 4])
def test_the_multiplier_spends_its_share_on_the_days_it_was_measured_on(
    past_days: tuple[Day, ...], auction: str, scarcity: float
) -> None:
    forecast = Forecast.of(past_days, auction)
    multiplier = forecast.multiplier(scarcity)
    spend = np.mean([played(day, multiplier, auction)[:, 1].sum() for day in past_days])
    assert spend / np.mean([day.full_cost for day in past_days]) == pytest.approx(scarcity, rel=0.03)


def test_the_curves_are_what_play_gives(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    for multiplier in forecast.multipliers[[5, 60, 110]]:
        tables = np.mean([played(day, multiplier) for day in past_days], axis=0)
        spend, value = tables[:, 1] / MICROS, tables[:, COLUMNS.index("predicted")]
        np.testing.assert_allclose(forecast.spend_at(multiplier), spend / forecast.full_cost, rtol=1e-9)
        np.testing.assert_allclose(forecast.value_at(multiplier), value / forecast.full_value, rtol=1e-9)


def test_dearer_budgets_bid_higher_and_the_whole_cost_buys_all(forecast: Forecast) -> None:
    multipliers = [forecast.multiplier(share) for share in (0.01, 0.1, 0.5, 1.0, 9.0)]
    assert multipliers == sorted(multipliers)
    assert multipliers[0] < multipliers[3] == multipliers[4] == forecast.multipliers[-1]
    assert forecast.spend[-1].sum() == pytest.approx(1)
    assert forecast.value[-1].sum() == pytest.approx(1)
    assert forecast.volume.sum() == pytest.approx(1)


def test_curves_rise_with_the_multiplier(forecast: Forecast) -> None:
    for curve in (forecast.spend_at, forecast.value_at):
        values = np.array([curve(at) for at in np.geomspace(forecast.multipliers[0], forecast.multipliers[-1], 500)])
        assert (np.diff(values, axis=0) >= -1e-15).all()
        np.testing.assert_array_equal(curve(0.0), values[0])
        np.testing.assert_allclose(curve(1e9), values[-1])


@pytest.mark.parametrize("scarcity", [1e-6, 1 / 64, 1 / 2, 1.0, 50.0])
def test_a_plan_is_positive_and_sums_to_1(forecast: Forecast, scarcity: float) -> None:
    plan = forecast.plan(scarcity)
    assert plan.shape == (forecast.ticks,) == (12,)
    assert (plan > 0).all()
    assert plan.sum() == pytest.approx(1, abs=1e-12)


def test_a_plan_is_the_profile_of_spend(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    spend = np.mean([played(day, forecast.multiplier(0.25))[:, 1] for day in past_days], axis=0)
    np.testing.assert_allclose(forecast.plan(0.25), spend / spend.sum(), atol=0.01)


def test_every_tick_gets_a_share_even_one_without_traffic(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(0, rows=40, ticks=3)
    late = Day(replace(day.seen, tick=np.maximum(day.seen.tick, 1)), day.hidden, 3, 3)
    plan = Forecast.of([late]).plan(0.5)
    assert 0 < plan[0] < 1e-6


@pytest.mark.parametrize("what", ["price", "value"])
def test_nothing_to_win_is_refused(smooth_day: Callable[..., Day], what: str) -> None:
    day = smooth_day(0)
    closed = replace(day, hidden=replace(day.hidden, price=np.full(len(day), UNWINNABLE)))
    worthless = replace(day, seen=replace(day.seen, value=np.zeros(len(day))))
    with pytest.raises(InputError, match="no past opportunity has both a known price and a predicted worth"):
        Forecast.of([closed if what == "price" else worthless])
