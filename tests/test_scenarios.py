"""Named settings, each a Gymnasium id."""

from typing import Any

import gymnasium as gym
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import Market, MiscalibratedMarket
from bidpilot.envs.pacing import Pacing
from bidpilot.envs.scenarios import SCENARIOS, Scenario, default_market, find_scenario, make, register_all
from bidpilot.envs.targeting import Targeting


def test_every_scenario_is_registered_once() -> None:
    before = dict(gym.registry)
    register_all()
    assert gym.registry == before
    assert {name for name in gym.registry if name.startswith("bidpilot/")} == set(SCENARIOS)


def test_a_scenario_makes_its_environment(market: Market, forecast: Forecast) -> None:
    pacing, targeting = (make(name, market, forecast) for name in ("bidpilot/Pacing-v0", "bidpilot/Targeting-v0"))
    assert isinstance(pacing, Pacing)
    assert isinstance(targeting, Targeting)
    assert (pacing.groups, targeting.groups) == (1, 8)
    assert pacing.market is market
    assert isinstance(targeting.market, MiscalibratedMarket)
    assert pacing.scenario == find_scenario("bidpilot/Pacing-v0")


def test_settings_of_ones_own(market: Market, forecast: Forecast) -> None:
    env = make(Scenario(auction="first_price", scarcity=(0.2, 0.2), reward=("value",)), market, forecast)
    info = env.reset(seed=0)[1]
    assert env.episode.campaign.auction == "first_price"
    assert info["scarcity"] == pytest.approx(0.2)


def test_without_a_forecast_it_is_measured_under_the_scenarios_auction(market: Market) -> None:
    second, first = (make(Scenario(auction=name), market).forecast for name in ("second_price", "first_price"))
    assert first.spend[-1].sum() > second.spend[-1].sum() == pytest.approx(1)


def test_the_default_market_is_the_exchange() -> None:
    market = default_market(700.0, 24)
    assert market.segment_count == 8
    env = make()
    assert env.forecast.ticks == 48
    assert isinstance(env, Pacing)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"environment": "fame"}, "unknown environment 'fame'; known: pacing, targeting"),
        ({"scarcity": (0.0, 0.5)}, "scarcity must be a range of numbers above 0"),
        ({"scarcity": (0.5, 0.1)}, "scarcity must be a range"),
        ({"reach": 0.0}, "reach and prior must be above 0"),
        ({"prior": 0.0}, "reach and prior must be above 0"),
        ({"gain": -1.0}, "gain and miscalibration at least 0"),
        ({"miscalibration": float("nan")}, "gain and miscalibration at least 0"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scenario(**wrong)


def test_unknown_names_list_the_known(market: Market, forecast: Forecast) -> None:
    with pytest.raises(InputError, match="unknown scenario 'Pacing'; known: bidpilot/Pacing-v0, bidpilot/Targeting-v0"):
        make("Pacing", market, forecast)
    with pytest.raises(InputError, match="unknown reward term 'fame'"):
        make(Scenario(reward=("fame",)), market, forecast)
    with pytest.raises(InputError, match="unknown auction 'third'"):
        make(Scenario(auction="third"), market, forecast)
