"""Tests that were run: reading them, lifts with and without CUPED against regressions, and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.lift import Lift, lift_table, lifts, unbalanced
from bidpilot.experiments.abtest.multiple import holm
from bidpilot.experiments.abtest.result import read_result
from bidpilot.experiments.abtest.table import Experiment, read_experiment
from bidpilot.experiments.abtest.words import lift_words

if TYPE_CHECKING:
    from pathlib import Path

CSV = "who,arm,clicks,shown,before\nu1,a,1,2,5\nu2,b,0,1,6\nu1,a,1,3,5\nu3, b ,2,4,7\nu4,a,0,1,8\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "test.csv"
    path.write_text(text, encoding="utf-8")
    return path


def drawn(rng: np.random.Generator, units: int = 600, effect: float = 0.0) -> Experiment:
    """Draw a test of three arms whose metric y hangs on what was known, x; only arm b has an effect."""
    arm = rng.choice(["a", "b", "c"], units)
    x, shown = rng.gamma(2.0, 1.0, units), rng.geometric(0.2, units).astype(float)
    y = 5.0 + effect * (arm == "b") + 2.0 * x + rng.standard_normal(units)
    return Experiment(arm, {"y": (y, np.ones(units)), "y/shown": (y * shown, shown)}, {"x": x})


def test_rows_are_units_or_are_summed_to_units(tmp_path: Path) -> None:
    path = written(tmp_path, CSV)
    rows = read_experiment(path, "arm", ["clicks"], ["before"])
    assert rows.counts() == {"a": 3, "b": 2}
    assert rows.metrics["clicks"][0].tolist() == [1, 0, 1, 2, 0]
    units = read_experiment(path, "arm", ["clicks", "clicks/shown"], ["before"], "who")
    assert units.arm.tolist() == ["a", "b", "b", "a"]
    assert units.metrics["clicks"][0].tolist() == [2, 0, 2, 0]
    assert units.metrics["clicks"][1].tolist() == [1, 1, 1, 1]
    assert units.metrics["clicks/shown"][1].tolist() == [5, 1, 4, 1]
    assert units.covariates["before"].tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("u1,a,1,3,5", "u1,b,1,3,5", "unit 'u1' has column 'arm' as a and as b"),
        ("u1,a,1,3,5", "u1,a,1,3,9", "unit 'u1' has column 'before' as 5.0 and as 9.0"),
        ("u2,b,0", "u2,b,", r"line 3: expected a number in column 'clicks', got '' \(1 such rows\)"),
        ("u2,b,0", "u2,b,inf", "line 3: expected a number in column 'clicks', got 'inf'"),
        ("u2,b,0", "u2,,0", "line 3: column 'arm' is empty"),
        ("u4,a", ",a", "line 6: column 'who' is empty"),
        ("shown", "clicks", "column 'clicks' is there 2 times"),
        ("clicks,", "taps,", "column 'clicks' is missing; the file has who, arm, taps, shown, before"),
    ],
)
def test_a_table_that_is_no_test_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = written(tmp_path, CSV.replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        read_experiment(path, "arm", ["clicks"], ["before"], "who")


def test_adjusted_differences_are_those_of_the_regression() -> None:
    """With one slope for all arms: the coefficients of least squares; errors, from spreads within arms, about alike."""
    experiment = drawn(np.random.default_rng(0), effect=0.4)
    y, x = experiment.metrics["y"][0], experiment.covariates["x"]
    dummies = [(experiment.arm == name).astype(float) for name in ("b", "c")]
    table = np.column_stack([np.ones(len(y)), *dummies, x])
    fitted, *_ = np.linalg.lstsq(table, y, rcond=None)
    noise = np.sum((y - table @ fitted) ** 2) / (len(y) - 4)
    errors = np.sqrt(noise * np.diag(np.linalg.inv(table.T @ table)))
    found = [row for row in lifts(experiment, "a") if row.metric == "y"]
    for place, row in enumerate(found[2:]):
        assert row.adjusted
        assert row.difference.value == pytest.approx(fitted[1 + place], abs=1e-9)
        assert row.difference.error == pytest.approx(errors[1 + place], rel=0.06)
    plain = y[experiment.arm == "b"].mean() - y[experiment.arm == "a"].mean()
    assert found[0].difference.value == pytest.approx(plain, abs=1e-12)
    assert found[2].difference.error < 0.45 * found[0].difference.error
    assert found[2].factor == pytest.approx(1 / (1 + 4 * 2), abs=0.03)  # noise 1, known part 4 var(x) = 8


def test_p_values_are_adjusted_over_all_claims_of_a_kind() -> None:
    found = lifts(drawn(np.random.default_rng(1)), "a")
    assert [(row.metric, row.arm) for row in found[:4]] == [("y", "b"), ("y", "c"), ("y/shown", "b"), ("y/shown", "c")]
    for part in (found[:4], found[4:]):
        np.testing.assert_allclose([r.p_holm for r in part], holm([r.difference.p_value for r in part]))


def test_intervals_hold_the_truth_and_false_claims_are_rare() -> None:
    """Of the difference and of the lift, of means and ratios, plain and with CUPED; claims of arm c are false."""
    rng, worlds = np.random.default_rng(2), 300
    held, false = np.zeros((8, 2)), 0
    for _ in range(worlds):
        found = lifts(drawn(rng, 500, 0.5), "a")
        for place, row in enumerate(found):
            effect = 0.5 * (row.arm == "b")
            bounds = ((row.difference.interval(), effect), (row.lift.interval(), effect / 9.0))
            for kind, ((low, high), truth) in enumerate(bounds):
                held[place, kind] += low <= truth <= high
        false += any(row.p_holm < 0.05 for row in found[4:] if row.arm == "c")
    assert ((held / worlds > 0.91) & (held / worlds < 0.985)).all()
    assert 0.92 < held.mean() / worlds < 0.97
    assert false / worlds < 0.07


def test_a_lift_with_cuped_is_known_as_well_as_the_bootstrap_says() -> None:
    rng = np.random.default_rng(3)
    experiment = drawn(rng, 600, 3.0)
    (y, ones), x = experiment.metrics["y"], experiment.covariates["x"]
    copies = []
    for _ in range(300):
        rows = rng.integers(0, 600, 600)
        again = Experiment(experiment.arm[rows], {"y": (y[rows], ones)}, {"x": x[rows]})
        copies.append(lifts(again, "a")[2].lift.value)
    row = next(row for row in lifts(experiment, "a") if row.adjusted)
    assert row.lift.error == pytest.approx(np.std(copies), rel=0.12)


def test_a_covariate_that_the_treatment_moved_is_seen() -> None:
    experiment = drawn(np.random.default_rng(4))
    assert unbalanced(experiment, "a") == []
    experiment.covariates["after"] = experiment.covariates["x"] + 1.0 * (experiment.arm == "b")
    assert unbalanced(experiment, "a") == [("after", "b")]
    assert "WARNING: after was not the same in b and a" in read_result(experiment, "a").text


def test_the_split_comes_first_and_then_sentences() -> None:
    experiment = drawn(np.random.default_rng(5), 3000, 1.0)
    result = read_result(experiment, "a")
    lines = result.text.splitlines()
    assert lines[0].startswith("The split is as planned: a ")
    assert lines[1].startswith("y: b raises it by ")
    assert "y: no effect of c is shown (95 % interval " in result.text
    assert "CUPED is worth " in result.text
    assert "adjusted by Holm for 4 claims" in lines[-1]
    broken = read_result(experiment, "a", {"a": 0.5, "b": 0.25, "c": 0.25})
    assert broken.split.broken
    assert broken.text.startswith("THE SPLIT IS BROKEN: a ")


def test_words_for_what_has_no_lift() -> None:
    arm = np.array(["a", "a", "b", "b", "b"])
    zero = Experiment(arm, {"m": (np.array([0.0, 0.0, 1.0, 2.0, 3.0]), np.ones(5)), "n": (np.zeros(5), np.ones(5))}, {})
    rows: list[Lift] = lifts(zero, "a")
    assert lift_words(rows[0], "a").startswith(
        "m: b raises it by 2.00 (95 % interval +0.868 to +3.13); 2.00 against 0 of a"
    )
    assert lift_words(rows[1], "a") == "n: nothing can be said of b; 0 against 0 of a."


def test_the_table_has_a_row_for_each_lift() -> None:
    found = lifts(drawn(np.random.default_rng(6)), "a")
    table = lift_table(found, 0.1)
    assert len(table) == len(found) == 8
    assert table["cuped"].tolist() == [False] * 4 + [True] * 4
    assert (table["low"] < table["difference"]).all()
    assert tuple(table.loc[0, ["lift_low", "lift_high"]]) == found[0].lift.interval(0.1)
    assert (table["p"] <= table["p_holm"]).all()


def test_arms_that_are_not_there() -> None:
    experiment = drawn(np.random.default_rng(7))
    with pytest.raises(InputError, match="unknown arm 'z'; known: a, b, c"):
        lifts(experiment, "z")
    alone = Experiment(np.array(["a", "a"]), {"y": (np.ones(2), np.ones(2))}, {})
    with pytest.raises(InputError, match="at least one other arm"):
        lifts(alone, "a")
    with pytest.raises(InputError, match="alpha"):
        read_result(experiment, "a", alpha=0.0)
