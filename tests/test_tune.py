"""bidpilot tune: the same numbers whatever happens to it, on the tuning days alone, checked on days it has not seen."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from bidpilot.agents.base import Past
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.synthetic import Exchange, ExchangeConfig
from bidpilot.envs.day import Day
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import Market, draw_days
from bidpilot.experiments import prepare
from bidpilot.experiments.cli import main
from bidpilot.experiments.config import Settings, load_settings
from bidpilot.experiments.prepare import Arena
from bidpilot.experiments.run import Run
from bidpilot.experiments.stages import Stages
from bidpilot.experiments.tune import Task, tune_run
from bidpilot.experiments.tune_words import gain_table, gain_words
from bidpilot.experiments.tuning import campaign_for, scores

NAMES, BUDGETS = ("pid", "incremental"), (1 / 4, 1 / 8)
OWN = "bidpilot_own.policy"
FILES = ("tuned.json", "trials.csv")
SMALL = ("days.train=4", "days.validate=3", "days.tune=3", "days.opportunities=2000", "model.kind=logistic")


@pytest.fixture(scope="module")
def arena(market: Market, past_days: tuple[Day, ...], forecast: Forecast) -> Arena:
    """Give days of a small market."""
    validate, tune = (draw_days(market, 4, np.random.default_rng(seed)) for seed in (1, 2))
    return Arena(Past(past_days, forecast), validate, tune)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Give a run of two baselines and two budgets; its log is not needed here."""
    return Run.create(tmp_path / "run", Settings(budgets=BUDGETS, baselines=NAMES))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, arena: Arena) -> tuple[Run, pd.DataFrame]:
    """Give such a run, tuned in one process without a pause."""
    run = Run.create(tmp_path_factory.mktemp("once"), Settings(budgets=BUDGETS, baselines=NAMES))
    return run, tune_run(run, arena, Task(NAMES, BUDGETS, trials=12))


def content(run: Run) -> list[bytes]:
    return [(run.folder / name).read_bytes() for name in FILES]


def chosen(run: Run) -> dict[tuple[str, float], dict[str, Any]]:
    rows = json.loads((run.folder / "tuned.json").read_text())["chosen"]
    return {(row["policy"], row["budget"]): row for row in rows}


def test_the_same_seed_gives_the_same_files_and_another_does_not(
    once: tuple[Run, pd.DataFrame], run: Run, arena: Arena
) -> None:
    tune_run(run, arena, Task(NAMES, BUDGETS, trials=12))
    assert content(run) == content(once[0])
    other = Run(run.folder, run.settings.model_copy(update={"seed": 1}))
    tune_run(other, arena, Task(NAMES, BUDGETS, trials=12))
    assert content(other) != content(once[0])


