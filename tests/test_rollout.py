"""One loop for every policy, and what it hands to them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.agents.linear import Config
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.simulator import play_bids
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, Feedback, Outcome, Rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bidpilot.ctr.types import FloatArray

TICKS = 12


@pytest.fixture(scope="module")
def days() -> tuple[Day, ...]:
    return draw_days(default_market(600, TICKS), 2, np.random.default_rng(3))


class Recorder:
    """Bids a flat amount and keeps everything that it is handed."""

    groups = 1

    def __init__(self, amount: float) -> None:
        """Keep the amount."""
        self.amount = amount
        self.handed: list[object] = []

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Begin a new record."""
        self.handed = [campaign, rng]

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:
        """Return the amount for all."""
        self.handed += [state, seen]
        return np.full(len(seen.tick), self.amount)


def within(thing: object) -> Iterator[object]:
    """Yield a thing and everything inside it."""
    yield thing
    if is_dataclass(thing):
        for field in fields(thing):
            yield from within(getattr(thing, field.name))
    if isinstance(thing, tuple):
        for part in thing:
            yield from within(part)


def test_a_policy_is_handed_what_may_be_seen_and_nothing_else(days: tuple[Day, ...]) -> None:
    policy = Recorder(0.01)
    run_episode(policy, days[0], Campaign(1.0, TICKS, 5.0), np.random.default_rng(0))
    kinds = {type(part) for thing in policy.handed for part in within(thing)}
    assert {Campaign, Rules, CampaignState, Feedback, Opportunities, np.ndarray} < kinds
    assert not kinds & {Day, Hidden, Outcome}


def test_it_sees_each_opportunity_once_and_only_what_has_arrived(days: tuple[Day, ...]) -> None:
    policy = Recorder(0.004)
    result = run_episode(policy, days[0], Campaign(0.5, TICKS, 5.0), np.random.default_rng(0))
    seen = [thing for thing in policy.handed if isinstance(thing, Opportunities)]
    states = [thing for thing in policy.handed if isinstance(thing, CampaignState)]
    assert (np.concatenate([part.tick for part in seen]) == days[0].seen.tick).all()
    assert [state.tick for state in states] == list(range(TICKS))
    spend = result.table[:, COLUMNS.index("spend")]
    assert [round(state.spent * MICROS) for state in states] == np.append(0, spend.cumsum()[:-1]).tolist()
    assert [round(state.last.spend.sum() * MICROS) for state in states] == np.append(0, spend[:-1]).tolist()


def test_the_result_is_what_play_gives_tick_by_tick(days: tuple[Day, ...]) -> None:
    day, left = days[0], 500_000
    result = run_episode(Recorder(0.004), day, Campaign(0.5, TICKS, 5.0), np.random.default_rng(0))
    for tick in range(TICKS):
        bids = np.full(int(day.offered[tick].sum()), 0.004)
        outcome = play_bids(day, tick, bids, left)
        left -= outcome.spend
        assert (result.table[tick] == outcome.table.sum(axis=0)).all()
    assert result.offered.tolist() == day.offered.sum(axis=1).tolist()
    assert result.traffic_hash == day.traffic_hash


def test_one_multiplier_from_the_ladder_equals_the_sum_over_the_day(days: tuple[Day, ...]) -> None:
    past = Past(days[:1], Forecast.of(days[:1]))
    campaign = Campaign(10 * past.forecast.full_cost, TICKS, past.forecast.full_cost)
    multiplier = past.forecast.multiplier(campaign.scarcity)
    won = days[1].ratio <= multiplier
    result = run_episode(Config().build(past), days[1], campaign, np.random.default_rng(0))
    assert result.total("wins") == won.sum()
    assert result.total("spend") == days[1].hidden.price[won].sum()


def test_a_day_of_another_length_is_refused(days: tuple[Day, ...]) -> None:
    with pytest.raises(InputError, match="13 ticks, the day has 12"):
        run_episode(Recorder(1.0), days[0], Campaign(1.0, TICKS + 1, 5.0), np.random.default_rng(0))
