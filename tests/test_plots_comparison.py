"""The figures that compare policies: differences, chances, profiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidpilot.experiments import plots_comparison
from bidpilot.experiments.plots_style import LEARNER_COLOURS, inline_svg, looks

NAMES = {
    "oracle": "oracle",
    "ppo": "learner",
    "sac": "learner",
    "pid": "baseline",
    "dual": "baseline",
    "one": "baseline",
}
SHARES = {"oracle": 1.0, "ppo": 0.97, "sac": 0.98, "pid": 0.95, "dual": 0.96, "one": 0.8}
BESTS = {0.125: "dual", 0.25: "pid", 0.5: "pid"}


@pytest.fixture
def results() -> pd.DataFrame:
    """Return three budgets of six policies; pid is the best baseline at two of them, dual at one."""
    rows = [
        {"policy": name, "role": role, "budget": budget, "budget_label": f"1/{round(1 / budget)}"}
        | {"best_baseline": best, "r_over_rstar": SHARES[name], "difference": SHARES[name] - SHARES[best]}
        for budget, best in BESTS.items()
        for name, role in NAMES.items()
    ]
    table = pd.DataFrame(rows)
    return table.assign(difference_low=table["difference"] - 0.01, difference_high=table["difference"] + 0.01)


def test_forest_is_in_percentage_points_and_leaves_out_the_best_baseline(results: pd.DataFrame) -> None:
    """At each budget everybody but the best baseline has a line; sac is 2 points above dual at 1/8."""
    axes = plots_comparison.differences(results, looks(results)).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [*("oracle", "sac", "ppo", "pid", "one"), *("oracle", "sac", "ppo", "dual", "one") * 2]
    at = dict(zip(names[:5], axes.get_yticks()[:5], strict=True))["sac"]
    point = next(
        line for line in axes.get_lines() if line.get_marker() != "None" and np.array_equal(line.get_ydata(), [at])
    )
    np.testing.assert_allclose(np.asarray(point.get_xdata(), dtype=float), [2.0])


def test_nothing_defined_is_still_drawn(results: pd.DataFrame) -> None:
    """All NaN gives empty axes, not an exception."""
    empty = results.assign(difference=np.nan, r_over_rstar=np.nan)
    assert "<svg" in inline_svg(plots_comparison.differences(empty, looks(empty)))


def test_chances_name_the_hardest_rivals_first(results: pd.DataFrame) -> None:
    """Nine rivals at two budgets: six of each are shown, the one that is beaten least on top, in per cent."""
    chance = np.tile(np.arange(9) / 10 + 0.1, 2)
    table = pd.DataFrame(
        {
            "policy": [f"b{i}" for i in range(9)] * 2,
            "learner": "sac",
            "budget": np.repeat([0.125, 0.25], 9),
            "budget_label": np.repeat(["1/8", "1/4"], 9),
            "probability_of_improvement": chance,
            "poi_low": chance - 0.1,
            "poi_high": chance + 0.1,
        }
    )
    axes = plots_comparison.improvement(table, looks(results)).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"b{i}" for i in range(plots_comparison.RIVALS)] * 2
    points = [line for line in axes.get_lines() if line.get_marker() == "D"]
    assert float(np.asarray(points[0].get_xdata())[0]) == pytest.approx(10.0)
    assert "budget 1/8: sac beats" in inline_svg(axes.figure)  # type: ignore[arg-type]


def test_a_profile_falls_from_all_to_none_where_scores_differ(results: pd.DataFrame) -> None:
    """The range in which every policy is above, or none, is left out; the learner's steps are its column."""
    tau = np.linspace(0.0, 1.0, 201)
    parts = [
        pd.DataFrame({"policy": name, "tau": tau, "share": np.clip((at + 0.05 - tau) / 0.1, 0, 1)})
        for name, at in SHARES.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    axes = plots_comparison.profile(table.assign(low=table["share"], high=table["share"]), looks(results)).axes[0]
    assert 0.7 < axes.get_xlim()[0] < 0.76
    assert axes.get_xlim()[1] == pytest.approx(1.0)
    line = next(line for line in axes.get_lines() if line.get_color() == LEARNER_COLOURS[0])
    drawn = np.asarray(line.get_ydata(), dtype=float)
    assert (drawn[0], drawn[-1]) == (1.0, pytest.approx(0.3))


def test_a_profile_of_equal_policies_shows_every_threshold(results: pd.DataFrame) -> None:
    table = pd.DataFrame({"policy": "sac", "tau": [0.0, 0.5, 1.0], "share": 1.0, "low": 1.0, "high": 1.0})
    assert plots_comparison.profile(table, looks(results)).axes[0].get_xlim() == (0.0, 1.0)