@pytest.mark.timeout(400)  # starting Python takes long on a busy machine
def test_several_processes_one_of_them_killed_give_the_same_numbers(
    once: tuple[Run, pd.DataFrame], run: Run, arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside incremental, one like it that kills its process when it is first built."""
    policy_of_ones_own(
        tmp_path,
        monkeypatch,
        f"    def build(self, past):\n        mark = Path({str(tmp_path / 'mark')!r})\n"
        "        if not mark.exists():\n            mark.touch()\n            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().build(past)\n",
    )
    tune_run(run, arena, Task((OWN, "incremental"), BUDGETS[:1], trials=12, jobs=2))
    assert (tmp_path / "mark").exists()
    found = chosen(run)
    assert found["incremental", BUDGETS[0]] == chosen(once[0])["incremental", BUDGETS[0]]
    assert found[OWN, BUDGETS[0]] == found["incremental", BUDGETS[0]] | {"policy": OWN}


def test_every_policy_gets_as_many_trials_and_the_best_is_kept(once: tuple[Run, pd.DataFrame], arena: Arena) -> None:
    """The score is the mean of R / R* on the tuning days, and what is written of the validation days holds there."""
    run, found = once
    tried = pd.read_csv(run.folder / "trials.csv")
    assert tried.groupby(["policy", "budget"]).size().to_list() == [12] * 4
    assert (found["trials"] == 12).all()
    for (name, share), row in chosen(run).items():
        mine = tried[(tried["policy"] == name) & (tried["budget"] == share)]
        assert row["tuning_days"]["score"] == mine["score"].max()
        assert row["tuning_days"]["default_score"] == mine["score"].iloc[0]
        assert row["tuning_days"]["gain_low"] <= row["tuning_days"]["gain"] <= row["tuning_days"]["gain_high"]
        config = load(name, row["config"])
        default = load(name, {})
        for days, told in ((arena.tune, row["tuning_days"]), (arena.validate, row["validation_days"])):
            campaign = campaign_for(days, share, "second_price", arena.past.forecast.full_cost)
            after, before = (scores(c.build(arena.past), days, campaign).mean() for c in (config, default))
            assert told["score"] == pytest.approx(after, abs=1e-12)
            assert told["gain"] == pytest.approx(after - before, abs=1e-12)


def load(name: str, fields: dict[str, Any]) -> Any:  # noqa: ANN401 - a policy's settings
    from bidpilot.agents.registry import find_policy

    return replace(find_policy(name)(), **fields)  # type: ignore[type-var]


def test_the_file_says_what_it_was_made_with(once: tuple[Run, pd.DataFrame]) -> None:
    told = json.loads((once[0].folder / "tuned.json").read_text())
    assert {"seed", "trials", "auction", "scenario", "traffic_hash", "past_hash", "validation_hash"} <= set(told)
    assert {"optuna", "numpy", "bidpilot"} <= set(told["versions"])
    assert (told["seed"], told["trials"]) == (0, 12)


def test_a_second_tune_adds_to_the_first_and_other_trials_start_anew(run: Run, arena: Arena) -> None:
    """One file holds no mixture of trials: what was tuned with others is dropped, and that is said."""
    tune_run(run, arena, Task(NAMES[:1], BUDGETS, trials=3))
    tune_run(run, arena, Task(NAMES[1:], BUDGETS, trials=3))
    assert set(chosen(run)) == {(name, share) for name in NAMES for share in BUDGETS}
    with pytest.raises(InputError, match="without --resume"):
        tune_run(run, arena, Task(NAMES[:1], BUDGETS, trials=4, resume=True))
    said: list[str] = []
    tune_run(run, arena, Task(NAMES[:1], BUDGETS, trials=4), said.append)
    assert set(chosen(run)) == {("pid", share) for share in BUDGETS}
    assert len(said) == 1
    assert "dropped: 2" in said[0]


def test_words_and_table_say_what_tuning_promised_too_much(once: tuple[Run, pd.DataFrame]) -> None:
    found = once[1].copy()
    assert gain_table(found).row_count == 4
    found["default"] = [False, False, False, True]
    for days, gain in (("tuning", [0.03, 0.02, 0.01, 0.0]), ("validation", [0.02, 0.0, -0.02, 0.0])):
        for end, shift in (("", 0.0), ("_low", -0.01), ("_high", 0.01)):
            found[f"{days}_gain{end}"] = np.array(gain) + shift
    lines = gain_words(found)
    assert lines[0] == "1 of 4 policies x budgets keep the default settings."
    assert "gain +2.00 points of R/R* on the tuning days and +0.00 on the validation days" in lines[1]
    assert "better than the default in 1 of 3 cases, worse in 1, and cannot be told from it in 1" in lines[2]
    assert lines[3].startswith(f"  worse: {found['policy'][2]} at budget")
    assert len(lines) == 4
    assert gain_words(found[found["default"]]) == ["1 of 1 policies x budgets keep the default settings."]


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a run of which only the fit is done, on a log of a user's own."""
    folder = tmp_path_factory.mktemp("fitted")
    log, _ = Exchange(ExchangeConfig(opportunities=1500.0)).logged(4, np.random.default_rng(3))
    columns = ["time", "won", "price", "bid", "click", "conversion", "value", "segment", "site", "device"]
    table = log.frame[columns].astype({"won": int, "click": int, "conversion": int})
    table.assign(price=table["price"].where(table["won"] == 1)).to_csv(folder / "mine.csv", index=False)
    mapping: dict[str, Any] = {name: name for name in columns[1:-2] if name not in {"price", "bid", "value"}}
    mapping |= {"time": {"column": "time", "unit": "s"}, "categorical": columns[-2:]}
    mapping |= {name: {"column": name, "unit": "micros"} for name in ("price", "bid")}
    mapping |= {"value": {"column": "value", "unit": "currency"}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(mapping))
    given = {"log": str(folder / "mine.csv"), "mapping": str(folder / "mine.yaml"), "budgets": ["1/4", "1/8"]}
    settings = load_settings(None, given, (*SMALL, f"baselines=[{', '.join(NAMES)}]", "ticks_per_day=24"))
    Stages(Run.create(folder / "run", settings)).fit()
    return folder / "run"


@pytest.fixture(scope="module")
def tuned(fitted: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Give that run, tuned by the command without a pause."""
    folder = tmp_path_factory.mktemp("tuned") / "run"
    shutil.copytree(fitted, folder)
    assert command("--run", str(folder), "--trials", "12") == 0
    return Run.open(folder)


def command(*arguments: str) -> int:
    """Run bidpilot tune in this process; return its exit code."""
    typed, sys.argv = sys.argv, ["bidpilot"]
    try:
        main("tune", *arguments)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    finally:
        sys.argv = typed
    return 0


@pytest.mark.timeout(400)  # starting Python takes long on a busy machine
def test_killed_at_any_time_it_goes_on_to_the_same_files(fitted: Path, tuned: Run, tmp_path: Path) -> None:
    """SIGKILL once the first result is there; --resume does the rest, and that one not again."""
    folder = tmp_path / "run"
    shutil.copytree(fitted, folder)
    code = "from bidpilot.experiments.cli import main; main('tune')"
    given = [sys.executable, "-c", code, "--run", str(folder), "--trials", "12"]
    process = subprocess.Popen(given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list((folder / "tuning").glob("[!.]*.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in (folder / "tuning").glob("[!.]*.json")}
    assert 0 < len(done) < 4
    assert command("--run", str(folder), "--trials", "12", "--resume") == 0
    assert content(Run.open(folder)) == content(tuned)
    assert all(path.stat().st_mtime_ns == at for path, at in done.items())


def test_the_command_prints_and_chooses(
    tuned: Run, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(fitted, folder)
    assert command("--run", str(folder), "--trials", "12", "--policy", "pid", "--budget", "1/8") == 0
    said = capsys.readouterr().out
    assert "validation days" in said
    assert "tuned.json" in said
    assert chosen(Run.open(folder)) == {("pid", 1 / 8): chosen(tuned)["pid", 1 / 8]}


def test_held_out_rows_are_never_looked_at(
    fitted: Path, tuned: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the held-out rows gone and the evaluation days forbidden, the same settings are found."""
    folder = tmp_path / "run"
    shutil.copytree(fitted, folder)
    stages = Stages(Run.open(folder))
    stages._source = replace(stages.source, held_out=Forbidden(), log=Forbidden())  # type: ignore[arg-type]
    for name in ("evaluation_days", "replay_days"):
        monkeypatch.setattr(prepare, name, Forbidden())
    stages.tune(Task(NAMES, BUDGETS, trials=12))
    assert content(stages.run) == content(tuned)


class Forbidden:
    """Something that may not be touched."""

    def __getattr__(self, name: str) -> None:
        """Refuse."""
        raise AssertionError(name)

    def __call__(self, *_: object, **__: object) -> None:
        """Refuse."""
        raise AssertionError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--policy", "nope"), "known: "),
        (("--policy", "pid", "--policy", "pid"), "twice"),
        (("--budget", "1/3"), "none of this run's: 1/4, 1/8"),
        (("--budget", "much"), "budgets"),
        (("--trials", "0"), "at least 1"),
        (("--jobs", "0"), "at least 1"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    fitted: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--run", str(fitted), *arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (fitted / "tuned.json").exists()


def test_no_run_and_no_optuna_are_mistakes_too(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--run", str(tmp_path)) == 2
    assert "bidpilot fit" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert command("--run", str(fitted)) == 2
    assert "pip install 'bidpilot[tune]'" in capsys.readouterr().err


def test_a_policy_without_a_space_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    policy_of_ones_own(tmp_path, monkeypatch, "    @classmethod\n    def space(cls):\n        return {}\n")
    with pytest.raises(InputError, match=f"nothing to tune: {OWN}"):
        Task.of(run.settings, [OWN], None)
    mixed = run.settings.model_copy(update={"baselines": (OWN, "pid")})
    assert Task.of(mixed, None, None).policies == ("pid",)


def policy_of_ones_own(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Write a policy like incremental, with methods of its own, where imports find it."""
    (folder / "bidpilot_own").mkdir()
    (folder / "bidpilot_own/__init__.py").write_text("")
    head = "import os, signal\nfrom dataclasses import dataclass\nfrom pathlib import Path\n"
    head += "from bidpilot.agents import incremental\n\n@dataclass(frozen=True)\nclass Config(incremental.Config):\n"
    (folder / "bidpilot_own/policy.py").write_text(head + body)
    for name in ("bidpilot_own", OWN):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(folder)
