"""The command line as people use it: the whole job in small, and every mistake as one line and exit code 2."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from bidpilot.ctr.synthetic import Exchange, ExchangeConfig
from bidpilot.experiments.cli import main
from bidpilot.experiments.notebook import parts

ROOT = Path(__file__).parent.parent
SMALL = ("days.train=4", "days.validate=2", "days.tune=2", "days.opportunities=2000", "days.replicates=20")
QUICK = (*SMALL, "learner.steps=2000", "learner.envs=2", "learner.evaluations=1", "model.epochs=1", "ticks_per_day=24")


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and what it said."""

    returncode: int
    stdout: str
    stderr: str


def bidpilot(*arguments: str, cwd: Path) -> Done:
    """Run a command in this process, as the console script would."""
    out, err = io.StringIO(), io.StringIO()
    typed, sys.argv = sys.argv, ["bidpilot"]
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(*arguments)
            code = 0
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    finally:
        sys.argv = typed
    return Done(code, out.getvalue(), err.getvalue())


def sets(pairs: tuple[str, ...]) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


def write_log(folder: Path, days: int = 5, opportunities: float = 1500.0) -> tuple[Path, Path]:
    """Write a log of a user's own layout and the YAML that maps it."""
    log, _ = Exchange(ExchangeConfig(opportunities=opportunities)).logged(days, np.random.default_rng(3))
    frame = log.frame
    table = pd.DataFrame(
        {
            "ts": frame["time"].round(3),
            "won": frame["won"].astype(int),
            "paid_cpm": np.where(frame["won"], (frame["price"] / 1000).astype(str), ""),
            "bid_cpm": frame["bid"] / 1000,
            "clicked": frame["click"],
            "bought": frame["conversion"],
            "margin": frame["value"].round(4),
            "audience": frame["segment"],
            "site": frame["site"],
            "device": frame["device"],
        }
    )
    table.to_csv(folder / "mine.csv", index=False)
    mapping = {
        "time": {"column": "ts", "unit": "s"},
        "won": "won",
        "price": {"column": "paid_cpm", "unit": "cpm"},
        "bid": {"column": "bid_cpm", "unit": "cpm"},
        "click": "clicked",
        "conversion": "bought",
        "value": {"column": "margin", "unit": "currency"},
        "segment": "audience",
        "categorical": ["site", "device"],
        "currency": "EUR",
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(mapping))
    return folder / "mine.csv", folder / "mine.yaml"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which a user has run the whole job on a log of their own."""
    folder = tmp_path_factory.mktemp("own")
    write_log(folder)
    chosen = sets((*QUICK, "baselines=[linear, incremental]"))
    done = bidpilot(
        "compare", "--log", "mine.csv", "--mapping", "mine.yaml", "--out", "run", "--budget", "1/8", *chosen, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stdout)
    return folder


def test_compare_leaves_a_table_a_report_and_plain_words(own: Path) -> None:
    results = pd.read_csv(own / "run/results.csv")
    assert set(results["policy"]) == {"linear", "incremental", "ppo", "oracle"}
    assert ((results["utilisation"] > 0) & (results["utilisation"] <= 1)).all()
    assert {"seed", "traffic_hash", "config"} <= set(results.columns)
    table = (own / "run/results.md").read_text().splitlines()
    assert len(table) == 2 + len(results)
    assert {line.split("|")[2].strip() for line in table[2:]} == set(results["policy"])
    said = (own / "said.txt").read_text()
    assert "R/R*" in said
    assert "report: run/report.html" in said
    assert (own / "run/report.html").stat().st_size > 10_000
    assert json.loads((own / "run/metadata.json").read_text())["log"]["rows"] > 5000


def test_the_readmes_script_needs_neither_torch_nor_sb3(own: Path) -> None:
    """The script loads the bundle in a fresh process and bids with it, as printed there."""
    done = bidpilot("export", "--run", "run", cwd=own)
    assert done.returncode == 0, done.stderr
    blocks = [part.text for part in parts((ROOT / "README.md").read_text()) if part.language == "python"]
    script = next(block for block in blocks if "load_bundle" in block)
    script = script.replace("runs/mine/policy.zip", "run/policy.zip") + "\nimport sys\n"
    script += "assert 'stable_baselines3' not in sys.modules and 'torch' not in sys.modules\n"
    ran = subprocess.run([sys.executable, "-c", script], cwd=own, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


def test_evaluate_a_bundle_beside_a_baseline(own: Path) -> None:
    """The exported file earns what the trained policy earned, to the last digit."""
    assert bidpilot("export", "--run", "run", "--out", "other.zip", cwd=own).returncode == 0
    done = bidpilot("evaluate", "--run", "run", "--policy", "other.zip", "--policy", "pid", cwd=own)
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(own / "run/evaluate/ticks.csv")["policy"]) == {"other.zip", "pid"}
    assert "linear" in set(pd.read_csv(own / "run/ticks.csv")["policy"]), "the comparison's own table stays"
    there = pd.read_csv(own / "run/evaluate/results.csv").set_index("policy")
    compared = pd.read_csv(own / "run/results.csv").set_index("policy")
    assert set(there.index) == {"other.zip", "pid"}
    assert float(there["expected_value"]["other.zip"]) == float(compared["expected_value"]["ppo"])


def test_the_same_settings_give_the_same_numbers(own: Path) -> None:
    """A run is re-made from its own run.yaml, in another folder."""
    again = bidpilot("compare", "--config", "run/run.yaml", "--out", "again", cwd=own)
    assert again.returncode == 0, again.stderr
    assert (own / "again/results.csv").read_bytes() == (own / "run/results.csv").read_bytes()


def test_a_log_without_prices_is_fitted_but_cannot_be_a_market(tmp_path: Path) -> None:
    path, mapping = write_log(tmp_path, days=2)
    pd.read_csv(path).query("won == 1").drop(columns=["won", "paid_cpm", "bid_cpm"]).to_csv(path, index=False)
    known = yaml.safe_load(mapping.read_text())
    mapping.write_text(yaml.safe_dump({key: known[key] for key in known if key not in {"won", "price", "bid"}}))
    given = ("--log", "mine.csv", "--mapping", "mine.yaml", "--out", "run", *sets(QUICK))
    fitted = bidpilot("fit", *given, cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr
    assert "AUC" in fitted.stdout
    _is_refused(bidpilot("compare", *given, cwd=tmp_path), "no price")


def test_a_stage_killed_before_its_end_is_done_again(own: Path, tmp_path: Path) -> None:
    """Whatever a killed fit or train left behind, the next run makes it whole, with the same numbers."""
    shutil.copytree(own, tmp_path / "copy")
    run = tmp_path / "copy/run"
    settings = yaml.safe_load((run / "run.yaml").read_text())
    (run / "run.yaml").write_text(
        yaml.safe_dump(
            settings | {key: str(tmp_path / "copy" / Path(settings[key]).name) for key in ("log", "mapping")}
        )
    )
    for name in ("fit.done", "train.done", "learning.csv", "model/beliefs.json", "policy/policy.safetensors"):
        (run / name).unlink()
    assert bidpilot("compare", "--run", "run", cwd=tmp_path / "copy").returncode == 0
    for name in ("results.csv", "learning.csv", "model/beliefs.json"):
        assert (run / name).read_bytes() == (own / "run" / name).read_bytes()
    with (tmp_path / "copy/mine.csv").open("a") as file:
        file.write(" ")
    _is_refused(bidpilot("compare", "--run", "run", cwd=tmp_path / "copy"), "has changed")


def test_a_damaged_policy_says_what_to_do(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own / "run", tmp_path / "run")
    path = tmp_path / "run/policy/policy.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    _is_refused(bidpilot("export", "--run", "run", cwd=tmp_path), "--again")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fit", "--log", "nothing.csv"), "nothing.csv"),
        (("fit", "--log", "mine.csv", "--format", "nope"), "known: "),
        (("fit", "--log", "mine.csv"), "no known format"),
        (("compare", "--log", "mine.csv", "--mapping", "mine.yaml", "--budget", "0"), "greater than 0"),
        (("compare", "--log", "mine.csv", "--mapping", "mine.yaml", "--budget", "-1"), "budgets"),
        (("compare",), "--log synthetic"),
        (("evaluate", "--run", "run", "--policy", "ppo"), "bidpilot train"),
        (("compare", "--set", "sed=1"), "unknown setting 'sed'"),
        (("compare", "--scenario", "bidpilot/Nope-v0"), "bidpilot/Pacing-v0"),
        (("train", "--run", "nowhere"), "bidpilot fit"),
        (("export", "--run", "run"), "bidpilot train"),
        (("evaluate", "--run", "run", "--policy", "nope"), "known: "),
        (("evaluate", "--run", "run", "--policy", "pid", "--policy", "pid"), "twice"),
        (("compare", "--budget", "1/4", "--budget", "0.25"), "none twice"),
        (("compare", "--run", "run", "--out", "other"), "--run goes on"),
        (
            (
                "compare",
                "--log",
                "mine.csv",
                "--mapping",
                "mine.yaml",
                "--out",
                "x",
                "--worth",
                "3",
                "--set",
                "goal=value",
            ),
            "--worth is for",
        ),
        (("evaluate", "--run", "run", "--policy", "mine.csv.zip"), "mine.csv.zip"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(fitted: Path, arguments: tuple[str, ...], said: str) -> None:
    before = _listing(fitted)
    _is_refused(bidpilot(*arguments, cwd=fitted), said)
    assert {name for name in _listing(fitted) - before if name.endswith((".tmp", ".part"))} == set()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a log, its mapping and a run of which only fit is done."""
    folder = tmp_path_factory.mktemp("fitted")
    write_log(folder)
    given = ("--log", "mine.csv", "--mapping", "mine.yaml", "--out", "run")
    done = bidpilot("fit", *given, *sets((*QUICK, "model.kind=logistic")), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_half_written_gzip_leaves_nothing_behind(tmp_path: Path) -> None:
    path, _ = write_log(tmp_path)
    packed = gzip.compress(path.read_bytes())
    (tmp_path / "half.csv.gz").write_bytes(packed[: len(packed) // 2])
    done = bidpilot("fit", "--log", "half.csv.gz", "--mapping", "mine.yaml", "--out", "run", cwd=tmp_path)
    _is_refused(done, "half.csv.gz")
    assert not (tmp_path / "run/model").exists()


def test_bad_rows_are_set_aside_and_counted(tmp_path: Path) -> None:
    path, _ = write_log(tmp_path, days=2)
    lines = path.read_text().splitlines()
    cells = lines[5].split(",")
    lines[5] = ",".join([*cells[:4], "7", *cells[5:]])
    path.write_text("\n".join(lines) + "\n")
    given = ("--log", "mine.csv", "--mapping", "mine.yaml", *sets(QUICK))
    done = bidpilot("fit", *given, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "set aside" in done.stdout
    assert len(pd.read_csv(tmp_path / "run/quarantine.csv")) == 1
    _is_refused(bidpilot("fit", *given, "--out", "strict", "--strict", cwd=tmp_path), "line 6")


def _is_refused(done: Done, said: str) -> None:
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("bidpilot:")]) == 1


def _listing(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}
