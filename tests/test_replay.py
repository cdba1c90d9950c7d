"""A log cut into its episodes, by hand, and bootstrap replicates."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import SECONDS_PER_DAY, AuctionLog
from bidpilot.envs.beliefs import Beliefs
from bidpilot.envs.day import Day
from bidpilot.envs.goal import Goal
from bidpilot.envs.replay import ReplayMarket, coverage, replay_days, resampled
from bidpilot.envs.timeline import Timeline

QUARTERS = Timeline(0.0, SECONDS_PER_DAY / 4, 4)
HOURS = [0, 5, 7, 13, 20, 23]
LOG: dict[str, Any] = {
    "time": np.array(HOURS) * 3600.0,
    "price": [700, 0, 900, 100, 0, 50],
    "price_known": [True, False, True, True, False, True],
    "bid": [800, 1200, 1000, 400, 90_000, 60],
    "won": [True, False, True, True, False, True],
    "click": [1, 0, 1, 0, 0, 1],
    "conversion": [1, 0, 0, 0, 0, 1],
    "value": [3.0, 0.0, 0.0, 0.0, 0.0, 1.25],
    "reserve": [0, 0, 1500, 0, 0, 0],
    "segment": ["b", "a", "b", "a", "b", "new"],
    "pctr": [0.02, 0.04, 0.02, 0.04, 0.02, 0.04],
}


def day_of(believe: Callable[..., Beliefs], goal: Goal | None = None, **changes: Any) -> Day:  # noqa: ANN401 - columns
    known = AuctionLog.from_columns(LOG | {"segment": list("bababa")})
    days = replay_days(AuctionLog.from_columns(LOG | changes), believe(known, QUARTERS, goal), np.random.default_rng(0))
    assert len(days) == 1
    return days[0]


def test_a_day_by_hand(believe: Callable[..., Beliefs]) -> None:
    day = day_of(believe, Goal("value"))
    assert day.seen.tick.tolist() == [0, 0, 1, 2, 3, 3]
    assert day.seen.segment.tolist() == [1, 0, 1, 0, 1, 0]
    assert day.seen.reserve.tolist() == [0, 0, 0.0015, 0, 0, 0]
    np.testing.assert_allclose(day.seen.pctr, LOG["pctr"])
    np.testing.assert_allclose(day.seen.value, np.array(LOG["pctr"]) * 0.5 * 2.0)
    np.testing.assert_allclose(day.hidden.expected, day.seen.value)
    won = np.array(LOG["won"])
    assert day.hidden.click[won].tolist() == [True, True, False, True]
    assert day.hidden.conversion[won].tolist() == [True, False, False, True]
    assert day.hidden.revenue[won].tolist() == [3_000_000, 0, 0, 1_250_000]
    assert (day.ticks, day.segments) == (4, 2)


def test_known_prices_are_kept_and_the_reserve_raises_them(believe: Callable[..., Beliefs]) -> None:
    price = day_of(believe).hidden.price
    assert price[[0, 2, 3, 5]].tolist() == [700, 1500, 100, 50]


def test_an_unknown_price_is_drawn_above_the_bid_that_lost(believe: Callable[..., Beliefs]) -> None:
    price = day_of(believe).hidden.price
    assert price[[1, 4]].tolist() == [5005, 90_001]  # the stand-in's price of group 4 at 5 h; just above the bid


def test_what_was_not_shown_is_drawn_from_the_response(believe: Callable[..., Beliefs]) -> None:
    count = 20_000
    columns = {
        "time": np.sort(np.random.default_rng(0).uniform(0, SECONDS_PER_DAY, count)),
        "won": np.zeros(count, bool),
        "pctr": np.full(count, 0.04),
    }
    log = AuctionLog.from_columns(columns)
    (day,) = replay_days(log, believe(log, QUARTERS, Goal("value")), np.random.default_rng(1))
    assert day.hidden.click.mean() == pytest.approx(0.04, abs=4 * np.sqrt(0.04 * 0.96 / count))
    assert day.hidden.conversion.sum() == pytest.approx(day.hidden.click.sum() / 2, abs=4 * np.sqrt(800 / 4))
    assert not (day.hidden.conversion & ~day.hidden.click).any()
    assert (day.hidden.revenue == 2_000_000 * day.hidden.conversion).all()


@pytest.mark.parametrize(
    ("goal", "revenue"), [(Goal("clicks", 0.5), [500_000, 500_000]), (Goal("conversions", 0.5), [500_000, 0])]
)
def test_revenue_follows_the_goal(believe: Callable[..., Beliefs], goal: Goal, revenue: list[int]) -> None:
    assert day_of(believe, goal).hidden.revenue[[0, 2]].tolist() == revenue


def test_the_share_of_known_prices() -> None:
    assert coverage(AuctionLog.from_columns(LOG)) == pytest.approx(4 / 6)
    assert coverage(AuctionLog.from_columns({"time": []})) == 0


def test_ragged_ends_are_left_out(believe: Callable[..., Beliefs]) -> None:
    hours = [12, 18, *(24 + h for h in (0, 6, 12, 18)), *(48 + h for h in (0, 6, 13)), 72]
    log = AuctionLog.from_columns({"time": np.array(hours) * 3600.0, "pctr": np.full(len(hours), 0.02)})
    days = replay_days(log, believe(log, QUARTERS), np.random.default_rng(0))
    assert [day.seen.tick.tolist() for day in days] == [[0, 1, 2, 3], [0, 1, 2]]  # 4 and 3 of 4 ticks, not 2 or 1


def test_a_ragged_day_stays_where_none_is_whole(believe: Callable[..., Beliefs]) -> None:
    log = AuctionLog.from_columns({"time": np.array([0.0, 7.0, 30.0]) * 3600, "pctr": np.full(3, 0.02)})
    days = replay_days(log, believe(log, QUARTERS), np.random.default_rng(0))
    assert [day.seen.tick.tolist() for day in days] == [[0, 1]]


def test_same_stream_same_days(believe: Callable[..., Beliefs], visits: Callable[..., AuctionLog]) -> None:
    log = visits(3)
    log = replace(log, frame=log.frame.assign(won=False))
    beliefs = believe(log, QUARTERS)
    once, again, other = (
        [day.traffic_hash for day in replay_days(log, beliefs, np.random.default_rng(seed))] for seed in (1, 1, 2)
    )
    assert len(once) == 5
    assert once == again
    assert not set(once) & set(other)


def test_a_replicate_is_drawn_from_the_day_in_time_order(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(1, rows=500)
    copy = resampled(day, np.random.default_rng(0))
    assert len(copy) == len(day)
    assert (np.diff(copy.seen.tick) >= 0).all()
    assert set(copy.hidden.price) < set(day.hidden.price)
    distinct = len(set(zip(copy.hidden.price, copy.seen.segment, strict=True))) / len(day)
    assert distinct == pytest.approx(1 - np.exp(-1), abs=0.06)
    order = {price: place for place, price in enumerate(day.hidden.price)}
    if len(order) == len(day):
        assert (np.diff([order[price] for price in copy.hidden.price]) >= 0).all()
    assert copy.full_cost != day.full_cost == smooth_day(1, rows=500).full_cost


def test_a_replay_market_gives_its_days_evenly(smooth_day: Callable[..., Day]) -> None:
    days = tuple(smooth_day(seed) for seed in range(3))
    market, rng = ReplayMarket(days), np.random.default_rng(0)
    place = {day.traffic_hash: number for number, day in enumerate(days)}
    picked = [place[market.day(rng).traffic_hash] for _ in range(300)]
    assert market.segment_count == 3
    assert min(np.bincount(picked)) > 70
    with pytest.raises(InputError, match="at least one day"):
        ReplayMarket(())
