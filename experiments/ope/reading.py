"""A log of decisions from a file, and what the target policy would have done on each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.tables import open_table
from bidpilot.experiments.ope.logged import LoggedBandit, check_distribution

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.types import FloatArray

NEEDED = ("action", "reward", "propensity")
FEATURE, TARGET = "feature_", "target_"
MOST_VALUES = 100
"""Distinct texts that a feature may have: each becomes a column."""


def read_bandit(path: Path, target_path: Path | None = None) -> tuple[LoggedBandit, FloatArray]:
    """Return the log and the target's probabilities (n, arms).

    path: CSV, TSV or Parquet with the columns action (any text), reward, propensity (of that action), and, if there
    are any, position, day (rows of a day are drawn together for the intervals) and feature_* (numbers, or text of at
    most MOST_VALUES values). The target is either in columns target_<action>, one for every action, or in target_path:
    a table of action, probability and, if it differs by that, position. Raises InputError on anything else.
    """
    cells = _read(path, NEEDED)
    columns = _named(cells, TARGET)
    if bool(columns) == (target_path is not None):
        which = "both" if columns else "neither"
        raise InputError(
            f"{path}: the target is given in {which}: columns {TARGET}<action> or --target FILE; give one of them"
        )
    position = cells.get("position")
    if target_path is None:
        names = [name.removeprefix(TARGET) for name in columns]
        target = np.stack([_numbers(path, cells, name) for name in columns], axis=1)
    else:
        names, target = _from_table(target_path, position, len(cells))
    check_distribution("target", target, (len(cells), len(names)))
    log = LoggedBandit(
        actions=_codes(path, cells["action"], names),
        rewards=_numbers(path, cells, "reward"),
        propensity=_numbers(path, cells, "propensity"),
        arms=len(names),
        features=_features(path, cells),
        position=None if position is None else pd.factorize(position)[0].astype(np.int64),
        group=pd.factorize(cells["day"])[0].astype(np.int64) if "day" in cells else None,
    )
    return log, target


def _from_table(path: Path, position: pd.Series | None, rows: int) -> tuple[list[str], FloatArray]:
    """Return the names of the actions and the probabilities (rows, arms) from a table of the target."""
    cells = _read(path, ("action", "probability"))
    by_position = "position" in cells
    if by_position and position is None:
        raise InputError(f"{path}: gives probabilities by position, but the log has no column 'position'")
    where = cells["position"] if by_position else pd.Series("", index=cells.index)
    cells = cells.assign(place=where, mass=_numbers(path, cells, "probability"))
    twice = cells.duplicated(["place", "action"])
    if twice.any():
        again = cells[twice].iloc[0]
        raise InputError(f"{path}: line {again.name} gives action {again['action']!r} once more")
    table = cells.pivot_table(index="place", columns="action", values="mass", fill_value=0.0)
    asked = pd.Series([""] * rows) if not by_position or position is None else position
    unknown = asked[~asked.isin(table.index)]
    if len(unknown):
        raise InputError(f"{path}: has no probabilities for position {unknown.iloc[0]!r} of the log")
    rows_of = table.index.get_indexer(pd.Index(asked))
    return [str(name) for name in table.columns], table.to_numpy(np.float64)[rows_of]


def _read(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    table = open_table(path)
    missing = [name for name in needed if name not in table.header]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}; expected {', '.join(needed)}")
    if len(set(table.header)) < len(table.header):
        raise InputError(f"{path}: two columns have the same name")
    return table.cells(table.header)


def _named(cells: pd.DataFrame, prefix: str) -> list[str]:
    """Return the columns whose names begin so."""
    return [str(name) for name in cells if str(name).startswith(prefix)]


def _codes(path: Path, actions: pd.Series, names: list[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    codes = pd.Index(names).get_indexer(pd.Index(actions))
    if (codes < 0).any():
        place = int((codes < 0).argmax())
        raise InputError(
            f"{path}: line {actions.index[place]}: action {actions.iloc[place]!r} has no probability under the target; "
            "give one for every action, 0 where the target never takes it"
        )
    return np.asarray(codes, dtype=np.int64)


def _numbers(path: Path, cells: pd.DataFrame, name: str) -> FloatArray:
    """Return a column of text as numbers."""
    found = pd.to_numeric(cells[name], errors="coerce")
    wrong = ~np.isfinite(found.to_numpy(np.float64))
    if wrong.any():
        line = cells.index[int(wrong.argmax())]
        raise InputError(f"{path}: line {line}: {name} is {cells[name][line]!r}; expected a finite number")
    return found.to_numpy(np.float64)


def _features(path: Path, cells: pd.DataFrame) -> FloatArray | None:
    """Return the features (n, d): columns of numbers as they are, of text as a column for each value but the first."""
    parts = []
    for name in _named(cells, FEATURE):
        number = pd.to_numeric(cells[name], errors="coerce")
        if number.notna().all():
            parts.append(_numbers(path, cells, name)[:, None])
            continue
        if cells[name].nunique() > MOST_VALUES:
            raise InputError(
                f"{path}: {name} is text of {cells[name].nunique():,} values; at most {MOST_VALUES} can be used: group "
                "them, or leave the column out"
            )
        parts.append(pd.get_dummies(cells[name], drop_first=True, dtype=np.float64).to_numpy())
    return np.concatenate(parts, axis=1) if parts else None
