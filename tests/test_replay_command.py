"""bidpilot replay and sort as typed: from a log to figures, on another log, and mistakes in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.benchmarks.big_log import write_log
from bidpilot.experiments.cli import app

if TYPE_CHECKING:
    from pathlib import Path

DAYS = ("days.train=2", "days.validate=2", "days.tune=2", "days.opportunities=300", "ticks_per_day=24")
SMALL = (*DAYS, "model.epochs=1", "model.kind=logistic")


def typed(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that replay itself began."""
    folder = tmp_path_factory.mktemp("replay")
    write_log(folder / "log.parquet", 8_000, days=5)
    sets = [part for pair in SMALL for part in ("--set", pair)]
    where = ("--log", folder / "log.parquet", "--mapping", folder / "log.yaml", "--out", folder / "run")
    done = typed("replay", *where, *sets, "--policy", "constant", "--budget", "1/8", "--worlds", 4)
    assert done.exit_code == 0, done.output
    return folder / "run"


def test_from_a_log_to_figures(run: Path) -> None:
    table = pd.read_csv(run / "replay.csv")
    assert table[["policy", "budget_label", "worlds"]].to_numpy().tolist() == [["constant", "1/8", 4]]
    words = (run / "replay.txt").read_text().splitlines()
    assert "with a known price; 1 replays, 4 draws" in words[0]
    assert words[1].startswith("constant, budget 1/8 (")
    assert words[2].startswith("intervals are over the draws alone")


def test_another_log_and_a_refusal_to_put_a_figure_forward(run: Path, tmp_path: Path) -> None:
    rows = write_log(tmp_path / "later.parquet", 2_000, seed=5, days=2)
    where = ("--run", run, "--log", tmp_path / "later.parquet")
    done = typed("replay", *where, "--policy", "pid", "--budget", "1/2", "--worlds", 2, "--coverage", 1)
    assert done.exit_code == 0, done.output
    words = (run / "replay.txt").read_text().splitlines()
    assert words[0].startswith(f"{rows:,} opportunities in 2 episodes")
    assert words[1].startswith("pid, budget 1/2: no figure: only ")
    assert "spent" not in words[1]


def test_mistakes(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name at least one policy"):
        raise_of(typed("replay", "--run", run))
    with pytest.raises(InputError, match="unknown policy"):
        raise_of(typed("replay", "--run", run, "--policy", "nobody"))
    with pytest.raises(InputError, match="no trained policy"):
        raise_of(typed("replay", "--run", run, "--policy", "trained"))
    assert typed("replay", "--run", run, "--seed", 3).exit_code == 2
    with pytest.raises(InputError, match=r"there is no column 'ts'|pip install"):
        raise_of(typed("sort", run.parent / "log.parquet", "--out", tmp_path / "sorted.parquet", "--by", "ts"))


def test_sorted_and_read(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    table = pq.read_table(run.parent / "log.parquet")
    pq.write_table(table.take(list(reversed(range(len(table))))), tmp_path / "back.parquet")
    done = typed("sort", tmp_path / "back.parquet", "--out", tmp_path / "sorted.parquet", "--by", "time")
    assert f"{len(table):,} rows in the order of time" in done.output
    assert pq.read_table(tmp_path / "sorted.parquet")["time"].equals(table["time"])


def raise_of(done: Result) -> None:
    """Raise what ended a command; main turns an InputError into one line and exit code 2."""
    assert done.exception is not None
    raise done.exception
