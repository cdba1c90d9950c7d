"""What an episode draws: every draw by name and in its range, each cause on a stream of its own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, to_micros
from bidpilot.envs.day import Day
from bidpilot.envs.draws import STREAMS, draw
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.market import Market
from bidpilot.envs.scenario import Limit, Scenario
from bidpilot.envs.types import Campaign

ALL = Scenario(
    scarcity=(0.1, 0.4),
    price_scale=(0.5, 2.0),
    volume=(0.4, 2.5),
    miscalibration=(0.1, 0.5),
    limit=Limit("tightness", 0.6, 2.0),
)
RANGES = {
    "scarcity": (0.1, 0.4),
    "price_scale": (0.5, 2.0),
    "volume": (0.4, 2.5),
    "miscalibration": (0.1, 0.5),
    "limit": (0.6, 2.0),
}

Drawn = tuple[Day, Campaign, dict[str, float]]


@pytest.fixture
def drawing(market: Market, forecast: Forecast) -> Callable[..., Drawn]:
    """Return a function that draws an episode on streams of a seed."""

    def build(scenario: Scenario, seed: int = 0, **options: Any) -> Drawn:  # noqa: ANN401 - as reset takes them
        streams = tuple(np.random.default_rng(seed).spawn(STREAMS))
        return draw(market, forecast, scenario, streams, options)

    return build


def test_every_draw_is_told_and_lies_in_its_range(drawing: Callable[..., Drawn]) -> None:
    infos = [drawing(ALL, seed)[2] for seed in range(80)]
    for name, (low, high) in RANGES.items():
        found = np.array([info[name] for info in infos])
        assert low <= found.min() < found.max() <= high
        width = high / low
        assert found.min() < low * width**0.1
        assert found.max() > high / width**0.1


def test_what_is_not_drawn_is_not_told(drawing: Callable[..., Drawn]) -> None:
    day, campaign, info = drawing(Scenario())
    assert set(info) == {"scarcity", "scale", "best_value"}
    assert campaign.cost_limit == np.inf
    assert (day.belief, day.once) == (None, False)


@pytest.mark.parametrize("name", ["scarcity", "limit", "price_scale", "volume"])
def test_an_option_fixes_its_draw_and_no_other(drawing: Callable[..., Drawn], name: str) -> None:
    plain, fixed = drawing(ALL)[2], drawing(ALL, **{name: 0.7})[2]
    assert fixed[name] == pytest.approx(0.7, rel=1e-12)
    for other in RANGES:
        assert (fixed[other] == plain[other]) == (other != name)


def test_a_given_day_leaves_all_other_draws(drawing: Callable[..., Drawn], past_days: tuple[Day, ...]) -> None:
    plain, given = drawing(ALL)[2], drawing(ALL, day=past_days[0])[2]
    assert {name: plain[name] for name in RANGES} == {name: given[name] for name in RANGES}


def test_options_vary_also_what_the_scenario_leaves_alone(
    drawing: Callable[..., Drawn], past_days: tuple[Day, ...]
) -> None:
    day, _, info = drawing(Scenario(), day=past_days[0], price_scale=2.0)
    assert info["price_scale"] == 2.0
    assert day.full_cost == pytest.approx(2 * past_days[0].full_cost, rel=1e-9)


def test_prices_are_scaled_but_never_below_the_reserve(
    drawing: Callable[..., Drawn], messy_day: Callable[..., Day], forecast: Forecast
) -> None:
    plain = messy_day(1, rows=300, ticks=forecast.ticks)
    reserve = np.where(np.arange(300) % 2, 0.0, np.minimum(plain.hidden.price, 10**9) / MICROS)
    plain = Day(replace(plain.seen, reserve=reserve), plain.hidden, plain.ticks, plain.segments)
    for factor in (0.3, 1.7):
        day = drawing(Scenario(), day=plain, price_scale=factor)[0]
        closed = plain.hidden.price >= UNWINNABLE
        np.testing.assert_array_equal(day.hidden.price[closed], plain.hidden.price[closed])
        wanted = np.maximum(np.rint(plain.hidden.price * factor), to_micros(reserve))
        np.testing.assert_array_equal(day.hidden.price[~closed], wanted[~closed])
        assert day.seen is plain.seen
        assert day.once


def test_traffic_is_thinned_out_or_comes_again(drawing: Callable[..., Drawn], past_days: tuple[Day, ...]) -> None:
    plain = past_days[0]
    for factor in (0.5, 1.0, 2.5):
        day, _, info = drawing(Scenario(), day=plain, volume=factor)
        assert info["volume"] == factor
        assert len(day) == pytest.approx(factor * len(plain), abs=4 * np.sqrt(len(plain) / 4))
        pairs = set(zip(plain.seen.tick.tolist(), plain.hidden.price.tolist(), strict=True))
        assert set(zip(day.seen.tick.tolist(), day.hidden.price.tolist(), strict=True)) <= pairs
    assert len(drawing(Scenario(), day=plain, volume=3.0)[0]) == 3 * len(plain)


def test_a_given_day_that_is_misjudged_stays_so(drawing: Callable[..., Drawn], past_days: tuple[Day, ...]) -> None:
    view = past_days[0].misjudged(np.linspace(0.5, 2.0, 8))
    for options in ({}, {"price_scale": 2.0}, {"volume": 0.5}):
        assert drawing(Scenario(), day=view, **options)[0].belief is view.belief


def test_the_bidder_misjudges_and_the_best_does_not(drawing: Callable[..., Drawn]) -> None:
    for seed in range(5):
        plain, wrong = drawing(Scenario(), seed), drawing(Scenario(miscalibration=(0.4, 0.4)), seed)
        assert wrong[0].belief is not None
        assert wrong[0].hidden.price.tobytes() == plain[0].hidden.price.tobytes()
        assert wrong[2]["best_value"] == plain[2]["best_value"] == plain[2]["scale"]
        assert plain[2]["best_value"] == pytest.approx(best_value(plain[0], np.array([plain[1].budget]))[0], rel=1e-9)


def test_rewards_may_be_a_share_of_what_the_forecast_promises(
    drawing: Callable[..., Drawn], forecast: Forecast
) -> None:
    _, campaign, info = drawing(Scenario(scale="forecast"))
    assert "best_value" not in info
    expected = forecast.value_at(forecast.multiplier(campaign.scarcity)).sum() * forecast.full_value
    assert info["scale"] == pytest.approx(expected, rel=1e-9)


def test_the_limit_is_the_campaigns(drawing: Callable[..., Drawn], forecast: Forecast) -> None:
    limit = Limit("roas", 2.0, 4.0)
    _, campaign, info = drawing(Scenario(limit=limit))
    assert campaign.cost_limit == info["cost_limit"] == 1 / info["limit"]
    tight = Limit("tightness", 0.5, 1.5)
    _, campaign, info = drawing(Scenario(limit=tight))
    assert campaign.cost_limit == tight.cost_limit(info["limit"], info["scarcity"], forecast)


def test_options_that_make_no_sense_are_refused(drawing: Callable[..., Drawn]) -> None:
    with pytest.raises(InputError, match="unknown option of reset 'colour'; known: day, limit, price_scale, scarcity"):
        drawing(ALL, colour=1)
    for name in ("limit", "price_scale", "volume", "scarcity"):
        for wrong in (0.0, -1.0, np.nan, np.inf):
            with pytest.raises(InputError, match=f"the option {name} must be a number above 0"):
                drawing(ALL, **{name: wrong})
    with pytest.raises(InputError, match=r"the option day must be a bidpilot\.envs\.day\.Day; got 3"):
        drawing(ALL, day=3)
    with pytest.raises(InputError, match="the scenario has no limit"):
        drawing(Scenario(), limit=2.0)
