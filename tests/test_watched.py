"""Watching changes nothing: totals are those of the rollout, by segment and tick, and questions leave no trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents import ortb1, pid, random_bids, recalibrate, resolve
from bidpilot.agents.base import MultiplierPolicy, Past
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, Feedback, Rules
from bidpilot.experiments.watched import ASKED, pooled, supposed, watch

if TYPE_CHECKING:
    from bidpilot.agents.base import PolicyConfig
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast

LEVELS = (0.1, 0.5, 0.9)
CONFIGS: list[PolicyConfig] = [pid.Config(), recalibrate.Config(), random_bids.Config(), ortb1.Config()]


def campaign_on(day: Day, auction: str) -> Campaign:
    cost = day.full_cost / MICROS
    return Campaign(cost / 5, day.ticks, cost, Rules(auction))


@pytest.mark.parametrize("auction", ["second_price", "first_price"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__module__.rpartition(".")[2])
def test_totals_are_those_of_the_rollout(
    config: PolicyConfig, auction: str, past_days: tuple[Day, ...], forecast: Forecast
) -> None:
    """One group, one per segment, or a bid for each impression: the same money in the same ticks."""
    day, policy = past_days[0], config.build(Past(past_days[1:], forecast))
    campaign = campaign_on(day, auction)
    played = run_episode(policy, day, campaign, np.random.default_rng(5))
    seen = watch(policy, day, campaign, np.random.default_rng(5), LEVELS)
    np.testing.assert_array_equal(seen.table.sum(axis=1), played.table)
    assert seen.table.shape == (day.ticks, day.segments, len(COLUMNS))
    spent = seen.table[:, :, COLUMNS.index("spend")].sum(axis=1).cumsum() / MICROS / campaign.budget
    np.testing.assert_allclose(1.0 - seen.left[1:], spent, atol=1e-6)
    assert np.isnan(seen.multipliers[day.offered == 0]).all()
    assert np.nanmax(seen.multipliers) > 0
    asked = min(ASKED, day.ticks) if isinstance(policy, MultiplierPolicy) else 0
    assert seen.answers.shape == (asked, len(LEVELS) if asked else 0) or not asked


def test_what_a_segment_costs_is_what_its_rows_cost(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    """Bids far above every price win everything: each segment pays the sum of its prices."""
    day = past_days[0]
    policy = random_bids.Config().build(Past(past_days, forecast))
    policy.bid = lambda state, seen: np.full(len(seen.value), 1e6)  # type: ignore[method-assign]  # noqa: ARG005
    rich = Campaign(10 * day.full_cost / MICROS, day.ticks, day.full_cost / MICROS)
    paid = watch(policy, day, rich, np.random.default_rng(0)).table[:, :, COLUMNS.index("spend")].sum(axis=0)
    np.testing.assert_array_equal(paid, np.bincount(day.seen.segment, day.payable, day.segments))


def test_an_agent_with_money_left_over_bids_higher(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    """Asked in the middle of the day, one that plans on what is left answers more money with a higher multiplier."""
    day, policy = past_days[0], resolve.Config().build(Past(past_days[1:], forecast))
    seen = watch(policy, day, campaign_on(day, "second_price"), np.random.default_rng(5), LEVELS)
    answers = seen.answers[len(seen.asked) // 2]
    assert answers[0] < answers[1] < answers[2]


def test_a_supposed_state_has_the_same_budget_and_wins() -> None:
    """Half the budget left: the other half is what the wins cost, split as before; nothing else is another."""
    told = Feedback(*np.arange(20.0).reshape(10, 2))
    state = CampaignState(3, 5.0, 15.0, told, told)
    other = supposed(state, 0.5)
    assert (other.spent, other.left, other.tick) == (10.0, 10.0, 3)
    np.testing.assert_allclose(other.total.spend, 2.0 * told.spend)
    np.testing.assert_array_equal(other.total.wins, told.wins)
    assert other.last is state.last
    fresh = supposed(state._replace(spent=0.0, left=20.0, total=told._replace(spend=np.zeros(2))), 0.75)
    np.testing.assert_allclose(fresh.total.spend, [2.5, 2.5])


def test_a_policy_of_one_group_is_told_sums() -> None:
    told = Feedback(*np.arange(20.0).reshape(10, 2))
    state = CampaignState(0, 1.0, 1.0, told, told)
    np.testing.assert_array_equal(pooled(state, 1).total.wins, [5.0])
    assert pooled(state, 2) is state
