"""Actions: numbers or levels, one episode or many, and what is refused."""

import gymnasium as gym
import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.envs.actions import hands


def test_a_number_per_group() -> None:
    one, three = hands("continuous", 1, 9), hands("continuous", 3, 9)
    assert one.space == gym.spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)
    assert three.space == gym.spaces.Box(-1.0, 1.0, (3,), dtype=np.float32)
    assert one.one(np.array([0.5], np.float32)) == one.one([0.5]) == 0.5
    assert type(one.one(np.array([0.5], np.float32))) is float
    assert three.one([0.5, -1.0, 7.0]).tolist() == [[0.5, -1.0, 7.0]]  # clipped where it is used, see Residual
    assert one.many([[0.5], [1.0]]).tolist() == [[0.5], [1.0]]
    assert three.many(np.eye(3)).tolist() == np.eye(3).tolist()


def test_the_middle_level_is_the_controller_and_the_ends_are_the_reach() -> None:
    one, three = hands("ladder", 1, 5), hands("ladder", 3, 5)
    assert one.space == gym.spaces.Discrete(5)
    assert three.space == gym.spaces.MultiDiscrete([5, 5, 5])
    assert [one.one(level) for level in range(5)] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert one.one(np.int64(2)) == one.one(np.array([2])) == 0.0
    assert type(one.one(2)) is float
    assert three.one([0, 2, 4]).tolist() == [[-1.0, 0.0, 1.0]]
    assert one.many([0, 3]).tolist() == one.many([[0], [3]]).tolist() == [[-1.0], [0.5]]
    assert three.many([[0, 2, 4], [1, 1, 1]]).tolist() == [[-1.0, 0.0, 1.0], [-0.5] * 3]


@pytest.mark.parametrize("form", ["continuous", "ladder"])
@pytest.mark.parametrize("groups", [1, 3])
def test_whatever_the_space_samples_is_taken_alike_alone_and_among_others(form: str, groups: int) -> None:
    taken = hands(form, groups, 7)
    taken.space.seed(0)
    samples = [taken.space.sample() for _ in range(20)]
    alone = np.array([np.ravel(taken.one(sample)) for sample in samples])
    assert taken.many(np.array(samples)).tolist() == alone.tolist()
    assert (np.abs(alone) <= 1).all()


@pytest.mark.parametrize(
    ("form", "groups", "wrong", "message"),
    [
        ("continuous", 1, np.array([np.nan]), r"1 finite numbers in -1\.\.1"),
        ("continuous", 1, np.array([np.inf]), r"1 finite numbers in -1\.\.1"),
        ("continuous", 1, np.array([[0.5]]), r"1 finite numbers"),
        ("continuous", 1, 0.5, r"1 finite numbers"),
        ("continuous", 3, np.zeros(2), r"3 finite numbers"),
        ("continuous", 3, [0.0, np.nan, 0.0], r"3 finite numbers"),
        ("ladder", 1, 5, r"1 whole numbers in 0\.\.4"),
        ("ladder", 1, -1, r"1 whole numbers in 0\.\.4"),
        ("ladder", 1, 0.5, r"1 whole numbers"),
        ("ladder", 1, [1, 2], r"1 whole numbers"),
        ("ladder", 3, [1, 2], r"3 whole numbers"),
        ("ladder", 3, [1, 2, 5], r"3 whole numbers in 0\.\.4"),
        ("ladder", 3, [1.0, 2.0, 3.0], r"3 whole numbers"),
    ],
)
def test_what_is_no_action_is_refused(form: str, groups: int, wrong: object, message: str) -> None:
    taken = hands(form, groups, 5)
    with pytest.raises(InputError, match=f"an action must be {message}"):
        taken.one(wrong)


@pytest.mark.parametrize("levels", [0, 1, 2, 4])
def test_a_ladder_has_a_middle(levels: int) -> None:
    with pytest.raises(InputError, match=f"at least 3, to have a middle; got {levels}"):
        hands("ladder", 1, levels)


def test_forms_go_by_name() -> None:
    with pytest.raises(InputError, match="unknown action form 'fame'; known: continuous, ladder"):
        hands("fame", 1, 9)
