"""The same formulas in floats and in arrays give the same bytes."""

import pickle
from copy import deepcopy

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.envs.ops import ARRAYS, SCALARS

NUMBERS = st.lists(st.floats(-700.0, 700.0), min_size=1, max_size=40)
POSITIVE = st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=40)


@given(numbers=NUMBERS)
def test_exp_gives_the_same_bytes_alone_and_among_others(numbers: list[float]) -> None:
    together = ARRAYS.exp(np.array(numbers)[:, None])
    assert together.ravel().tolist() == [SCALARS.exp(x) for x in numbers]
    assert type(SCALARS.exp(1.0)) is float


@given(numbers=POSITIVE)
def test_log_gives_the_same_bytes_alone_and_among_others(numbers: list[float]) -> None:
    together = ARRAYS.log(np.array(numbers)[None])
    assert together.ravel().tolist() == [SCALARS.log(x) for x in numbers]
    assert type(SCALARS.log(1.0)) is float


@given(numbers=NUMBERS, ends=st.tuples(st.floats(-9, 9), st.floats(-9, 9)))
def test_clip_and_where_are_the_same_in_both_forms(numbers: list[float], ends: tuple[float, float]) -> None:
    low, high = sorted(ends)
    column = np.array(numbers)[:, None]
    clipped = [SCALARS.clip(x, low, high) for x in numbers]
    assert ARRAYS.clip(column, low, high).ravel().tolist() == clipped == np.clip(numbers, low, high).tolist()
    chosen = [SCALARS.where(x > low, x, high) for x in numbers]
    assert ARRAYS.where(column > low, column, high).ravel().tolist() == chosen


def test_sums_over_groups_are_common_amounts() -> None:
    assert SCALARS.over_groups(3.5) == 3.5
    assert ARRAYS.over_groups(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[3.0], [7.0]]
    only = np.array([[1.0], [2.0]])
    assert ARRAYS.over_groups(only) is only


def test_there_is_one_of_each_also_after_pickling() -> None:
    for ops in (SCALARS, ARRAYS):
        assert pickle.loads(pickle.dumps(ops)) is ops  # noqa: S301 - our own bytes
        assert deepcopy(ops) is ops
