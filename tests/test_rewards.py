"""Rewards are sums of named terms, scaled by one amount per episode."""

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.envs.rewards import REWARDS, Tick, controller, expected, limit, realised, realised_limit, reward_term

TICK = Tick(expected=4.0, realised=14.0, excess_expected=2.0, excess_realised=-3.0, controller=1.0, scale=8.0)


def test_expected_is_the_expected_worth_not_luck_or_belief() -> None:
    assert expected(TICK) == 0.5


def test_realised_is_what_clicks_and_conversions_brought() -> None:
    assert realised(TICK) == 1.75


def test_the_controllers_worth_is_taken_off() -> None:
    tick = TICK._replace(controller=4.0)
    assert controller(tick) == -0.5
    assert expected(tick) + controller(tick) == 0
    assert controller(tick._replace(expected=0.0, realised=0.0)) == -0.5  # whatever the action brought


def test_what_goes_beyond_the_limit_is_taken_off_and_given_back() -> None:
    assert limit(TICK) == -0.25
    assert realised_limit(TICK) == 0.375


@pytest.mark.parametrize("name", REWARDS)
def test_terms_run_on_many_episodes_as_on_one(name: str) -> None:
    many = Tick(*np.random.default_rng(0).uniform(0.5, 2.0, (6, 5)))
    alone = [REWARDS[name](Tick(*(float(column[i]) for column in many))) for i in range(5)]
    assert REWARDS[name](many).tolist() == alone


def test_terms_go_by_name() -> None:
    assert {name: reward_term(name) for name in REWARDS} == {
        "expected": expected,
        "realised": realised,
        "controller": controller,
        "limit": limit,
        "realised_limit": realised_limit,
    }
    with pytest.raises(
        InputError,
        match="unknown reward term 'fame'; known: controller, expected, limit, realised, realised_limit",
    ):
        reward_term("fame")
