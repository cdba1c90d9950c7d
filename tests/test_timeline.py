"""Instants, ticks and episodes, and cutting a log in time."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import SECONDS_PER_DAY, AuctionLog
from bidpilot.envs.timeline import Timeline, split, timeline_of


def log_at(time: list[float]) -> AuctionLog:
    return AuctionLog.from_columns({"time": np.array(time)}, source="my log")


@pytest.mark.parametrize(
    ("time", "episode", "tick"),
    [(0, 0, 0), (1799.999, 0, 0), (1800, 0, 1), (86_399.9, 0, 47), (86_400, 1, 0), (-0.5, -1, 47)],
)
def test_locate(time: float, episode: int, tick: int) -> None:
    got = Timeline(0.0, 1800.0, 48).locate(np.array([time]))
    assert (got[0].tolist(), got[1].tolist()) == ([episode], [tick])


def test_an_episode_may_start_anywhere() -> None:
    episode, tick = Timeline(7200.0, 600.0, 3).locate(np.array([7199.0, 7200.0, 8399.0, 8999.0, 9000.0]))
    assert episode.tolist() == [-1, 0, 0, 0, 1]
    assert tick.tolist() == [2, 0, 1, 2, 0]


@given(ticks=st.integers(1, 1440), day=st.integers(0, 25_000))
def test_midnight_begins_a_day_whatever_the_tick(ticks: int, day: int) -> None:
    timeline = Timeline(0.0, SECONDS_PER_DAY / ticks, ticks)
    edges = (day + np.arange(ticks) / ticks) * SECONDS_PER_DAY
    episode, tick = timeline.locate(edges)
    assert (episode == day).all()
    assert tick.tolist() == list(range(ticks))
    assert timeline.locate(edges[:1] - 0.001)[0] == day - 1


@pytest.mark.parametrize(("seconds", "ticks"), [(0.0, 4), (-1.0, 4), (float("nan"), 4), (60.0, 0)])
def test_a_timeline_needs_ticks(seconds: float, ticks: int) -> None:
    with pytest.raises(InputError, match="a timeline needs ticks >= 1 of more than 0 s"):
        Timeline(0.0, seconds, ticks)


def test_a_long_log_is_split_between_days(visits: Callable[..., AuctionLog]) -> None:
    log = visits(0, rows=2000, days=10)
    train, rest = split(log, 0.7)
    assert sorted(set(train.day)) == list(range(7))
    assert sorted(set(rest.day)) == [7, 8, 9]
    assert len(train) + len(rest) == len(log)


def test_a_short_log_is_split_between_hours() -> None:
    log = log_at([600.0 * i for i in range(6 * 20)])
    train, rest = split(log, 0.71)
    assert sorted(set(train.hour)) == list(range(14))
    assert sorted(set(rest.hour)) == list(range(14, 20))


@pytest.mark.parametrize("times", [[], [5.0], [5.0, 3599.0]])
def test_an_hour_cannot_be_split(times: list[float]) -> None:
    with pytest.raises(InputError, match=r"my log: [01] distinct hours cannot be split 70% / 30% in time"):
        split(log_at(times), 0.7)


def test_many_days_are_played_day_by_day(visits: Callable[..., AuctionLog]) -> None:
    log = visits(1, days=6)
    assert timeline_of(log, split(log, 0.7)[1], 48) == Timeline(0.0, 1800.0, 48)


def test_few_days_are_one_episode_that_covers_all_that_was_held_out() -> None:
    log = log_at([900.0 * i for i in range(4 * 30)])
    held_out = split(log, 0.7)[1]
    timeline = timeline_of(log, held_out, 96)
    episode, tick = timeline.locate(held_out.frame["time"].to_numpy())
    assert (timeline.start, timeline.tick_seconds, timeline.ticks) == (21 * 3600.0, 900.0, 36)
    assert not episode.any()
    assert tick.tolist() == list(range(36))
