"""Fresh days in lockstep: one pass over all of them gives each its own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.fleet import Fleet
from bidpilot.envs.herd import Herd
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.traffic_law import TrafficLaw
from bidpilot.envs.types import Campaign

SEEDS = st.integers(0, 2**32 - 1)
BUDGETS = st.lists(st.sampled_from([0.5e-6, 1e-6, 0.0005, 0.004, 0.05, 1e3]), min_size=1, max_size=4)


def fresh(day: Day) -> Day:
    return Day(day.seen, day.hidden, day.ticks, day.segments, once=True)


def agree(days: list[Day], campaigns: list[Campaign], groups: int, multipliers: Any) -> None:  # noqa: ANN401 - (ticks, N, groups)
    """Compare a herd with one Episode each."""
    herd = Herd(days, campaigns, groups)
    plain = [Episode(day, campaign, groups) for day, campaign in zip(days, campaigns, strict=True)]
    for at in multipliers:
        rows = np.array([episode.advance(each) for episode, each in zip(plain, at, strict=True)])
        assert np.ascontiguousarray(herd.advance(at)).tobytes() == rows.tobytes()
        assert herd.left.tolist() == [episode.left for episode in plain]
        state = herd.glance()
        for i, episode in enumerate(plain):
            told = episode.state()
            for mine, theirs in ((state.total, told.total), (state.last, told.last)):
                pairs = zip(mine, theirs, strict=True)
                assert all(np.ravel(a[i]).tolist() == np.ravel(b).tolist() for a, b in pairs)


@given(seed=SEEDS, budgets=BUDGETS, pooled=st.booleans(), judged=st.integers(0, 2))
def test_a_herd_is_its_episodes(
    messy_day: Callable[..., Day],
    seed: int,
    budgets: list[float],
    pooled: bool,  # noqa: FBT001 - hypothesis
    judged: int,
) -> None:
    rng = np.random.default_rng(seed)
    days = [fresh(messy_day(seed + i, rows=int(rng.integers(0, 90)))) for i in range(len(budgets))]
    for i in range(len(days)):
        if judged == 2 or (judged == 1 and i % 2):  # some may misjudge and others not
            days[i] = days[i].misjudged(rng.lognormal(0.0, 0.5, 3))
    ratio = np.concatenate([[0.0, np.inf, np.nan, 1e300, -1.0], *[day.ratio[np.isfinite(day.ratio)] for day in days]])
    campaigns = [Campaign(budget, days[0].ticks, 1.0) for budget in budgets]
    groups = 1 if pooled else 3
    agree(days, campaigns, groups, rng.choice(ratio, (days[0].ticks, len(days), groups)))


def test_the_same_day_twice_is_played_twice(messy_day: Callable[..., Day]) -> None:
    day = fresh(messy_day(4, rows=200))
    campaigns = [Campaign(budget, day.ticks, 1.0) for budget in (0.002, 0.03)]
    agree([day, day], campaigns, 1, np.full((day.ticks, 2, 1), 1e6))


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [0, 2], [1], [0, 0, 1]], ids=str)
def test_days_drawn_together_need_no_copies_and_give_the_same(order: list[int], groups: int) -> None:
    market = TrafficMarket(TrafficLaw(opportunities=300.0, ticks=6))
    drawn = market.many(np.random.default_rng(5).spawn(3))
    days = [drawn[number] for number in order]
    campaigns = [Campaign(0.05 * day.full_cost / MICROS, 6, 1.0) for day in days]
    at = np.random.default_rng(0).lognormal(0.0, 0.5, (6, len(days), groups)) * 0.15
    agree(days, campaigns, groups, at)
    copied = Herd(days, campaigns, groups)._price.base is None
    assert (np.shares_memory(Herd(days, campaigns, groups)._price, days[0].hidden.price)) == (order == [0, 1, 2])
    assert copied or order == [0, 1, 2] or len(order) == 1


def test_varied_columns_of_days_drawn_together_are_not_mistaken_for_the_drawn_ones() -> None:
    market = TrafficMarket(TrafficLaw(opportunities=300.0, ticks=6))
    days = market.many(np.random.default_rng(6).spawn(2))
    dearer = [replace(day, hidden=replace(day.hidden, price=day.hidden.price * 2)) for day in days]
    campaigns = [Campaign(0.1, 6, 1.0)] * 2
    for some in (dearer, [days[0], dearer[1]], [dearer[0], days[1]]):
        agree(some, campaigns, 1, np.full((6, 2, 1), 0.3))


@given(seed=SEEDS, budgets=BUDGETS)
def test_a_fresh_day_plays_as_a_stored_one(messy_day: Callable[..., Day], seed: int, budgets: list[float]) -> None:
    stored = [messy_day(seed + i) for i in range(len(budgets))]
    campaigns = [Campaign(budget, 4, 1.0) for budget in budgets]
    herd, fleet = Herd([fresh(day) for day in stored], campaigns, 3), Fleet(stored, campaigns, 3)
    rng = np.random.default_rng(seed)
    while herd.tick < herd.ticks:
        at = rng.lognormal(0.0, 1.5, (len(budgets), 3))
        assert np.ascontiguousarray(herd.advance(at)).tobytes() == np.ascontiguousarray(fleet.advance(at)).tobytes()
