"""Segments by number and groups of worth."""

import numpy as np

from bidpilot.ctr.log import AuctionLog
from bidpilot.envs.beliefs import VALUE_GROUPS, Segments, ValueGroups


def log_of(segments: list[str]) -> AuctionLog:
    return AuctionLog.from_columns({"time": np.arange(len(segments)) * 1.0, "segment": segments})


def test_segments_are_numbered_by_name() -> None:
    segments = Segments.of(log_of(["sport", "new", "sport", "family"]))
    assert segments.names == ("family", "new", "sport")
    assert segments.codes(log_of(["sport", "family", "new"])).tolist() == [2, 0, 1]


def test_a_segment_not_known_is_the_first() -> None:
    codes = Segments(("a", "b")).codes(log_of(["b", "z", "", "NA", "b"]))
    assert codes.dtype == np.int64
    assert codes.tolist() == [1, 0, 0, 0, 1]


def test_no_rows_no_codes() -> None:
    assert Segments(("a",)).codes(log_of([])).tolist() == []


def test_value_groups_are_quantiles() -> None:
    worth = np.random.default_rng(0).lognormal(size=10_000)
    groups = ValueGroups.of(worth)
    assert np.bincount(groups(worth)).tolist() == [2000] * VALUE_GROUPS
    assert groups(np.array([-1.0, 0.0, 1e9])).tolist() == [0, 0, VALUE_GROUPS - 1]
    assert groups(groups.edges).tolist() == [1, 2, 3, 4]


def test_equal_worths_are_one_group() -> None:
    groups = ValueGroups.of(np.full(10, 0.5))
    assert len(set(groups(np.full(3, 0.5)).tolist())) == 1
    assert groups(np.array([0.4, 0.6])).tolist() == [0, VALUE_GROUPS - 1]
