"""Which wins are accepted: budget and frequency caps, against plain Python loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.envs.acceptance import accepted, affordable

COSTS = st.lists(st.integers(0, 60), max_size=40)
WINS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=40)


def loop(costs: list[int], users: list[int], shown: list[int], left: int, cap: int) -> list[bool]:
    """Accept wins one after the other: what is refused for money is not shown."""
    taken, counts = [], list(shown)
    for cost, user in zip(costs, users, strict=True):
        taken.append(cost <= left and counts[user] < cap)
        if taken[-1]:
            left -= cost
            counts[user] += 1
    return taken


@given(costs=COSTS, left=st.integers(0, 400))
def test_affordable_is_the_skip_rule(costs: list[int], left: int) -> None:
    wanted, rest = [], left
    for cost in costs:
        wanted.append(cost <= rest)
        rest -= cost if cost <= rest else 0
    assert affordable(np.array(costs, dtype=np.int64), left).tolist() == wanted
    assert accepted(np.array(costs, dtype=np.int64), left).tolist() == wanted


@given(
    wins=WINS,
    left=st.one_of(st.integers(0, 400), st.just(10**6)),
    cap=st.integers(1, 5),
    shown=st.one_of(st.none(), st.lists(st.integers(0, 5), min_size=5, max_size=5)),
)
def test_the_frequency_cap_is_the_plain_loop_whether_or_not_the_budget_binds(
    wins: list[tuple[int, int]], left: int, cap: int, shown: list[int] | None
) -> None:
    costs, users = [cost for cost, _ in wins], [user for _, user in wins]
    before = None if shown is None else np.array(shown, dtype=np.int64)
    got = accepted(np.array(costs, dtype=np.int64), left, np.array(users, dtype=np.int64), before, cap)
    assert got.tolist() == loop(costs, users, shown or [0] * 5, left, cap)


def test_an_impression_refused_for_money_leaves_the_user_free_to_see_the_next() -> None:
    cost, users = np.array([9, 5, 5]), np.array([0, 0, 0])
    assert accepted(cost, 6, users, None, 1).tolist() == [False, True, False]
    assert accepted(cost, 100, users, None, 2).tolist() == [True, True, False]
    assert accepted(cost, 100, users, np.array([1]), 2).tolist() == [True, False, False]
