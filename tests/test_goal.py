"""What a win is worth."""

from typing import Any

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import Response
from bidpilot.envs.goal import Goal

RESPONSE = Response(np.array([0.1, 0.2]), np.array([0.5, 0.25]), np.array([8.0, 6.0]))


@pytest.mark.parametrize(
    ("goal", "worth"),
    [
        (Goal("clicks", 3.0), [0.3, 0.6]),
        (Goal("conversions", 10.0), [0.5, 0.5]),
        (Goal("value"), [0.4, 0.3]),
        (Goal("value", 99.0), [0.4, 0.3]),
    ],
)
def test_expected_worth(goal: Goal, worth: list[float]) -> None:
    np.testing.assert_allclose(goal.expected(RESPONSE), worth)


@pytest.mark.parametrize(
    ("goal", "worth"),
    [
        (Goal("clicks", 0.000003), [0, 3, 3]),
        (Goal("conversions", 10.0), [0, 0, 10_000_000]),
        (Goal("value"), [0, 0, 1_500_000]),
    ],
)
def test_realised_worth_is_in_micros(goal: Goal, worth: list[int]) -> None:
    click, conversion = np.array([False, True, True]), np.array([False, False, True])
    got = goal.realised(click, conversion, np.array([7.0, 7.0, 1.5]))
    assert got.dtype == np.int64
    assert got.tolist() == worth


@pytest.mark.parametrize("goal", [Goal("clicks", 2.0), Goal("conversions", 5.0), Goal("value")])
def test_realised_worth_is_the_expected_on_average(goal: Goal) -> None:
    rng, n = np.random.default_rng(0), 200_000
    click = rng.random(n) < 0.2
    conversion = click & (rng.random(n) < 0.25)
    mean = goal.realised(click, conversion, np.full(n, 6.0)).mean() / 1e6
    assert mean == pytest.approx(goal.expected(RESPONSE)[1], rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "fame"}, "unknown goal 'fame'; known: clicks, conversions, value"),
        ({"kind": "clicks", "worth": 0.0}, r"\(goal clicks\) must be above 0; got 0.0"),
        ({"kind": "value", "worth": float("nan")}, r"\(goal value\) must be above 0; got nan"),
    ],
)
def test_a_goal_must_make_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Goal(**wrong)
