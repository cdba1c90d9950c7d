"""Segments by number, and laws of prices on days ahead."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.outlook import Outlook
from bidpilot.envs.beliefs import Beliefs, Segments
from bidpilot.envs.timeline import Timeline


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


def test_laws_are_those_of_the_worth_at_the_level_of_the_days_ahead(believe: Callable[..., Beliefs]) -> None:
    log = AuctionLog.from_columns({"time": np.arange(100) * 3600.0, "pctr": np.linspace(0.01, 0.05, 100)})
    beliefs = believe(log, Timeline(0.0, 3600.0, 24))
    worth = beliefs.goal.expected(beliefs.response.predict(log))
    plain = beliefs.laws(log, worth).quantile(np.full(100, 0.5))
    np.testing.assert_array_equal(plain, 1000 * (np.arange(100) // 20 + 1) + log.hour)
    dearer = replace(beliefs, outlook=Outlook(price=0.1)).laws(log, worth).quantile(np.full(100, 0.5))
    np.testing.assert_allclose(dearer, plain * np.exp(0.1), atol=1.0)
