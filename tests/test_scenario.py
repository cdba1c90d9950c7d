"""Settings of an environment: what they refuse, and that JSON keeps them."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.scenario import Limit, Scenario, drawn
from bidpilot.envs.scenarios import SCENARIOS
from bidpilot.envs.types import Rules


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"environment": "fame"},
            "unknown environment 'fame'; known: ad_selection, allocation, pacing, shading, targeting",
        ),
        ({"scarcity": (0.0, 0.5)}, "scarcity must be a range of numbers above 0"),
        ({"scarcity": (0.5, 0.1)}, "scarcity must be a range"),
        ({"price_scale": (0.0, 1.0)}, "price_scale must be a range of numbers above 0"),
        ({"volume": (1.0, float("inf"))}, "volume must be a range of numbers above 0"),
        ({"reach": 0.0}, "reach must be above 0"),
        ({"prior": 0.0}, "prior must be above 0"),
        ({"gain": -1.0}, "gain must be at least 0"),
        ({"penalty": float("nan")}, "penalty must be at least 0"),
        ({"miscalibration": (float("nan"), 1.0)}, "miscalibration must be a range of numbers at least 0"),
        ({"miscalibration": (0.5, 0.1)}, "miscalibration must be a range"),
        ({"reward": ("fame",)}, "unknown reward term 'fame'"),
        ({"scale": "fame"}, "unknown scale of rewards 'fame'; known: forecast, hindsight"),
        ({"action": "fame"}, "unknown action form 'fame'; known: continuous, ladder"),
        ({"action": "ladder", "levels": 4}, "a ladder needs an odd number of levels"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scenario(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "fame"}, "unknown limit 'fame'; known: cpa, roas, tightness"),
        ({"low": 0.0}, "limit must be a range of numbers above 0"),
        ({"high": 0.5}, "limit must be a range of numbers above 0"),
        ({"worth": 0.0}, "worth of a conversion must be above 0"),
    ],
)
def test_limits_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Limit(**dict[str, Any](kind="roas", low=1.0, high=2.0) | wrong)


@pytest.mark.parametrize("name", SCENARIOS)
def test_json_keeps_a_scenario(name: str) -> None:
    scenario = SCENARIOS[name]
    assert Scenario.of(json.loads(json.dumps(asdict(scenario)))) == scenario


def test_what_json_leaves_out_is_the_default_and_what_it_adds_is_refused() -> None:
    assert Scenario.of({}) == Scenario()
    assert Scenario.of({"rules": {"auction": "first_price"}}) == Scenario(rules=Rules("first_price"))
    for wrong in ({"colour": 1}, {"rules": None}, {"rules": {"colour": 1}}, {"traffic": {"ticks": 3}}):
        with pytest.raises(TypeError):
            Scenario.of(wrong)


def test_the_cost_limit_by_hand(forecast: Forecast) -> None:
    assert Limit("roas", 1.0, 8.0).cost_limit(4.0, 0.1, forecast) == 0.25
    assert Limit("cpa", 1.0, 8.0, worth=5.0).cost_limit(4.0, 0.1, forecast) == 0.8
    at = forecast.multiplier(0.1)
    spend = forecast.spend_at(at).sum() * forecast.full_cost
    worth = forecast.value_at(at).sum() * forecast.full_value
    assert Limit("tightness", 0.5, 1.0).cost_limit(0.5, 0.1, forecast) == pytest.approx(0.5 * spend / worth)


def test_draws_are_log_uniform_and_a_range_of_one_number_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert drawn((0.3, 0.3), rng) == 0.3
    assert rng.bit_generator.state == before
    logs = np.log([drawn((0.01, 1.0), rng) for _ in range(2000)])
    assert np.log(0.01) <= logs.min() < logs.max() <= 0
    np.testing.assert_allclose(np.quantile(logs, [0.25, 0.5, 0.75]) / np.log(0.01), [0.75, 0.5, 0.25], atol=0.04)


def test_only_segments_can_be_switched_off() -> None:
    assert {name for name in ("pacing", "targeting") if Scenario(name).can_switch_off} == {"targeting"}
