"""Rewards are sums of named terms, scaled by the best that was possible."""

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.envs.rewards import REWARDS, Tick, controller, reward_term, value
from bidpilot.envs.types import COLUMNS

TABLE = np.zeros((2, len(COLUMNS)))
TABLE[:, COLUMNS.index("expected")] = [3.0, 1.0]
TABLE[:, COLUMNS.index("revenue")] = 7e6
TABLE[:, COLUMNS.index("predicted")] = 5.0


def test_value_is_the_expected_worth_not_luck_or_belief() -> None:
    assert value(Tick(TABLE, 8.0, 1.0)) == 0.5


def test_the_controllers_worth_is_taken_off() -> None:
    tick = Tick(TABLE, 8.0, 4.0)
    assert controller(tick) == -0.5
    assert value(tick) + controller(tick) == 0
    assert controller(Tick(0 * TABLE, 8.0, 4.0)) == -0.5  # whatever the action brought


def test_terms_go_by_name() -> None:
    assert {name: reward_term(name) for name in REWARDS} == {"value": value, "controller": controller}
    with pytest.raises(InputError, match="unknown reward term 'fame'; known: controller, value"):
        reward_term("fame")
