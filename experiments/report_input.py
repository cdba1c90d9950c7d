"""What a run folder holds: the columns of its tables, and one reader that checks them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.experiments.metrics import METRICS

if TYPE_CHECKING:
    from pathlib import Path

ROLES = ("baseline", "learner", "oracle")
EVENTS = ("click", "conversion")


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file of a run folder: its name, its columns of text and of numbers, and the columns no two rows share."""

    file: str
    text: tuple[str, ...]
    numbers: tuple[str, ...]
    key: tuple[str, ...]


RESULTS = Table(
    "results.csv",
    ("policy", "role", "budget_label", "best_baseline"),
    (
        "budget",
        "budget_currency",
        *(name for metric in METRICS for name in (metric.name, f"{metric.name}_low", f"{metric.name}_high")),
        *("difference", "difference_low", "difference_high"),
    ),
    ("policy", "budget"),
)
TICKS = Table(
    "ticks.csv",
    ("policy", "budget_label"),
    ("budget", "tick", "hour", "spent", "planned"),
    ("policy", "budget", "tick"),
)
CALIBRATION = Table(
    "calibration.csv", ("event",), ("bin", "predicted", "actual", "low", "high", "count"), ("event", "bin")
)
LEARNING = Table("learning.csv", (), ("steps", "score", "low", "high", "reference"), ("steps",))
FIT = Table(
    "fit.csv",
    ("event", "model"),
    (
        *("auc", "log_loss", "ece", "ece_floor", "ece_bound", "predicted_over_actual", "ratio_low", "ratio_high"),
        *("rows", "positives", "true_log_loss", "excess_log_loss_percent"),
    ),
    ("event", "model"),
)
COMPARISON = Table(
    "comparison.csv",
    ("policy", "learner"),
    (
        *("budget", "difference", "low", "high"),
        *("probability_of_improvement", "poi_low", "poi_high", "p", "p_holm"),
    ),
    ("learner", "policy", "budget"),
)
PROFILE = Table("profile.csv", ("policy",), ("tau", "share", "low", "high"), ("policy", "tau"))
_WHO = ("policy", "role", "budget_label")
MONEY = Table(
    "money.csv",
    (*_WHO, "segment"),
    ("budget", "hour", "offered", "worth", "wins", "spend", "expected", "multiplier"),
    ("policy", "budget", "segment", "hour"),
)
MOVES = Table(
    "moves.csv",
    _WHO,
    (
        *("budget", "tick", "hour", "multiplier_low", "multiplier", "multiplier_high"),
        *("left_low", "left", "left_high"),
    ),
    ("policy", "budget", "tick"),
)
ANSWERS = Table(
    "answers.csv", _WHO, ("budget", "hour", "left", "multiplier", "change"), ("policy", "budget", "hour", "left")
)
LIMITS = Table(
    "limits.csv",
    (*_WHO, "limit"),
    ("budget", "days", "broken", "mean", "most", "dry"),
    ("policy", "budget", "limit"),
)
LANDSCAPE = Table("landscape.csv", (), ("bid", "chance", "cost", "believed"), ("bid",))
SLICES = Table(
    "fidelity_slices.csv",
    ("slice", "name", "event"),
    ("count", "predicted", "actual", "ratio", "ratio_low", "ratio_high"),
    ("event", "slice", "name"),
)
OPTIONAL = {
    "ticks": TICKS,
    "calibration": CALIBRATION,
    "learning": LEARNING,
    "fit": FIT,
    "comparison": COMPARISON,
    "profile": PROFILE,
    "money": MONEY,
    "moves": MOVES,
    "answers": ANSWERS,
    "limits": LIMITS,
    "landscape": LANDSCAPE,
    "slices": SLICES,
}
"""Tables that a run folder may lack, by their name in Run."""


