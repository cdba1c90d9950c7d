"""Large ticks by blocks of time: to the bit what the scan gives, whatever the size of a block."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.envs.blocks import Blocks
from bidpilot.envs.day import Day
from bidpilot.envs.simulator import HIGHEST, scan
from bidpilot.envs.types import COLUMNS, Rules

SEEDS = st.integers(0, 2**32 - 1)
LEFT = st.sampled_from([0, 1, 499, 500, 1500, 10_000, 40_001, 10**6, 2**51])


def agree(day: Day, tick: int, multiplier: float, left: int, size: int) -> None:
    """Compare blocks of this size with the scan."""
    ladder = day.pooled
    wins = int(ladder.wins(tick, np.array([multiplier]))[0])
    plain = scan(day, tick, multiplier, left, Rules(), 1).table[0]
    assert np.array(Blocks(ladder, tick, size).settle(wins, left)).tobytes() == plain.tobytes()


@given(seed=SEEDS, rows=st.integers(0, 200), size=st.sampled_from([1, 2, 3, 7, 64, 2048]), left=LEFT)
def test_blocks_are_the_scan(
    messy_day: Callable[..., Day], smooth_day: Callable[..., Day], seed: int, rows: int, size: int, left: int
) -> None:
    for day in (messy_day(seed, rows), smooth_day(seed, rows)):
        ratio = np.append(day.ratio[np.isfinite(day.ratio)], [0.0, HIGHEST])
        for tick in range(day.ticks):
            at = float(np.random.default_rng(seed + tick).choice(ratio))
            agree(day, tick, at, left, size)


@given(seed=SEEDS, size=st.sampled_from([1, 5, 50]), short=st.sampled_from([-1, 0, 1]))
def test_money_that_fits_exactly_buys_all_and_a_unit_less_does_not(
    smooth_day: Callable[..., Day], seed: int, size: int, short: int
) -> None:
    day = smooth_day(seed, rows=200, ticks=1)
    left = day.full_cost + short
    agree(day, 0, HIGHEST, left, size)
    row = dict(zip(COLUMNS, Blocks(day.pooled, 0, size).settle(200, left), strict=True))
    assert (row["wins"], row["spend"]) == (200, day.full_cost) if short >= 0 else row["wins"] < 200


@pytest.mark.parametrize("price", [0, 1, 1000])
def test_equal_prices_go_to_those_who_come_first(smooth_day: Callable[..., Day], price: int) -> None:
    plain = smooth_day(3, rows=90, ticks=1)
    day = replace(plain, hidden=replace(plain.hidden, price=np.full(90, price)))
    for left in (0, 1, 999, 1000, 31_000, 31_999):
        for size in (4, 30, 90):
            agree(day, 0, HIGHEST, left, size)


def test_after_the_money_is_gone_the_free_are_still_won(smooth_day: Callable[..., Day]) -> None:
    plain = smooth_day(4, rows=100, ticks=1)
    price = np.where(np.arange(100) % 10 == 9, 0, 50)
    day = replace(plain, hidden=replace(plain.hidden, price=price))
    wins, spend, *_ = Blocks(day.pooled, 0, 8).settle(100, 120)
    assert (wins, spend) == (12, 100)


def test_a_cell_of_a_segment_has_blocks_of_its_own(messy_day: Callable[..., Day]) -> None:
    day = messy_day(5, rows=300)
    ladder = day.by_segment
    for cell in range(day.ticks * day.segments):
        tick, segment = divmod(cell, day.segments)
        at = np.full(int(day.starts[tick + 1] - day.starts[tick]), 0.0)
        at[day.seen.segment[day.starts[tick] : day.starts[tick + 1]] == segment] = 1.2
        wins = int(ladder.wins(tick, np.full(day.segments, 1.2))[segment])
        plain = scan(day, tick, at, 5000, Rules(), day.segments).table[segment]
        assert np.array(Blocks(ladder, cell, 9).settle(wins, 5000)).tobytes() == plain.tobytes()


def test_they_are_built_once(messy_day: Callable[..., Day]) -> None:
    ladder = messy_day(0).pooled
    assert ladder.blocks(2) is ladder.blocks(2)
    assert ladder.blocks(2) is not ladder.blocks(1)
