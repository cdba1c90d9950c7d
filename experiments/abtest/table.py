"""The table of a test that was run: which unit was in which arm, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.tables import open_table
from bidpilot.experiments.abtest.ratio import sum_by_unit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bidpilot.ctr.tables import Table
    from bidpilot.ctr.types import FloatArray


@dataclass(frozen=True, slots=True)
class Experiment:
    """N units in the order of the file (with a unit column: of the unit's name).

    arm: (N,) names. metrics: by name the numerators (N,) and denominators (N,), 1 for a mean per unit. covariates: by
    name values (N,) known before the test.
    """

    arm: NDArray[np.str_]
    metrics: dict[str, tuple[FloatArray, FloatArray]]
    covariates: dict[str, FloatArray]

    def counts(self) -> dict[str, int]:
        """Return the units of each arm."""
        names, counts = np.unique(self.arm, return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))

    def others(self, control: str) -> list[str]:
        """Return the arms beside the control. Raises InputError when the control, or any other, is not there."""
        arms = list(self.counts())
        if control not in arms:
            raise unknown("arm", control, arms)
        if len(arms) == 1:
            raise InputError(f"all units are in arm {control!r}; expected at least one other arm")
        return [name for name in arms if name != control]


def read_experiment(
    path: Path, arm: str, metrics: Sequence[str], covariates: Sequence[str] = (), unit: str | None = None
) -> Experiment:
    """Read a test from CSV, TSV or Parquet (plain or packed).

    metrics: a column (mean per unit), or two as a/b (sum of a over sum of b). unit: the column that says which rows
    belong together; their metrics are summed. Without it each row is a unit. Raises InputError for columns and values
    that are not there, no numbers, or that differ within a unit (arm, covariates).
    """
    parts, cells = _metric_cells(path, metrics, (arm, *covariates, *([unit] if unit else [])))
    arms = _names(path, cells[arm])
    columns = dict.fromkeys([*(name for pair in parts.values() for name in pair), *covariates])
    numbers = {name: parse_numbers(path, cells[name]) for name in columns}
    known = {name: numbers[name] for name in covariates}
    if unit:
        units = _names(path, cells[unit])
        arms, *once = (_once(path, units, name, values) for name, values in ((arm, arms), *known.items()))
        known = dict(zip(covariates, once, strict=True))
        numbers = dict(zip(numbers, sum_by_unit(units, *numbers.values()), strict=True))
    return Experiment(arms, {name: _pair(numbers, pair, len(arms)) for name, pair in parts.items()}, known)


def read_numbers(path: Path, metric: str, covariates: Sequence[str]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return numerator (N,), denominator (N,) and covariates (N, k) of a table without arms; see read_experiment."""
    parts, cells = _metric_cells(path, (metric,), tuple(covariates))
    numbers = {name: parse_numbers(path, cells[name]) for name in dict.fromkeys((*parts[metric], *covariates))}
    known = np.array([numbers[name] for name in covariates]).reshape(len(covariates), len(cells)).T
    return (*_pair(numbers, parts[metric], len(cells)), known)


def open_columns(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Return columns of a file as text, by line. Raises InputError when they are not there once each."""
    table = open_table(path)
    return _cells(path, table, names)


def parse_numbers(path: Path, cells: pd.Series) -> FloatArray:
    """Return a column (N,) of finite numbers. Raises InputError, naming the line, for others."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        place = int(bad.argmax())
        raise InputError(
            f"{path}: line {cells.index[place]}: expected a number in column {cells.name!r}, got {cells.iloc[place]!r} "
            f"({int(bad.sum())} such rows); write 0 where nothing happened, or leave the column out"
        )
    return values


def _metric_cells(
    path: Path, metrics: Sequence[str], others: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], pd.DataFrame]:
    """Return the columns of each metric (itself, or numerator and denominator) and the cells of all columns named."""
    table = open_table(path)
    parts: dict[str, tuple[str, ...]] = {}
    for metric in metrics:
        above, slash, below = metric.partition("/")
        parts[metric] = (metric,) if metric in table.header or not slash else (above.strip(), below.strip())
    return parts, _cells(path, table, [*others, *(name for pair in parts.values() for name in pair)])


def _cells(path: Path, table: Table, names: Sequence[str]) -> pd.DataFrame:
    for name in names:
        if table.header.count(name) != 1:
            found = f"there {table.header.count(name)} times" if name in table.header else "missing"
            raise InputError(f"{path}: column {name!r} is {found}; the file has {', '.join(table.header)}")
    doubled = [f"{name}\0{place}" for place, name in enumerate(table.header)]
    unique = tuple(name if name in names else other for name, other in zip(table.header, doubled, strict=True))
    return table.cells(unique)[list(dict.fromkeys(names))]


def _pair(numbers: dict[str, FloatArray], names: tuple[str, ...], units: int) -> tuple[FloatArray, FloatArray]:
    return numbers[names[0]], numbers[names[1]] if len(names) > 1 else np.ones(units)


def _names(path: Path, cells: pd.Series) -> NDArray[np.str_]:
    """Return names without blanks around them, none empty."""
    names = cells.str.strip()
    if (names == "").any():
        line = names.index[int((names == "").to_numpy().argmax())]
        raise InputError(f"{path}: line {line}: column {cells.name!r} is empty; every row needs one")
    return names.to_numpy(dtype=np.str_)


def _once(path: Path, units: NDArray[np.str_], name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return the one value of each unit, units sorted."""
    _, first, place = np.unique(units, return_index=True, return_inverse=True)
    differ = values != values[first][place]
    if differ.any():
        at = int(differ.argmax())
        raise InputError(
            f"{path}: unit {str(units[at])!r} has column {name!r} as {values[first][place][at]} and as {values[at]}; "
            "expected one value for each unit"
        )
    return values[first]