@dataclass(frozen=True)
class Run:
    """Everything a page is made from; what the folder does not hold is None or empty."""

    results: pd.DataFrame
    ticks: pd.DataFrame | None
    calibration: pd.DataFrame | None
    learning: pd.DataFrame | None
    fit: pd.DataFrame | None
    comparison: pd.DataFrame | None
    profile: pd.DataFrame | None
    money: pd.DataFrame | None
    moves: pd.DataFrame | None
    answers: pd.DataFrame | None
    limits: pd.DataFrame | None
    landscape: pd.DataFrame | None
    slices: pd.DataFrame | None
    summary: tuple[str, ...]
    settings: str
    metadata: dict[str, Any]


def read_run(folder: Path) -> Run:
    """Read a run folder; only results.csv must be there. Raises InputError for anything that cannot be used."""
    results = read_table(folder / RESULTS.file, RESULTS)
    _check_results(folder / RESULTS.file, results)
    others = {name: _optional(folder, table) for name, table in OPTIONAL.items()}
    for name, frame in others.items():
        if frame is not None and "budget" in frame:
            _require_positive(folder / OPTIONAL[name].file, frame, "budget")
    summary, settings = _text(folder / "summary.txt").splitlines(), _text(folder / "run.yaml")
    return Run(
        results=results,
        **others,
        summary=tuple(line.strip() for line in summary if line.strip()),
        settings=settings,
        metadata=_metadata(folder / "metadata.json"),
    )


def read_table(path: Path, table: Table) -> pd.DataFrame:
    """Read and check one table: text stays text, numbers are float64 (NaN: undefined), other columns are left out.

    Raises InputError naming the file, column and row (the header is row 1) that cannot be used.
    """
    raw = _cells(path)
    columns = raw.iloc[0].tolist()
    missing = [name for name in (*table.text, *table.numbers) if name not in columns]
    if missing:
        raise InputError(f"{path}: column(s) {', '.join(missing)} missing; found: {', '.join(columns)}")
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    if doubled:
        raise InputError(f"{path}: column(s) {', '.join(doubled)} given twice; keep one of each")
    if len(raw) == 1:
        raise InputError(f"{path}: expected at least one row below the header, found none; run the evaluation again")
    frame = raw.iloc[1:].set_axis(columns, axis="columns")[[*table.text, *table.numbers]].reset_index(drop=True)
    for name in table.numbers:
        frame[name] = _numbers(path, name, frame[name])
    again = np.flatnonzero(frame.duplicated(list(table.key)))
    if len(again):
        where = ", ".join(f"{name} {frame[name].iloc[again[0]]}" for name in table.key)
        raise InputError(f"{path}, row {again[0] + 2}: a second row for {where}; expected one")
    return frame


def _cells(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, header=None, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; a run folder is what `bidpilot compare` or `evaluate` writes"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text: {error}") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: expected a CSV table, found an empty file; run the evaluation again") from None
    except pd.errors.ParserError as error:
        raise InputError(f"{path}: expected a CSV table: {error}") from None


def _numbers(path: Path, name: str, cells: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce").astype("float64")
    bad = np.flatnonzero(numbers.isna() & ~cells.str.strip().str.lower().isin(["", "nan"]))
    if len(bad):
        raise InputError(f"{path}, row {bad[0] + 2}, column {name}: expected a number, found {cells.iloc[bad[0]]!r}")
    return numbers.where(np.isfinite(numbers))


def _check_results(path: Path, results: pd.DataFrame) -> None:
    for role in results["role"].unique():
        if role not in ROLES:
            raise unknown(f"role in {path}", role, ROLES)
    _require_positive(path, results, "budget")


def _require_positive(path: Path, frame: pd.DataFrame, name: str) -> None:
    bad = np.flatnonzero(~(frame[name] > 0))
    if len(bad):
        raise InputError(f"{path}, row {bad[0] + 2}, column {name}: expected above 0, found {frame[name].iloc[bad[0]]}")


def _optional(folder: Path, table: Table) -> pd.DataFrame | None:
    path = folder / table.file
    if not path.exists() or (table is COMPARISON and len(_cells(path)) == 1):  # nobody to compare with
        return None
    return read_table(path, table)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text: {error}") from None


def _metadata(path: Path) -> dict[str, Any]:
    text = _text(path)
    try:
        metadata = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: expected JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(metadata).__name__}")
    return metadata
