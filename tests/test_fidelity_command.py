"""`bidpilot fidelity`: the whole of it on a small log, what it says, and every mistake as one line."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.ctr.fidelity import PRICES, QUANTITIES
from bidpilot.ctr.synthetic import Exchange
from bidpilot.envs.timeline import split
from bidpilot.experiments.cli import main
from bidpilot.experiments.config import load_settings
from bidpilot.experiments.fidelity import TABLES, fidelity, words
from bidpilot.experiments.fit import fit
from bidpilot.experiments.plots_fidelity import fidelity_figure
from bidpilot.experiments.run import Run
from bidpilot.experiments.source import EXCHANGE, Source

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"model.kind": "logistic", "model.epochs": 2, "model.prices": "table", "days.opportunities": 2_000}


@pytest.fixture(scope="module")
def source() -> Source:
    """Return a small log of the exchange, with its truth."""
    log, truth = Exchange(replace(EXCHANGE, opportunities=3_000.0)).logged(7, np.random.default_rng(4))
    return Source(log, *split(log, 0.7), truth, {"source": "exchange", "rows": len(log), "currency": log.currency})


@pytest.fixture(scope="module")
def run(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run on that log, fitted and checked."""
    made = Run.create(tmp_path_factory.mktemp("fidelity") / "run", load_settings(None, SMALL))
    fit(made, source)
    fidelity(made, source)
    return made


def command(monkeypatch: pytest.MonkeyPatch, *typed: str) -> int:
    monkeypatch.setattr(sys, "argv", ["bidpilot"])
    try:
        main(*typed)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_it_leaves_tidy_tables_a_figure_and_words(run: Run) -> None:
    table, slices, prices = (pd.read_csv(run.folder / name) for name in TABLES)
    assert set(table["quantity"]) == {*QUANTITIES, *PRICES}
    assert table.groupby("quantity").size().tolist() == [25] * 7
    assert {"overall", "decile", "segment", "hour", "won"} == set(slices["slice"])
    assert {"click", "conversion"} == set(slices["event"])
    assert {"all", "0", "23"} < set(prices["hour"])
    assert ((prices["low"] <= prices["logged"]) & ~(prices["high"] < prices["logged"])).all()
    assert (run.folder / "fidelity.png").read_bytes().startswith(b"\x89PNG")
    assert "held-out opportunities" in (run.folder / "fidelity.txt").read_text().splitlines()[0]


def test_opportunities_of_the_market_are_about_those_of_held_out_days(run: Run) -> None:
    """The exchange's volume is the same every day, so the market's median day is near it."""
    table = pd.read_csv(run.folder / "fidelity.csv")
    row = table[(table["quantity"] == "opportunities") & (table["hour"] == "all")].iloc[0]
    assert row["ratio"] == pytest.approx(1.0, abs=0.12)
    assert row["explained_by_noise"]


def test_the_same_run_gives_the_same_numbers(run: Run, source: Source) -> None:
    before = (run.folder / TABLES[0]).read_bytes()
    fidelity(run, source)
    assert (run.folder / TABLES[0]).read_bytes() == before


def test_words_follow_the_table(run: Run) -> None:
    table, slices, prices = (pd.read_csv(run.folder / name) for name in TABLES)
    good = table.assign(within_5_percent=True)
    bad = table.assign(within_5_percent=table["quantity"] != "spend", explained_by_noise=False)
    facts = {"rows": 1234.0, "excess": 2.5}
    assert words(good, slices, prices, facts)[0] == (
        f"On the 1,234 held-out opportunities the simulated market is within 5 % of the log in {', '.join(QUANTITIES)}."
    )
    chance = good.assign(within_5_percent=table["quantity"] != "wins", explained_by_noise=True)
    assert "by no more than simulated days differ among themselves, in wins" in words(chance, slices, prices, facts)[0]
    assert "is not true to the 1,234 held-out opportunities in spend: off by" in words(bad, slices, prices, facts)[0]
    assert any("2.50 % above that of the true" in line for line in words(good, slices, prices, facts))
    rates = slices[slices["event"] == "click"]
    said = next(line for line in words(good, slices, prices, facts) if "Kaplan-Meier" in line)
    middle = prices[(prices["hour"] == "all") & (prices["level"] == 0.5)].iloc[0]
    assert f"logged at {middle['logged']:.4g} [{middle['low']:.4g}, {middle['high']:.4g}]" in said
    curse = next(line for line in words(good, slices, prices, facts) if "winner's curse" in line)
    assert all(f"{ratio:.3f}" in curse for ratio in rates.loc[rates["slice"] == "won", "ratio"])


def test_the_figure_marks_hours_that_chance_does_not_explain(run: Run) -> None:
    table, slices, prices = (pd.read_csv(run.folder / name) for name in TABLES)
    wins = (table["quantity"] == "wins") & (table["hour"] == "7")
    table["explained_by_noise"] = ~wins
    figure = fidelity_figure(table, slices[slices["event"] == "click"], prices, "a note")
    strips = {axes.get_title(loc="left"): axes for axes in figure.axes}
    hollow = [line for line in strips["wins"].get_lines() if line.get_markerfacecolor() == "white"]
    assert [np.asarray(line.get_xdata()).tolist() for line in hollow] == [[7]]
    median = next(axes for name, axes in strips.items() if name.startswith("median price"))
    assert median.get_xlabel() == "Hour of day"


def test_the_command_says_the_finding_first_and_then_the_totals(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "fidelity", "--run", str(run.folder)) == 0
    said = capsys.readouterr().out
    assert said.index("held-out opportunities") < said.index("By hour")
    assert said.index("By hour") < said.index("simulated/logged") < said.index("fidelity.png")


def test_no_run_and_nothing_fitted_are_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Run.create(tmp_path / "bare", load_settings(None, SMALL)).begin()
    for folder, reason in (("none", "holds no run"), ("bare", "run bidpilot fit first")):
        assert command(monkeypatch, "fidelity", "--run", str(tmp_path / folder)) == 2
        said = capsys.readouterr().err
        assert reason in said
        assert len(said.splitlines()) == 1
    assert not (tmp_path / "bare" / "fidelity.csv").exists()
