"""bidpilot ope as people use it: a table, words, a file, and mistakes as one line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.experiments.cli import main
from bidpilot.experiments.ope.evaluation import ESTIMATORS

if TYPE_CHECKING:
    from pathlib import Path

LOGGED = np.array([0.5, 0.3, 0.2])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log of 1,500 decisions, clicks of 10, 20 and 30 %."""
    rng = np.random.default_rng(0)
    action = rng.choice(3, 1_500, p=LOGGED)
    click = (rng.random(1_500) < np.array([0.1, 0.2, 0.3])[action]).astype(int)
    path = tmp_path / "log.csv"
    names = np.array(["low", "mid", "high"])[action]
    pd.DataFrame({"action": names, "reward": click, "propensity": LOGGED[action]}).to_csv(path, index=False)
    return path


def target(folder: Path, *mass: float) -> Path:
    path = folder / "target.csv"
    pd.DataFrame({"action": ["low", "mid", "high", "new"], "probability": mass}).to_csv(path, index=False)
    return path


def bidpilot(*arguments: str) -> int:
    typed, sys.argv = sys.argv, ["bidpilot"]
    try:
        main(*arguments)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    finally:
        sys.argv = typed
    return 0


def test_a_table_and_a_file(tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--log", str(log), "--target", str(target(tmp_path, 0.1, 0.2, 0.7, 0.0)), "--replicates", "200")
    assert bidpilot("ope", *given, "--out", str(tmp_path / "out")) == 0
    said = capsys.readouterr().out
    for text in (*ESTIMATORS, "effective sample size", "1 within 3 standard errors"):
        assert text in said
    table = pd.read_csv(tmp_path / "out" / "ope.csv")
    rows = table.set_index("estimator").to_dict("index")
    assert rows["DR"]["low"] < 0.26 < rows["DR"]["high"]
    assert rows["logged mean"]["value"] == pytest.approx(pd.read_csv(log)["reward"].mean())
    assert table["refused"].isna().all()


def test_an_action_never_shown_is_a_refusal_not_a_number(
    tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bidpilot("ope", "--log", str(log), "--target", str(target(tmp_path, 0.1, 0.2, 0.5, 0.2))) == 0
    said = capsys.readouterr().out
    assert said.count("refused") == len(ESTIMATORS)
    assert "Refused: this log cannot say: 20.0% of the target's decisions" in said


def test_a_mistake_is_one_line_and_code_2(tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (("--log", str(tmp_path / "none.csv")), ("--log", str(log))):
        assert bidpilot("ope", *wrong) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("bidpilot: ")
        assert said.err.count("\n") == 1
