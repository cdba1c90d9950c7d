"""`bidpilot abtest`: what each command answers, and every mistake as one line and exit code 2."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.experiments.abtest.plan import plan_table, read_plan
from bidpilot.experiments.abtest.switchback import Switchback
from bidpilot.experiments.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def abtest(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Return a runner of the command in an empty folder: exit code, what it said, what it complained of."""
    monkeypatch.chdir(tmp_path)

    def run(*typed: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bidpilot", "abtest", *typed])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Return a test of 2,000 people: 20 % more clicks in b, none more in c."""
    rng = np.random.default_rng(0)
    arm = rng.choice(["a", "b", "c"], 2000)
    before = rng.gamma(2.0, 1.0, 2000)
    clicks = rng.poisson(before * np.where(arm == "b", 1.2, 1.0))
    frame = pd.DataFrame(
        {"person": np.arange(2000), "arm": arm, "clicks": clicks, "shown": clicks + 3, "before": before}
    )
    frame.to_csv(tmp_path / "test.csv", index=False)
    return "test.csv"


def test_size_answers_both_ways(abtest: Command, table: str) -> None:
    assert abtest("size", "--rate", "0.1", "--effect", "0.02")[1].startswith(
        "3,839 units in each of 2 arms (7,678 in all)"
    )
    assert "a difference of 0.125 with 80 % power" in abtest("size", "--sd", "1", "--units", "1000")[1]
    words = abtest("size", "--sd", "1", "--effect", "0.1", "--arms", "4", "--rho", "0.5")[1]
    assert words.startswith("1,571 units in each of 4 arms")
    assert "Holm's first step for 3 comparisons; CUPED at a correlation of 0.500." in words
    plain = ("size", "--pilot", table, "--metric", "clicks", "--units", "500")
    assert "find a difference of 0.3" in abtest(*plain)[1]
    assert "CUPED at a correlation of 0.7" in abtest(*plain, "--covariate", "before")[1]
    assert abtest("size", "--pilot", table, "--metric", "clicks/shown", "--units", "500")[0] == 0


def test_lift_says_the_split_then_sentences_then_the_table(abtest: Command, table: str, tmp_path: Path) -> None:
    typed = ["lift", table, "--arm", "arm", "--control", "a", "--metric", "clicks", "--metric", "clicks/shown"]
    code, said, _ = abtest(*typed, "--covariate", "before", "--unit", "person", "--out", "out.csv")
    assert code == 0
    lines = said.splitlines()
    assert lines[0].startswith("The split is as planned: a ")
    assert lines[1].startswith("clicks: b raises it by ")
    assert lines[2].startswith("clicks: no effect of c is shown")
    assert "| clicks | b | yes |" in said
    assert len(pd.read_csv(tmp_path / "out.csv")) == 8
    shares = [part for share in ("a=0.5", "b=0.25", "c=0.25") for part in ("--share", share)]
    assert abtest(*typed, *shares)[1].startswith("THE SPLIT IS BROKEN")


def test_watch_says_what_is_known_so_far(abtest: Command, table: str) -> None:
    typed = ("watch", table, "--arm", "arm", "--control", "a", "--metric", "clicks")
    assert abtest(*typed, "--treated", "b", "--planned", "700")[1].startswith(
        "There is a difference, known since unit "
    )
    calm = abtest(*typed, "--treated", "c", "--tau", "0.4")[1]
    assert calm.startswith("No difference is shown yet. ")
    assert "always-valid 95 % interval −" in calm
    assert abtest(*typed, "--treated", "c", "--tau", "0.4", "--first", "5000")[1].startswith("Too early: ")


def test_a_switchback_is_planned_run_and_read(abtest: Command, tmp_path: Path) -> None:
    typed = ("--days", "10", "--period", "4", "--washout", "1", "--seed", "3")
    code, said, _ = abtest("schedule", "--start", "2026-03-01", *typed)
    assert (code, said) == (0, "60 periods of 4 h on 10 days, the first 1 h of each washed out: switchback.csv\n")
    plan = pd.read_csv(tmp_path / "switchback.csv", parse_dates=["start", "end"])
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2026-02-28T23:05", periods=10 * 24 * 6 + 24, freq="10min")
    place = np.clip(np.searchsorted(plan["start"], stamps, side="right") - 1, 0, 59)
    clicks = rng.poisson(20 + 5 * (plan["arm"] == "treated").to_numpy()[place])
    pd.DataFrame({"when": stamps, "clicks": clicks}).to_csv(tmp_path / "log.csv", index=False)
    typed = ("switchback", "log.csv", "--plan", "switchback.csv", "--time", "when", "--metric", "clicks")
    code, said, _ = abtest(*typed)
    assert code == 0
    assert said.startswith("clicks: treated and control differ. treated − control = +")
    assert "from 30 pairs of periods; 24 rows outside the plan were left out" in said
    assert 4.0 < float(said.partition("= +")[2].split()[0]) < 6.0
    seconds = (stamps - pd.Timestamp("1970-01-01")) // pd.Timedelta(seconds=1)
    pd.DataFrame({"when": seconds, "clicks": clicks}).to_csv(tmp_path / "log.csv", index=False)
    assert abtest(*typed)[1] == said, "seconds since 1970 are the same times"


@pytest.mark.parametrize(("days", "slots", "washout"), [(2, 7, 0.5), (4, 24, 0.0), (6, 1, 12.0)])
def test_a_plan_is_read_as_it_was_written(tmp_path: Path, days: int, slots: int, washout: float) -> None:
    plan = Switchback(days, 24 / slots, washout)
    schedule = plan.draw(np.random.default_rng(0))
    plan_table(plan, schedule, "2026-03-28T06:00").to_csv(tmp_path / "plan.csv", index=False)
    read = read_plan(tmp_path / "plan.csv")
    assert (read.switchback, read.start) == (plan, pd.Timestamp("2026-03-28T06:00"))
    np.testing.assert_array_equal(read.schedule, schedule)


LIFT = ("lift", "test.csv", "--arm", "arm", "--control", "a", "--metric", "clicks")
WATCH = ("watch", "test.csv", "--arm", "arm", "--control", "a", "--metric", "clicks")
MISTAKES = [
    (("size", "--rate", "0.1"), "give --effect"),
    (("size", "--rate", "0.1", "--effect", "0.1", "--units", "10"), "give --effect"),
    (("size", "--effect", "0.1"), "one of --rate, --sd and --pilot"),
    (("size", "--rate", "0.1", "--sd", "1", "--effect", "0.1"), "one of --rate, --sd and --pilot"),
    (("size", "--rate", "1.5", "--effect", "0.1"), "base rate must be between 0 and 1"),
    (("size", "--sd", "1", "--effect", "0"), "other than 0"),
    (("size", "--pilot", "test.csv", "--effect", "1"), "needs --metric"),
    (("size", "--pilot", "test.csv", "--metric", "arm", "--effect", "1"), "expected a number in column 'arm'"),
    (("lift", "absent.csv", *LIFT[2:]), "absent.csv: cannot be read"),
    ((*LIFT, "--metric", "nothing"), "column 'nothing' is missing"),
    ((*LIFT, "--metric", "clicks/nothing"), "column 'nothing' is missing"),
    ((*LIFT[:4], "--control", "z", "--metric", "clicks"), "unknown arm 'z'; known: a, b, c"),
    ((*LIFT, "--alpha", "2"), "alpha must be between"),
    ((*LIFT, "--share", "a"), "--share must be NAME=SHARE"),
    ((*LIFT, "--share", "a=0.5"), "name each arm once"),
    (WATCH, "give --planned or --tau"),
    ((*WATCH, "--tau", "1", "--planned", "9"), "give --planned or --tau"),
    ((*WATCH, "--tau", "1"), "several arms beside 'a': b, c"),
    ((*WATCH, "--tau", "1", "--treated", "z"), "--treated must be one of b, c"),
    ((*WATCH, "--tau", "-1", "--treated", "b"), "tau must be a number above 0"),
    ((*WATCH, "--planned", "0", "--treated", "b"), "expected --planned of 1 or more"),
    ((*WATCH[:6], "--metric", "clicks/shown", "--tau", "1", "--treated", "b"), "a mean per unit"),
    (("schedule", "--start", "soon"), "expected ISO times"),
    (("schedule", "--start", "2026-03-28T06:00+01:00"), "without a time zone"),
    (("schedule", "--start", "2026-01-01", "--days", "3"), "even number"),
    (("schedule", "--start", "2026-01-01", "--period", "5"), "divide the 24 hours"),
    (("switchback", "test.csv", "--plan", "test.csv", "--time", "a", "--metric", "b"), "column 'start' is missing"),
    (("switchback", "test.csv", "--plan", "cut.csv", "--time", "a", "--metric", "b"), "whole days of equal periods"),
    (("switchback", "test.csv", "--plan", "plan.csv", "--time", "arm", "--metric", "clicks"), "expected ISO times"),
    (("switchback", "test.csv", "--plan", "plan.csv", "--time", "person", "--metric", "clicks"), "compare the clocks"),
]


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(("typed", "said"), MISTAKES, ids=[" ".join(typed) for typed, _ in MISTAKES])
def test_a_mistake_is_one_line(abtest: Command, typed: tuple[str, ...], said: str, tmp_path: Path) -> None:
    plan = Switchback(2, 6.0)
    written = plan_table(plan, plan.draw(np.random.default_rng(0)), "2026-01-01")
    written.to_csv(tmp_path / "plan.csv", index=False)
    written.iloc[:-1].to_csv(tmp_path / "cut.csv", index=False)
    code, out, err = abtest(*typed)
    assert code == 2
    assert not out
    assert err.startswith("bidpilot: ")
    assert said in err
    assert err.count("\n") == 1
