"""What a run folder may hold, and what is refused with which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.metrics import METRICS
from bidpilot.experiments.report import write_report
from bidpilot.experiments.report_input import LEARNING, RESULTS, read_run, read_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the smallest run folder: three policies at one budget, every number 0.5."""
    names = {"policy": ["oracle", "pid", "ppo"], "role": ["oracle", "baseline", "learner"]}
    columns = names | dict.fromkeys(("budget_label", "best_baseline"), "1/2") | dict.fromkeys(RESULTS.numbers, 0.5)
    pd.DataFrame(columns).to_csv(tmp_path / RESULTS.file, index=False)
    return tmp_path


def change(path: Path, column: str, value: object, row: int = 0) -> None:
    """Overwrite one cell of a CSV file."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[row, column] = str(value)
    frame.to_csv(path, index=False)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "results.csv: no such file"),
        (lambda path: path.write_text(""), "empty file"),
        (lambda path: path.write_bytes(b"policy\n\xff\n"), "expected UTF-8"),
        (lambda path: path.write_text(path.read_text().splitlines()[0]), "at least one row"),
        (
            lambda path: path.write_text(path.read_text().replace("roas_low", "roas_lo")),
            "roas_low missing; found: policy",
        ),
        (lambda path: path.write_text(path.read_text().replace("cpa_low", "cpa", 1)), "cpa_low missing"),
        (lambda path: change(path, "wins", "many", 2), "row 4, column wins: expected a number, found 'many'"),
        (lambda path: change(path, "budget", 0, 1), "row 3, column budget: expected above 0"),
        (lambda path: change(path, "role", "rival"), "unknown role .* 'rival'; known: baseline, learner, oracle"),
        (lambda path: change(path, "policy", "pid"), "second row for policy pid, budget 0.5"),
    ],
)
def test_unusable_results_are_refused_and_nothing_is_written(folder: Path, spoil: object, message: str) -> None:
    """One clear error that names the file and the place; no page and no figures are left behind."""
    assert callable(spoil)
    spoil(folder / RESULTS.file)
    with pytest.raises(InputError, match=message):
        write_report(folder)
    assert not (folder / "report.html").exists()
    assert not (folder / "figures").exists()


def test_metadata_must_be_a_json_object(folder: Path) -> None:
    """Broken JSON and a bare list are both the user's to mend."""
    for text in ("{", "[1]"):
        (folder / "metadata.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"metadata\.json: expected"):
            read_run(folder)


def test_text_columns_keep_their_letters(folder: Path) -> None:
    """A policy called NA or 007 stays what it is."""
    change(folder / RESULTS.file, "policy", "NA", 0)
    change(folder / RESULTS.file, "policy", "007", 1)
    assert read_table(folder / RESULTS.file, RESULTS)["policy"].tolist() == ["NA", "007", "ppo"]


def test_infinite_and_missing_numbers_are_undefined(folder: Path) -> None:
    """An empty cell, nan and inf are all NaN."""
    for row, cell in enumerate(("", "NaN", "inf")):
        change(folder / RESULTS.file, "cpa", cell, row)
    assert read_table(folder / RESULTS.file, RESULTS)["cpa"].isna().all()


def test_doubled_column_of_an_optional_table_is_refused(folder: Path) -> None:
    """Which of the two is meant cannot be known."""
    header = ",".join((*LEARNING.numbers, "steps"))
    (folder / LEARNING.file).write_text(f"{header}\n1,1,1,1,1,1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"learning\.csv: column\(s\) steps given twice"):
        read_run(folder)


def test_every_metric_has_its_three_columns() -> None:
    """The contract of results.csv follows from METRICS."""
    assert {f"{metric.name}{end}" for metric in METRICS for end in ("", "_low", "_high")} <= set(RESULTS.numbers)
