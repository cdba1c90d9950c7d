"""A run's folder: settings first, no mixing of runs, and facts that add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.config import Settings, load_settings
from bidpilot.experiments.run import Run, log_digest

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_opens_again_with_its_settings(tmp_path: Path) -> None:
    made = Run.create(tmp_path / "a", Settings(seed=5))
    assert not (tmp_path / "a").exists(), "nothing is written before there is a result"
    made.begin()
    assert Run.open(tmp_path / "a") == made


def test_a_repeated_run_takes_what_tuning_found(tmp_path: Path) -> None:
    first = Run.create(tmp_path / "a", Settings(seed=5))
    first.begin()
    (first.folder / "tuned.json").write_text("found")
    again = Run.create(tmp_path / "b", load_settings(tmp_path / "a/run.yaml", {}), tmp_path / "a/run.yaml")
    assert not (tmp_path / "b").exists()
    again.begin()
    assert (again.folder / "tuned.json").read_text() == "found"
    (first.folder / "tuned.json").write_text("found later")
    again.begin()
    assert (again.folder / "tuned.json").read_text() == "found"
    other = Run.create(tmp_path / "c", Settings(seed=5), tmp_path / "mine.yaml")
    other.begin()
    assert not (other.folder / "tuned.json").exists()


def test_paths_mean_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text("log: mine.csv\nmapping: maps/mine.yaml\nmlflow: tracked\n")
    Run.create(tmp_path / "a", load_settings(tmp_path / "s.yaml", {})).begin()
    monkeypatch.chdir("/")
    found = Run.open(tmp_path / "a").settings
    assert (found.log, found.mapping) == (str(tmp_path / "mine.csv"), tmp_path / "maps/mine.yaml")
    assert found.mlflow == str(tmp_path / "tracked")
    for kept in ("databricks", "https://tracking.example:5000", "sqlite:////data/mlflow.db"):
        assert Settings(mlflow=kept).located().mlflow == kept
    assert Settings().located() == Settings()


def test_another_runs_folder_is_not_taken(tmp_path: Path) -> None:
    Run.create(tmp_path, Settings(seed=5)).begin()
    Run.create(tmp_path, Settings(seed=5))
    with pytest.raises(InputError, match="other settings"):
        Run.create(tmp_path, Settings(seed=6))


def test_a_folder_without_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bidpilot fit"):
        Run.open(tmp_path)


def test_facts_add_up_and_carry_the_provenance(tmp_path: Path) -> None:
    run = Run.create(tmp_path, Settings(seed=5))
    run.note(first=1)
    run.note(second=[2])
    assert {"first", "second", "seed", "versions", "git_commit", "date"} <= set(run.facts)
    assert run.facts["seed"] == 5


def test_the_log_is_fingerprinted(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"abc")
    assert log_digest(Settings(log=str(path))).startswith("ba7816bf")
    assert not log_digest(Settings())
