"""Logs of decisions from files: both ways to give the target, and every mistake as one error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.ope.reading import MOST_VALUES, read_bandit

if TYPE_CHECKING:
    from pathlib import Path

FRAME = pd.DataFrame(
    {
        "action": ["b", "a", "b"],
        "reward": [1.0, 0.0, 2.5],
        "propensity": [0.5, 0.25, 0.5],
        "position": ["top", "side", "top"],
        "day": ["mo", "mo", "tu"],
        "feature_age": [30, 41, 25],
        "feature_city": ["x", "y", "x"],
        "target_a": [0.1, 0.2, 0.3],
        "target_b": [0.9, 0.8, 0.7],
    }
)
BARE = FRAME.drop(columns=["target_a", "target_b"])


def put(folder: Path, frame: pd.DataFrame, name: str = "log.csv") -> Path:
    path = folder / name
    frame.to_parquet(path) if name.endswith(".parquet") else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.parquet"])
def test_columns_become_a_log_and_a_target(tmp_path: Path, name: str) -> None:
    log, target = read_bandit(put(tmp_path, FRAME, name))
    assert log.actions.tolist() == [1, 0, 1]
    assert log.rewards.tolist() == [1.0, 0.0, 2.5]
    assert log.propensity.tolist() == [0.5, 0.25, 0.5]
    assert log.position is not None
    assert log.position.tolist() == [0, 1, 0]
    assert log.group is not None
    assert log.group.tolist() == [0, 0, 1]
    assert log.features is not None
    assert log.features.tolist() == [[30.0, 0.0], [41.0, 1.0], [25.0, 0.0]]
    np.testing.assert_array_equal(target, FRAME[["target_a", "target_b"]])


def test_a_table_gives_the_target_once_or_by_position(tmp_path: Path) -> None:
    path = put(tmp_path, BARE)
    once = pd.DataFrame({"action": ["a", "b", "c"], "probability": [0.2, 0.3, 0.5]})
    log, target = read_bandit(path, put(tmp_path, once, "once.csv"))
    assert log.arms == 3
    assert target.tolist() == [[0.2, 0.3, 0.5]] * 3
    rows = [("top", "a", 1.0), ("side", "a", 0.4), ("side", "b", 0.6)]
    by_place = pd.DataFrame(rows, columns=["position", "action", "probability"])
    _, target = read_bandit(path, put(tmp_path, by_place, "places.csv"))
    assert target.tolist() == [[1.0, 0.0], [0.4, 0.6], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (BARE, "given in neither"),
        (FRAME.drop(columns="propensity"), "no column 'propensity'"),
        (FRAME.assign(propensity=[0.5, 0.0, 0.5]), "row 1 is 0; expected a probability above 0"),
        (FRAME.assign(reward=[1.0, np.nan, 1.0]), "line 3: reward is ''"),
        (FRAME.assign(reward=["1", "x", "1"]), "line 3: reward is 'x'"),
        (FRAME.assign(action=["b", "a", "z"]), "line 4: action 'z' has no probability"),
        (FRAME.assign(target_a=0.5), "must sum to 1"),
        (FRAME.assign(feature_age=[1.0, np.inf, 2.0]), "feature_age is 'inf'"),
    ],
)
def test_a_log_that_cannot_be_used_is_refused(tmp_path: Path, frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_bandit(put(tmp_path, frame))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("top", "a", 1.0)], "no probabilities for position 'side'"),
        ([("top", "a", 0.5), ("side", "a", 1.0)], "must sum to 1"),
        ([("top", "a", 1.0), ("top", "a", 1.0), ("side", "a", 1.0)], "line 3 gives action 'a' once more"),
        ([("top", "a", 1.0), ("side", "a", 1.0)], "action 'b' has no probability"),
    ],
)
def test_a_target_that_does_not_fit_is_refused(
    tmp_path: Path, rows: list[tuple[str, str, float]], message: str
) -> None:
    table = put(tmp_path, pd.DataFrame(rows, columns=["position", "action", "probability"]), "target.csv")
    with pytest.raises(InputError, match=message):
        read_bandit(put(tmp_path, BARE), table)


def test_two_targets_or_positions_that_the_log_lacks_are_refused(tmp_path: Path) -> None:
    table = put(tmp_path, pd.DataFrame({"action": ["a"], "probability": [1.0], "position": ["top"]}), "target.csv")
    with pytest.raises(InputError, match="given in both"):
        read_bandit(put(tmp_path, FRAME), table)
    with pytest.raises(InputError, match="no column 'position'"):
        read_bandit(put(tmp_path, BARE.drop(columns="position")), table)


def test_a_feature_of_too_many_texts_is_refused(tmp_path: Path) -> None:
    long = pd.concat([FRAME] * 40, ignore_index=True)
    with pytest.raises(InputError, match=f"at most {MOST_VALUES}"):
        read_bandit(put(tmp_path, long.assign(feature_city=[f"c{row}" for row in range(len(long))])))
