"""Many ladders as one: each answers as it does alone."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.envs.bank import Bank
from bidpilot.envs.day import Day
from bidpilot.envs.ladder import Ladder
from bidpilot.envs.simulator import HIGHEST, scan, spread
from bidpilot.envs.types import Rules

SEEDS = st.integers(0, 2**32 - 1)
ENDLESS = 2**52


def ladders(days: list[Day], *, pooled: bool) -> list[Ladder]:
    return [day.pooled if pooled else day.by_segment for day in days]


def wild(day: Day, groups: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Draw multipliers: exactly at an opportunity's own ratio, just beside one, or extreme."""
    ratio = day.ratio[np.isfinite(day.ratio)]
    pool = np.concatenate([ratio, np.nextafter(ratio, 0.0), np.nextafter(ratio, 9e9), [0.0, -1.0, np.nan, HIGHEST]])
    return rng.choice(pool, groups)


@given(seed=SEEDS, rows=st.lists(st.integers(0, 60), min_size=1, max_size=4), pooled=st.booleans())
def test_every_ladder_answers_as_the_scan_does(
    messy_day: Callable[..., Day],
    seed: int,
    rows: list[int],
    pooled: bool,  # noqa: FBT001 - hypothesis
) -> None:
    days, rng = [messy_day(seed + i, n) for i, n in enumerate(rows)], np.random.default_rng(seed)
    kept = ladders(days, pooled=pooled)
    bank, chosen = Bank(kept), rng.integers(len(days), size=5)
    first, rise = bank.cells(bank.slots([kept[number] for number in chosen]))
    for tick in range(days[0].ticks):
        at = np.array([wild(days[number], kept[0].groups, rng) for number in chosen])
        cell = first + tick * rise
        wins, free = bank.play(cell, at)
        left = rng.choice([0, 1, 500, 3000, 40_001, ENDLESS], 5)
        settled = bank.settled(cell, wins, left)
        for i, number in enumerate(chosen.tolist()):
            arguments = (days[number], tick, spread(days[number], tick, at[i]))
            assert free[i].tobytes() == scan(*arguments, ENDLESS, Rules(), kept[0].groups).table.tobytes()
            assert settled[i].tobytes() == scan(*arguments, int(left[i]), Rules(), kept[0].groups).table.tobytes()


def test_a_single_ladder_is_not_copied(messy_day: Callable[..., Day]) -> None:
    only = messy_day(0).pooled
    bank = Bank([only, only])
    assert bank._prefix is only.prefix
    assert bank._keys is only.keys
    assert bank.slots([only, only, only]).tolist() == [0, 0, 0]


def test_a_ladder_given_twice_is_kept_once(messy_day: Callable[..., Day]) -> None:
    one, two = messy_day(0).pooled, messy_day(1).pooled
    bank = Bank([one, two, one])
    assert bank.slots([two, one, two]).tolist() == [1, 0, 1]
    assert len(bank._order) == len(one.order) + len(two.order)


def test_it_knows_what_it_covers(messy_day: Callable[..., Day]) -> None:
    one, two, other = (messy_day(seed).pooled for seed in range(3))
    bank = Bank([one, two])
    assert bank.covers([two, one, one])
    assert bank.covers([])
    assert not bank.covers([one, other])
    with pytest.raises(KeyError):
        bank.slots([other])


@pytest.mark.parametrize("pooled", [True, False])
def test_days_without_traffic_are_banked_too(messy_day: Callable[..., Day], pooled: bool) -> None:  # noqa: FBT001 - a case
    kept = ladders([messy_day(0, rows=0), messy_day(1, rows=50), messy_day(2, rows=0)], pooled=pooled)
    bank = Bank(kept)
    at = np.full((3, kept[0].groups), 1e9)
    first, rise = bank.cells(bank.slots(kept))
    wins, table = bank.play(first + 3 * rise, at)
    assert not wins[[0, 2]].any()
    assert table[1].tobytes() == kept[1].outcome(3, at[1]).tobytes()


def test_a_copy_knows_its_own_ladders(messy_day: Callable[..., Day]) -> None:
    bank = Bank([messy_day(0).pooled, messy_day(1).pooled])
    copy = pickle.loads(pickle.dumps(bank))  # noqa: S301 - our own bytes: worker processes get environments like this
    assert copy.covers(copy._kept)
    assert not copy.covers(bank._kept)
    cell = np.array([[0], [1]]) + 4
    for one, two in zip(bank.play(cell, np.ones((2, 1))), copy.play(cell, np.ones((2, 1))), strict=True):
        assert one.tobytes() == two.tobytes()
