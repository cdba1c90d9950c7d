"""The sorted index gives what the plain scan gives, to the bit."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.types import UNWINNABLE
from bidpilot.envs.day import Day
from bidpilot.envs.ladder import outcomes_of
from bidpilot.envs.simulator import HIGHEST, scan
from bidpilot.envs.types import COLUMNS, Rules

ENDLESS = 2**52


def wild(day: Day, groups: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Draw multipliers: some exactly at an opportunity's own ratio, some just beside one, some extreme."""
    ratio = day.ratio[np.isfinite(day.ratio)]
    pool = np.concatenate([ratio, np.nextafter(ratio, 0.0), [0.0, -1.0, np.nan, 1e-300, 1.0, HIGHEST]])
    return rng.choice(pool, groups)


@given(seed=st.integers(0, 2**32 - 1), ticks=st.integers(1, 6), segments=st.integers(1, 4), rows=st.integers(0, 90))
def test_ladder_is_the_scan(messy_day: Callable[..., Day], seed: int, ticks: int, segments: int, rows: int) -> None:
    day, rng = messy_day(seed, rows, ticks, segments), np.random.default_rng(seed)
    for tick in range(ticks):
        part = slice(day.starts[tick], day.starts[tick + 1])
        pooled, split = wild(day, 1, rng), wild(day, segments, rng)
        each = np.full(part.stop - part.start, pooled[0])
        by_scan = scan(day, tick, each, ENDLESS, Rules(), groups=1).table
        assert day.pooled.outcome(tick, pooled).tobytes() == by_scan.tobytes()
        if segments > 1:
            by_scan = scan(day, tick, split[day.seen.segment[part]], ENDLESS, Rules(), groups=segments).table
            assert day.by_segment.outcome(tick, split).tobytes() == by_scan.tobytes()


@given(seed=st.integers(0, 2**32 - 1))
def test_segments_together_are_the_whole(messy_day: Callable[..., Day], seed: int) -> None:
    day = messy_day(seed)
    at = wild(day, 1, np.random.default_rng(seed))
    for tick in range(day.ticks):
        parts = day.by_segment.outcome(tick, np.repeat(at, day.segments))
        np.testing.assert_array_equal(parts.sum(axis=0), day.pooled.outcome(tick, at)[0])


def test_every_ratio_is_a_tie_that_is_won(messy_day: Callable[..., Day]) -> None:
    day = messy_day(5, rows=300)
    known = np.flatnonzero(np.isfinite(day.ratio) & (day.ratio > 0))
    for row in known:
        tick, at = int(day.seen.tick[row]), day.ratio[row]
        reached = (day.seen.tick == tick) & (day.ratio <= at)
        assert day.pooled.outcome(tick, np.array([at]))[0, 0] == reached.sum()
        below = day.pooled.outcome(tick, np.array([np.nextafter(at, 0.0)]))[0, 0]
        assert below == ((day.seen.tick == tick) & (day.ratio < at)).sum() < reached.sum()


def test_what_a_row_counts(messy_day: Callable[..., Day]) -> None:
    day = messy_day(8)
    table = dict(zip(COLUMNS[2:], outcomes_of(day), strict=True)) | {"spend": day.payable}
    assert (table["clicks"] == day.hidden.click).all()
    assert (table["revenue"] == day.hidden.revenue).all()
    assert (table["predicted_clicks"] == day.seen.pctr).all()
    assert (table["predicted"] == day.seen.value).all()
    assert (table["expected"] == day.hidden.expected).all()
    sold = (day.hidden.price < UNWINNABLE) & (day.seen.value > 0)
    assert (table["spend"] == np.where(sold, day.hidden.price, 0)).all()


@given(seed=st.integers(0, 2**32 - 1))
def test_the_conversions_among_the_wins_are_those_of_the_rows_won(smooth_day: Callable[..., Day], seed: int) -> None:
    day, rng = smooth_day(seed, rows=300), np.random.default_rng(seed)
    for tick in range(day.ticks):
        for ladder in (day.pooled, day.by_segment):
            at = wild(day, ladder.groups, rng)
            rows = ladder.conversions(tick, ladder.wins(tick, at))
            each = at[day.seen.segment] if ladder.groups > 1 else at[0]
            won = (day.seen.tick == tick) & (each >= day.ratio) & (each > 0)
            assert sorted(rows.tolist()) == np.flatnonzero(won & day.hidden.conversion).tolist()
            table = ladder.sums(ladder.cells_of(tick), ladder.wins(tick, at))
            assert table[:, 0].sum() == won.sum()
            assert table[:, COLUMNS.index("conversions")].sum() == len(rows)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_day_without_traffic_has_a_ladder(messy_day: Callable[..., Day], groups: int) -> None:
    ladder = (messy_day(0, rows=0).pooled, messy_day(0, rows=0).by_segment)[groups > 1]
    assert not ladder.outcome(2, np.ones(groups)).any()
