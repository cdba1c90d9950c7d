"""Uniform bids around the flat one, from the policy's own stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents import constant
from bidpilot.agents.base import Past
from bidpilot.agents.random_bids import Config
from bidpilot.envs.episode import Episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.simulator import seen_at
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

TICKS = 12


@pytest.fixture(scope="module")
def past() -> Past:
    days = draw_days(default_market(3_000, TICKS), 2, np.random.default_rng(3))
    return Past(days, Forecast.of(days))


def bids(past: Past, seed: int, factor: float = 1.0) -> FloatArray:
    """Return the bids of a day's first ticks, one after the other."""
    policy, day = Config(factor).build(past), past.days[0]
    campaign = Campaign(0.2 * past.forecast.full_cost, TICKS, past.forecast.full_cost)
    policy.reset(campaign, np.random.default_rng(seed))
    state = Episode(day, campaign).state()
    return np.concatenate([policy.bid(state, seen_at(day, tick)) for tick in range(TICKS)])


def test_bids_are_uniform_between_0_and_twice_the_constant(past: Past) -> None:
    flat = constant.Config(1.3).build(past)
    flat.reset(Campaign(0.2 * past.forecast.full_cost, TICKS, past.forecast.full_cost), np.random.default_rng(0))
    drawn = bids(past, 1, 1.3) / flat.amount
    assert 0 <= drawn.min() < 0.02
    assert 1.98 < drawn.max() <= 2
    assert np.quantile(drawn, [0.25, 0.5, 0.75]) == pytest.approx([0.5, 1.0, 1.5], abs=0.08)


def test_the_stream_decides(past: Past) -> None:
    assert (bids(past, 1) == bids(past, 1)).all()
    assert not (bids(past, 1) == bids(past, 2)).any()


def test_bids_do_not_depend_on_worth(past: Past) -> None:
    assert abs(np.corrcoef(bids(past, 1), past.days[0].seen.value)[0, 1]) < 0.06
