"""The PID formula, its signs, and its bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.agents.base import Past
from bidpilot.agents.pid import Config, Pid
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.types import Campaign, CampaignState, Feedback

TICKS = 10
BUDGET = 30.0


def started(config: Config) -> Pid:
    """Return a controller whose forecast is flat: a multiplier m spends the share m of 100, evenly."""
    grid = np.geomspace(0.001, 1.0, 129)
    share = np.repeat(grid[:, None] / TICKS, TICKS, axis=1)
    policy = config.build(Past((), Forecast(grid, share, share, np.full(TICKS, 0.1), 100.0, 100.0)))
    policy.reset(Campaign(BUDGET, TICKS, 100.0), np.random.default_rng(0))
    policy.multipliers(state(0, 0.0, 100.0))
    return policy


def state(tick: int, error: float, offered: float = 100.0) -> CampaignState:
    """Return a state on plan but for the last tick, which missed its target by this share."""
    left = BUDGET * (1 - tick / TICKS)
    last = Feedback(*np.full((8, 1), offered))
    last.spend[:] = (1 - error) * BUDGET / TICKS
    return CampaignState(tick, BUDGET - left, left, last, last)


def moves(config: Config, errors: list[float]) -> list[float]:
    """Return log(multiplier / start) after each error."""
    policy = started(config)
    return [
        float(np.log(policy.multipliers(state(tick, error))[0] / policy.pacer.start))
        for tick, error in enumerate(errors, start=1)
    ]


def test_overspending_lowers_the_bid_and_underspending_raises_it() -> None:
    assert moves(Config(), [-0.5])[0] < 0 < moves(Config(), [0.5])[0]


def test_known_answer() -> None:
    errors = [0.5, -0.25, 1.0]
    found = moves(Config(kp=0.4, ki=0.05, kd=0.1), errors)
    assert found == pytest.approx(
        [
            0.4 * 0.5 + 0.05 * 0.5 + 0.1 * 0.5,
            0.4 * -0.25 + 0.05 * 0.25 + 0.1 * -0.75,
            0.4 * 1.0 + 0.05 * 1.25 + 0.1 * 1.25,
        ]
    )


def test_errors_count_at_most_their_target() -> None:
    assert moves(Config(), [-7.0]) == moves(Config(), [-1.0])


def test_the_integral_is_bounded() -> None:
    found = moves(Config(kp=0.0, ki=0.1, windup=2.0), [1.0, 1.0, 1.0, 1.0, -1.0])
    assert found == pytest.approx([0.1, 0.2, 0.2, 0.2, 0.1])


def test_nothing_moves_while_nothing_is_offered() -> None:
    policy = started(Config())
    first = policy.multipliers(state(1, 0.5))[0]
    empty = [policy.multipliers(state(tick, 1.0, offered=0.0))[0] for tick in range(2, 9)]
    assert empty == [first] * 7
    assert np.log(policy.multipliers(state(9, 0.0))[0] / policy.pacer.start) == pytest.approx(0.05 * 0.5)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=TICKS - 1), st.floats(0, 5), st.floats(0, 5), st.floats(0, 5))
def test_the_bid_stays_within_reach_of_the_start(errors: list[float], kp: float, ki: float, kd: float) -> None:
    assert np.abs(moves(Config(kp, ki, kd, reach=1.5), errors)).max() <= 1.5 + 1e-12
