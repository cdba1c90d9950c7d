"""`bidpilot fidelity`: the whole of it on a small log, what it says, and every mistake as one line."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.ctr.fidelity import PRICES, QUANTITIES
from bidpilot.experiments.cli import main
from bidpilot.experiments.config import load_settings
from bidpilot.experiments.exploitation import OTHER, OWN, REAL
from bidpilot.experiments.fidelity import FIGURES, POLICY_TABLES, TABLES, fidelity
from bidpilot.experiments.fidelity_policies import PolicyStudy, budgets_of
from bidpilot.experiments.fidelity_policy_words import policy_words
from bidpilot.experiments.fidelity_words import words
from bidpilot.experiments.fit import fit
from bidpilot.experiments.plots_fidelity import fidelity_figure
from bidpilot.experiments.run import Run
from bidpilot.experiments.source import EXCHANGE, Source, load_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = {
    "model.kind": "logistic",
    "model.epochs": 2,
    "model.prices": "table",
    "budgets": [1 / 2, 1 / 8, 1 / 16],
    "ticks_per_day": 24,
    "days": {
        "train": 4,
        "validate": 2,
        "tune": 2,
        "evaluate": 4,
        "opportunities": 1_000,
        "replicates": 20,
        "resampled": 4,
    },
}


@pytest.fixture(scope="module", autouse=True)
def small_exchange() -> Iterator[None]:
    """Make the exchange of the demo a small one, on its log and on fresh days, and play few of the simulator's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bidpilot.experiments.fidelity_policies.DAYS", 6)
        patch.setattr("bidpilot.experiments.source.EXCHANGE", replace(EXCHANGE, opportunities=3_000.0))
        yield


@pytest.fixture(scope="module")
def source(small_exchange: None) -> Source:  # noqa: ARG001 - drawn from it
    """Return its log, with the truth about it."""
    return load_source(load_settings(None, SMALL))


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
    before = [(run.folder / name).read_bytes() for name in (*TABLES, *POLICY_TABLES)]
    fidelity(run, source)
    assert [(run.folder / name).read_bytes() for name in (*TABLES, *POLICY_TABLES)] == before


def test_policies_are_ranked_at_two_budgets_in_the_simulator_and_on_fresh_days(run: Run) -> None:
    ranks, alike, _ = (pd.read_csv(run.folder / name) for name in POLICY_TABLES)
    assert ranks.groupby("budget_label")["policy"].nunique().to_dict() == {"1/16": 11, "1/8": 11}
    for where in ("simulated", "real"):
        assert (ranks[f"{where}_low"] <= ranks[where]).all()
        assert (ranks[where] <= ranks[f"{where}_high"]).all()
        assert (ranks[where] <= 1.0).all()
        assert ranks.groupby("budget")[f"{where}_rank"].sum().tolist() == [66.0, 66.0]
    assert alike["spearman"].between(-1.0, 1.0).all()
    assert (alike["regret"] >= 0.0).all()
    values = ranks[ranks["budget"] == alike["budget"].iloc[0]].set_index("policy")
    assert alike["winner"].iloc[0] == values["simulated"].idxmax()
    lost = values["real"].max() - values.loc[alike["winner"].iloc[0], "real"]
    assert alike["regret"].iloc[0] == pytest.approx(lost)


def test_an_untrained_run_follows_its_best_baseline_out_of_the_simulator(run: Run) -> None:
    ranks, _, losses = (pd.read_csv(run.folder / name) for name in POLICY_TABLES)
    followed, reference = losses[losses["role"] == "baseline"], losses[losses["role"] == "reference"]
    assert len(set(followed["policy"])) == 1
    assert followed["market"].tolist() == [OWN, OTHER, REAL] * 2
    assert followed["gap"].isna().tolist() == [True, False, False] * 2
    own, other, real = followed["value"].tolist()[:3]
    assert followed["gap"].tolist()[1:3] == pytest.approx([own - other, own - real])
    beyond = followed["gap"].to_numpy()[1:3] - reference["gap"].to_numpy()[1:3]
    assert followed["beyond"].tolist()[1:3] == pytest.approx(beyond.tolist())
    shown = ranks[(ranks["policy"] == followed["policy"].iloc[0]) & (ranks["budget"] == followed["budget"].iloc[0])]
    assert shown["simulated"].tolist() == [own]


def test_the_words_about_policies_follow_their_tables(run: Run) -> None:
    said = (run.folder / "fidelity.txt").read_text()
    _, alike, losses = (pd.read_csv(run.folder / name) for name in POLICY_TABLES)
    for row in alike.to_dict("records"):
        assert f"Budget {row['budget_label']}: the simulator's winner, {row['winner']}, " in said
        assert f"Spearman {row['spearman']:.2f} [{row['spearman_low']:.2f}, {row['spearman_high']:.2f}]" in said
    there = losses[(losses["market"] == OTHER) & (losses["role"] == "baseline")].iloc[0]
    assert f"a gap of {100 * there['gap']:.1f} points" in said
    assert "drawn afresh from the true exchange" in said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.03, "of the gap come from living off the simulator's errors"),
        (-0.03, -0.01, "nothing is lived off the simulator's errors"),
        (-0.01, 0.03, "cannot be told from none"),
    ],
)
def test_a_gap_is_exploitation_only_beyond_chance_and_beyond_the_controllers(
    run: Run, low: float, high: float, said: str
) -> None:
    ranks, alike, losses = (pd.read_csv(run.folder / name) for name in POLICY_TABLES)
    lines = policy_words(PolicyStudy(ranks, alike, losses.assign(beyond_low=low, beyond_high=high), "two days"))
    assert sum(said in line for line in lines) == 2
    gone = losses[losses["market"] != OTHER]
    lines = policy_words(PolicyStudy(ranks, alike, gone, "two days", "too few clicks"))
    assert lines[-1] == "There is no simulator of other days to play in: too few clicks."
    assert not any("models of the held-out days" in line for line in lines)


def test_at_most_two_budgets_are_played() -> None:
    assert budgets_of((1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)) == (1 / 8, 1 / 32)
    assert budgets_of((1 / 8,)) == (1 / 8,)


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
    assert said.index("By hour") < said.index("simulated/logged") < said.index("in the simulator and in reality")
    assert said.index("in the simulator and in reality") < said.index("clicks/predicted") < said.index("fidelity.png")
    assert "best of 9" in said
    assert all((run.folder / name).read_bytes().startswith(b"\x89PNG") for name in FIGURES)


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
