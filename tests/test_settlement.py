"""The tick in which the money runs out: on the index, many at once, to the bit what the scan gives one by one."""

from collections.abc import Callable
from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.envs.acceptance import affordable
from bidpilot.envs.day import Day
from bidpilot.envs.settlement import affordable_each, settle
from bidpilot.envs.simulator import scan, spread
from bidpilot.envs.types import Rules

SEEDS = st.integers(0, 2**32 - 1)
LEFT = [0, 1, 500, 1500, 10_000, 40_001, 10**6, 2**51]


@given(seed=SEEDS, episodes=st.integers(1, 6), pooled=st.booleans())
def test_settled_ticks_are_the_scan(
    messy_day: Callable[..., Day],
    seed: int,
    episodes: int,
    pooled: bool,  # noqa: FBT001 - hypothesis
) -> None:
    day, rng = messy_day(seed), np.random.default_rng(seed)
    ladder = day.pooled if pooled else day.by_segment
    ratio = np.append(day.ratio[np.isfinite(day.ratio)], [0.0, -1.0, 1e300])
    for tick in range(day.ticks):
        at, left = rng.choice(ratio, (episodes, ladder.groups)), rng.choice(LEFT, episodes)
        cells = np.tile(ladder.cells_of(tick), (episodes, 1))
        wins = np.array([ladder.wins(tick, each) for each in at])
        got = settle(ladder.prefix, ladder.order, ladder.starts[cells], cells, wins, left)
        for table, each, rest in zip(got, at, left.tolist(), strict=True):
            plain = scan(day, tick, spread(day, tick, each), rest, Rules(), ladder.groups)
            assert table.tobytes() == plain.table.tobytes()


@given(
    costs=st.lists(st.lists(st.integers(0, 60), max_size=30), min_size=1, max_size=5),
    left=st.lists(st.integers(0, 300), min_size=5, max_size=5),
)
def test_each_owner_pays_by_the_skip_rule(costs: list[list[int]], left: list[int]) -> None:
    owner = np.repeat(np.arange(len(costs)), [len(each) for each in costs])
    together = affordable_each(np.array(list(chain(*costs)), dtype=np.float64), owner, np.array(left[: len(costs)]))
    alone = [affordable(np.array(each, dtype=np.int64), rest) for each, rest in zip(costs, left, strict=False)]
    assert together.tolist() == np.concatenate(alone).tolist()


@given(seed=SEEDS, owners=st.integers(1, 5), kind=st.sampled_from(["exact", "short", "free", "equal"]))
def test_sums_that_fit_exactly_free_costs_and_equal_costs(seed: int, owners: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 20, owners)
    owner, n = np.repeat(np.arange(owners), counts), int(counts.sum())
    cost = np.full(n, 7) if kind == "equal" else rng.integers(0, 3 if kind == "free" else 60, n)
    owed = np.bincount(owner, cost, owners).astype(np.int64)
    left = {"exact": owed, "short": np.maximum(owed - 1, 0), "free": 0 * owed, "equal": owed - owed // 3}[kind]
    got = affordable_each(cost.astype(np.float64), owner, left)
    for number in range(owners):
        mine = owner == number
        assert got[mine].tolist() == affordable(cost[mine], int(left[number])).tolist()
        assert cost[mine & got].sum() <= left[number]
    if kind == "exact":
        assert got.all()
    if kind == "free":
        assert got.tolist() == (cost == 0).tolist()


def test_sums_over_many_owners_do_not_lose_units() -> None:
    owners, each = 300, np.array([2.0**51 - 3, 1.0, 1.0, 1.0, 1.0])
    cost, owner = np.tile(each, owners), np.repeat(np.arange(owners), 5)
    left = np.full(owners, 2**51)
    got = affordable_each(cost, owner, left).reshape(owners, 5)  # together far above 2**53
    assert got.all(axis=0).tolist() == [True, True, True, True, False]
    assert not got[:, 4].any()


def test_nothing_to_settle_is_nothing_bought(messy_day: Callable[..., Day]) -> None:
    day = messy_day(0, rows=0)
    cells = day.by_segment.cells_of(1)[None]
    nothing = np.zeros_like(cells)
    ladder = day.by_segment
    got = settle(ladder.prefix, ladder.order, ladder.starts[cells], cells, nothing, np.array([10]))
    assert got.shape == (1, 3, 8)
    assert not got.any()
    assert not affordable_each(np.zeros(0), np.zeros(0, dtype=np.int64), np.array([5])).size
