"""bidpilot sweep: the same files however it is carried out, whoever is killed on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.sweep.grid import SweepConfig, cells_of
from bidpilot.experiments.sweep.run import How, run_sweep

pytestmark = pytest.mark.timeout(400)  # starting Python takes long on a busy machine
FILES = ("sweep.csv", "summary.csv", "sweep.txt", "sweep.yaml", "made.json")
SMALL: dict[str, Any] = {"policies": ("pid", "dual"), "budgets": (1 / 8,), "seeds": (0, 1), "days": 2}
CONFIG = SweepConfig(**SMALL, opportunities=800.0)
OWN = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from bidpilot.agents import incremental

@dataclass(frozen=True, slots=True)
class Config(incremental.Config):
    def build(self, past):
        {trouble}
        return incremental.Config.build(self, past)
"""


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a sweep that one process did without a pause."""
    folder = tmp_path_factory.mktemp("once")
    run_sweep(CONFIG, folder, How(), say=silent)
    return folder


def silent(_text: str) -> None:
    """Say nothing."""


def content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


def own(folder: Path, trouble: str) -> str:
    """Write a policy of one's own that makes trouble when it is built; return its name."""
    path = folder / "bidpilot_swept" / "policy.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(OWN.format(trouble=trouble.replace("MARK", repr(str(folder / "mark")))))
    return "bidpilot_swept.policy"


def command(folder: Path, *options: str) -> list[str]:
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from bidpilot.experiments.cli import main; main('sweep')"
    given = ["--budget", "1/8", "--seeds", "2", "--days", "2", "--opportunities", "800", "--out", str(folder / "out")]
    return [sys.executable, "-c", code, str(folder), *given, *options]


def test_jobs_change_no_byte_and_what_is_done_is_kept(once: Path, tmp_path: Path) -> None:
    """A cell is taken away and another damaged: those two are made again, the others stay as they are."""
    run_sweep(CONFIG, tmp_path, How(jobs=2), say=silent)
    assert content(tmp_path) == content(once)
    paths = [cell.path for cell in cells_of(CONFIG, tmp_path / "cells")]
    assert sorted(paths) == sorted((tmp_path / "cells").iterdir())
    before = [path.stat().st_mtime_ns for path in paths]
    paths[0].unlink()
    paths[2].write_text(paths[2].read_text()[:-20])
    said: list[str] = []
    run_sweep(CONFIG, tmp_path, How(), say=said.append)
    assert said == ["2 of 4 cells are done already"]
    assert content(tmp_path) == content(once)
    after = [path.stat().st_mtime_ns for path in paths]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, False, True]


def test_a_narrower_sweep_in_the_same_folder_finds_its_cells(once: Path, tmp_path: Path) -> None:
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    said: list[str] = []
    rows, _ = run_sweep(
        SweepConfig(**(SMALL | {"policies": ("dual",)}), opportunities=800.0), tmp_path, How(), say=said.append
    )
    assert said == ["2 of 2 cells are done already"]
    assert set(rows["policy"]) == {"dual"}


def test_rows_are_paired_and_the_summary_is_theirs(once: Path) -> None:
    rows, summary = pd.read_csv(once / "sweep.csv"), pd.read_csv(once / "summary.csv")
    assert rows.groupby(["seed", "day"])["traffic_hash"].nunique().eq(1).all()
    assert rows["traffic_hash"].nunique() == 4
    wide = rows.pivot_table(index=["seed", "day"], columns="policy", values="score")
    told = summary.set_index("policy")
    for policy in ("pid", "dual"):
        assert told.loc[policy, "score"] == pytest.approx(wide[policy].mean(), abs=1e-12)
        assert told.loc[policy, "difference"] == pytest.approx((wide[policy] - wide["pid"]).mean(), abs=1e-12)
    assert (told["against"] == "pid").all()
    assert json.loads((once / "made.json").read_text())["pid"].keys() == {"python", "numpy", "code"}


def test_a_killed_driver_leaves_what_is_done_and_the_same_command_goes_on(once: Path, tmp_path: Path) -> None:
    """SIGKILL when the first cell is there, while another is at work: its process ends, too."""
    name = own(
        tmp_path, "Path(MARK).write_text(str(os.getpid())); time.sleep(0 if Path(MARK + '.go').exists() else 600)"
    )
    options = command(tmp_path, "--policy", "pid", "--policy", name)
    with subprocess.Popen(options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        worker = int(waited_for(tmp_path / "mark"))
        driver.send_signal(signal.SIGKILL)
    assert driver.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "out" / "cells").glob("*.json"))) == 1
    gone(worker)
    (tmp_path / "mark.go").touch()
    done = subprocess.run(options, capture_output=True, text=True, check=True)
    assert "1 of 4 cells are done already" in done.stdout
    found, whole = pd.read_csv(tmp_path / "out" / "sweep.csv"), pd.read_csv(once / "sweep.csv")
    assert found["policy"].to_list() == ["pid", "pid", name, name] * 2
    same = [table[table["policy"] == "pid"].reset_index(drop=True) for table in (found, whole)]
    assert same[0].equals(same[1])
    assert found["traffic_hash"].to_list() == whole["traffic_hash"].to_list()


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_a_policy_that_always_dies_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    name = own(tmp_path, f"first = not Path(MARK).exists(); Path(MARK).touch(); first and {kill}")
    monkeypatch.syspath_prepend(tmp_path)
    config = SweepConfig(**(SMALL | {"policies": (name, "incremental")}), opportunities=800.0)
    rows, _ = run_sweep(config, tmp_path / "out", How(), say=silent)
    mine, like = (rows[rows["policy"] == policy]["score"].to_list() for policy in (name, "incremental"))
    assert mine == like
    own(tmp_path, kill)
    with pytest.raises(
        InputError, match=rf"not done: {name} in bidpilot/Pacing-v0 at budget 1/8, seed 0 .killed twice"
    ):
        run_sweep(config, tmp_path / "out", How(), say=silent)
    assert set(pd.read_csv(tmp_path / "out" / "sweep.csv")["policy"]) == {"incremental"}


@pytest.mark.parametrize(
    ("how", "against", "words"),
    [
        ({"jobs": 0}, None, "--jobs is at least 1 and --timeout above 0; got 0 and 1800"),
        ({"seconds": 0.0}, None, "got 1 and 0"),
        ({"seconds": float("nan")}, None, "got 1 and nan"),
        ({}, "linear", "--against 'linear' is none of the policies: pid, dual"),
    ],
)
def test_mistakes_are_told_before_anything_is_played(
    how: dict[str, Any], against: str | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        run_sweep(CONFIG, tmp_path / "out", How(**how), against)
    assert not (tmp_path / "out").exists()


def waited_for(path: Path) -> str:
    """Return what a file holds, once it does."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    pytest.fail(f"{path.name} never came")


def gone(process: int) -> None:
    """Wait until a process is."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return  # nobody has asked how it ended
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived the one that it works for")
