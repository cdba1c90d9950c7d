"""Named settings, each a Gymnasium id."""

import gymnasium as gym
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import Market
from bidpilot.envs.pacing import Pacing
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import (
    MARKETPLACE,
    SCENARIOS,
    default_market,
    find_scenario,
    make,
    past_forecast,
    register_all,
)
from bidpilot.envs.targeting import Targeting
from bidpilot.envs.types import Rules


def test_every_scenario_is_registered_once() -> None:
    before = dict(gym.registry)
    register_all()
    assert gym.registry == before
    assert {name for name in gym.registry if name.startswith("bidpilot/")} == {*SCENARIOS, MARKETPLACE}


def test_a_scenario_makes_its_environment(market: Market, forecast: Forecast) -> None:
    pacing, targeting = (make(name, market, forecast) for name in ("bidpilot/Pacing-v0", "bidpilot/Targeting-v0"))
    assert isinstance(pacing, Pacing)
    assert isinstance(targeting, Targeting)
    assert (pacing.groups, targeting.groups) == (1, 8)
    assert pacing.market is market
    info = targeting.reset(seed=0)[1]
    assert (targeting.market, info["miscalibration"]) == (market, 0.3)
    assert targeting.episode.day.belief is not None
    pacing.reset(seed=0)
    assert pacing.episode.day.belief is None
    assert pacing.scenario == find_scenario("bidpilot/Pacing-v0")


def test_settings_of_ones_own(market: Market, forecast: Forecast) -> None:
    env = make(Scenario(rules=Rules("first_price"), scarcity=(0.2, 0.2), reward=("expected",)), market, forecast)
    info = env.reset(seed=0)[1]
    assert env.episode.campaign.rules.auction == "first_price"
    assert info["scarcity"] == pytest.approx(0.2)


def test_without_a_forecast_it_is_measured_under_the_scenarios_auction(market: Market) -> None:
    names = ("second_price", "first_price")
    second, first = (make(Scenario(rules=Rules(name)), market).forecast for name in names)
    assert first.spend[-1].sum() > second.spend[-1].sum() == pytest.approx(1)


def test_the_default_market_is_the_exchange() -> None:
    market = default_market(700.0, 24)
    assert market.segment_count == 8
    env = make()
    assert env.forecast.ticks == 48
    assert isinstance(env, Pacing)


def test_unknown_names_list_the_known(market: Market, forecast: Forecast) -> None:
    with pytest.raises(
        InputError, match=r"unknown scenario 'Pacing'; known: .*bidpilot/Pacing-v0, .*bidpilot/Targeting-v0"
    ):
        make("Pacing", market, forecast)
    with pytest.raises(InputError, match="unknown reward term 'fame'"):
        make(Scenario(reward=("fame",)), market, forecast)
    with pytest.raises(InputError, match="unknown auction 'third'"):
        make(Scenario(rules=Rules("third")), market, forecast)


def test_several_ads_are_made_alike(market: Market, forecast: Forecast) -> None:
    env = make("bidpilot/AdSelection-v0", market, forecast)
    assert (env.scenario, env.market) == (find_scenario("bidpilot/AdSelection-v0"), market)


def test_the_past_of_a_market_is_the_same_however_often_it_is_measured(market: Market) -> None:
    scenario = find_scenario("bidpilot/Pacing-v0")
    one, two = (past_forecast(market, scenario) for _ in range(2))
    assert one.spend.tobytes() == two.spend.tobytes()
    assert one.volume.tobytes() == make(scenario, market).forecast.volume.tobytes()
