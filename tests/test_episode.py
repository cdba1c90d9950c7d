"""The books of a campaign."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, FloatArray
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.simulator import play
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, Feedback, Rules


@given(seed=st.integers(0, 2**32 - 1))
def test_the_books_add_up(messy_day: Callable[..., Day], seed: int) -> None:
    day, rng = messy_day(seed), np.random.default_rng(seed)
    campaign = Campaign(0.02, day.ticks, 1.0)
    episode, left = Episode(day, campaign, day.segments), 20_000
    tables: list[FloatArray] = []
    for tick in range(day.ticks):
        state = episode.state()
        assert (state.tick, state.left, state.spent) == (tick, left / MICROS, (20_000 - left) / MICROS)
        np.testing.assert_array_equal(state.total.wins, np.sum([table[:, 0] for table in tables], axis=0))
        at = rng.lognormal(0.0, 1.0, day.segments)
        tables.append(play(day, tick, at, left).table)
        left -= int(tables[-1][:, 1].sum())
        assert episode.bid_multipliers(at).table.tobytes() == tables[-1].tobytes()
        last = episode.state().last
        np.testing.assert_array_equal(last.predicted, tables[-1][:, COLUMNS.index("predicted")])
        np.testing.assert_array_equal(last.offered, day.offered[tick])
    result = episode.result()
    assert episode.over
    assert result.table.tobytes() == np.array(tables).sum(axis=1).tobytes()
    assert result.traffic_hash == day.traffic_hash
    assert result.offered.sum() == len(day)


def test_nothing_is_known_before_the_first_tick(smooth_day: Callable[..., Day]) -> None:
    state = Episode(smooth_day(0), Campaign(1.0, 4, 1.0)).state()
    assert (state.tick, state.spent, state.left) == (0, 0.0, 1.0)
    for part in (state.last, state.total):
        assert not any(column.any() for column in part)


def test_a_state_is_not_changed_by_what_comes_later(smooth_day: Callable[..., Day]) -> None:
    episode = Episode(smooth_day(0), Campaign(1.0, 4, 1.0))
    while not episode.over:
        state = episode.state()
        before = copy.deepcopy(state)
        episode.bid_multipliers(np.array([9.0]))
        for part in ("last", "total"):
            for name in Feedback._fields:
                np.testing.assert_array_equal(getattr(getattr(state, part), name), getattr(getattr(before, part), name))


@pytest.mark.parametrize("groups", [1, 3])
def test_uncensored_every_price_that_can_be_reached_is_told(messy_day: Callable[..., Day], groups: int) -> None:
    day, states = messy_day(4, rows=200), []
    episode = Episode(day, Campaign(0.01, 4, 1.0, Rules(censored=False)), groups)
    while not episode.over:
        states.append(episode.state())
        episode.bid_multipliers(np.array([0.3]))
    states.append(episode.state())
    reached = (day.seen.value > 0) & (day.hidden.price < UNWINNABLE)
    for tick, state in enumerate(states):  # each as it was when it was given out
        for told, when in ((state.last, day.seen.tick == tick - 1), (state.total, day.seen.tick < tick)):
            rows = np.flatnonzero(reached & when)
            group = day.seen.segment[rows] if groups > 1 else np.zeros(len(rows), dtype=np.int64)
            sums = np.bincount(group, day.hidden.price[rows], groups) / MICROS
            np.testing.assert_allclose(told.prices, sums, rtol=1e-12)
            np.testing.assert_array_equal(told.priced, np.bincount(group, minlength=groups))


def test_uncensored_the_prices_told_are_those_of_rivals_who_react(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(1, rows=400)
    episode = Episode(day, Campaign(1e6, 4, 1.0, Rules(reaction=1.0, censored=False)))
    while not episode.over:
        wins, spend = episode.bid_multipliers(np.array([1e9])).table[0, :2]
        last = episode.state().last  # who wins everything has paid what was asked
        assert (last.prices[0] * MICROS, last.priced[0]) == (pytest.approx(spend, rel=1e-12), wins)
    assert last.prices[0] / last.priced[0] > 1.5 * day.full_cost / len(day) / MICROS


def test_censored_a_win_tells_its_price_at_second_price_and_nothing_elsewhere(smooth_day: Callable[..., Day]) -> None:
    for auction, told in (("second_price", True), ("first_price", False), ("soft_floor", False)):
        episode = Episode(smooth_day(1), Campaign(0.05, 4, 1.0, Rules(auction)), 3)
        while not episode.over:
            episode.bid_multipliers(np.array([2.0]))
        total = episode.state().total
        assert total.wins.sum() > 0
        assert total.prices.tolist() == (told * total.spend).tolist()
        assert total.priced.tolist() == (told * total.wins).tolist()


def test_a_bidders_own_books_are_the_same(smooth_day: Callable[..., Day]) -> None:
    day, campaign = smooth_day(2), Campaign(0.05, 4, 1.0)
    episode, own = Episode(day, campaign, day.segments), CampaignState.start(campaign, day.segments)
    while True:
        kept = episode.state()
        assert (own.tick, own.spent, own.left) == pytest.approx((kept.tick, kept.spent, kept.left), abs=1e-12)
        for part in ("last", "total"):
            for name in Feedback._fields:
                mine, theirs = getattr(getattr(own, part), name), getattr(getattr(kept, part), name)
                np.testing.assert_allclose(mine, theirs, rtol=1e-12)
        if episode.over:
            break
        outcome = episode.bid_multipliers(np.array([3.0]))
        told = Feedback.of(outcome.offered, outcome.table)
        own = own.after(told._replace(prices=told.spend, priced=told.wins))  # at second price a win tells its own
    assert own.left < 0.01


def test_one_multiplier_serves_all_segments(smooth_day: Callable[..., Day]) -> None:
    day, campaign = smooth_day(1), Campaign(0.05, 4, 1.0)
    pooled, split = Episode(day, campaign), Episode(day, campaign, day.segments)
    while not pooled.over:
        one, each = pooled.bid_multipliers(np.array([2.0])), split.bid_multipliers(np.array([2.0]))
        np.testing.assert_array_equal(one.table[0], each.table.sum(axis=0))
    assert pooled.left == split.left


def test_a_budget_is_whole_micros_and_no_less(smooth_day: Callable[..., Day]) -> None:
    for budget in (1e-6, 9e-6, 0.001001, 0.3, 1234.567891):
        assert Episode(smooth_day(0), Campaign(budget, 4, 1.0)).left == round(budget * MICROS)
    assert Episode(smooth_day(0), Campaign(0.9e-6, 4, 1.0)).left == 0


def test_a_day_of_another_length_is_refused(smooth_day: Callable[..., Day]) -> None:
    with pytest.raises(InputError, match="the campaign runs 5 ticks, the day has 4"):
        Episode(smooth_day(0), Campaign(1.0, 5, 1.0))


def test_groups_are_one_or_the_segments(smooth_day: Callable[..., Day]) -> None:
    with pytest.raises(InputError, match="the day has 3, not 2"):
        Episode(smooth_day(0), Campaign(1.0, 4, 1.0), groups=2)


def test_bids_per_impression_need_books_of_one_group(smooth_day: Callable[..., Day]) -> None:
    episode = Episode(smooth_day(0), Campaign(1.0, 4, 1.0), groups=3)
    with pytest.raises(InputError, match="the books have 3 groups"):
        episode.bid_amounts(np.ones(int(episode.day.starts[1])))
