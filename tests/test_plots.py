"""The figures: who stands out, what the axes say, and that labels keep apart."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.experiments import plots
from bidpilot.experiments.plots_style import BASELINE_COLOURS, FAINT, INK, LEARNER_COLOURS, inline_svg, looks, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        {
            "policy": name,
            "role": role,
            "budget": budget,
            "budget_label": f"1/{round(1 / budget)}",
            "best_baseline": best,
            "difference": SHARES[name] - SHARES[best],
            "difference_low": SHARES[name] - SHARES[best] - 0.01,
            "difference_high": SHARES[name] - SHARES[best] + 0.01,
        }
        | {
            f"{metric}{end}": scale * SHARES[name] * by
            for metric, scale in (("r_over_rstar", 1.0), ("value", 1e5 * budget), ("roi", 3 - 2 * budget))
            for end, by in (("", 1.0), ("_low", 0.98), ("_high", 1.02))
        }
        for budget, best in BESTS.items()
        for name, role in NAMES.items()
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def ticks() -> pd.DataFrame:
    """Return a day of 24 ticks at two budgets: the plan is linear and each policy lags behind it by its own share."""
    hours = np.arange(1.0, 25.0)
    parts = [
        pd.DataFrame({"tick": np.arange(24), "hour": hours, "spent": share * hours / 24, "planned": hours / 24}).assign(
            policy=name, budget=budget, budget_label=f"1/{round(1 / budget)}"
        )
        for name, share in SHARES.items()
        for budget in (0.125, 0.25)
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def drawn(results: pd.DataFrame, ticks: pd.DataFrame) -> dict[str, Figure]:
    """Return every kind of figure."""
    styles = looks(results)
    return {
        "share": plots.frontier(results, "r_over_rstar", "R/R* [%]", styles),
        "value": plots.frontier(results, "value", "Value [EUR]", styles, money=True),
        "pacing": plots.pacing(ticks, styles),
    }


def test_budget_axis_is_binary_logarithmic_and_labelled(drawn: dict[str, Figure]) -> None:
    """Equal steps for doublings, with the labels that people use."""
    axes = drawn["share"].axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1/8", "1/4", "1/2"]
    assert drawn["value"].axes[0].get_yscale() == "log"


def test_lines_carry_the_numbers_of_the_table(drawn: dict[str, Figure], results: pd.DataFrame) -> None:
    """The learner's line is the learner's column."""
    expected = results.loc[results["policy"] == "sac", "value"].to_numpy()
    lines = [line for line in drawn["value"].axes[0].get_lines() if line.get_color() == LEARNER_COLOURS[0]]
    assert len(lines) == 1
    np.testing.assert_allclose(np.asarray(lines[0].get_ydata()), expected)


def test_learners_best_baselines_and_oracle_stand_out(results: pd.DataFrame) -> None:
    """Better learners and more frequent best baselines get the earlier colours; the rest is grey."""
    chosen = looks(results)
    assert {name: look.colour for name, look in chosen.items()} == {
        "oracle": INK,
        "sac": LEARNER_COLOURS[0],
        "ppo": LEARNER_COLOURS[1],
        "pid": BASELINE_COLOURS[0],
        "dual": BASELINE_COLOURS[1],
        "one": FAINT,
    }


def test_looks_survive_more_policies_than_colours(results: pd.DataFrame) -> None:
    """The seventh learner is grey rather than an error."""
    many = [results[results["policy"] == "ppo"].assign(policy=f"ppo{i}") for i in range(7)]
    chosen = looks(pd.concat([results, *many], ignore_index=True))
    assert sum(look.highlighted for look in chosen.values() if look.role == "learner") == len(LEARNER_COLOURS)


def test_pacing_has_a_panel_for_each_budget_and_leaves_the_oracle_to_the_plan(drawn: dict[str, Figure]) -> None:
    """Five policies and the plan in each panel; the oracle's spend is the plan."""
    panels = [axes for axes in drawn["pacing"].axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["budget 1/8", "budget 1/4"]
    assert all(len(axes.get_lines()) == len(SHARES) for axes in panels)


def test_pacing_shows_at_most_six_budgets(ticks: pd.DataFrame, results: pd.DataFrame) -> None:
    """Of nine budgets the smallest, the largest and four between are drawn."""
    one = ticks[ticks["budget"] == ticks["budget"].iloc[0]]
    nine = pd.concat([one.assign(budget=b, budget_label=str(b)) for b in range(1, 10)])
    titles = [axes.get_title(loc="left") for axes in plots.pacing(nine, looks(results)).axes]
    assert len(titles) == plots.PANELS
    assert (titles[0], titles[-1]) == ("budget 1", "budget 9")


def test_drawing_leaves_matplotlib_as_it_was(drawn: dict[str, Figure]) -> None:
    """Neither settings nor pyplot's list of figures are touched."""
    assert mpl.rcParams["text.parse_math"] is True
    assert mpl.rcParams["svg.fonttype"] == mpl.rcParamsDefault["svg.fonttype"]
    assert drawn


def test_inline_svg_is_well_formed_themed_and_escaped(results: pd.DataFrame) -> None:
    """Colours are variables of the page, names are text, and no identifier but those referred to is left."""
    renamed = results.replace("sac", "<a&b>")
    svg = inline_svg(plots.frontier(renamed, "r_over_rstar", "R/R* [%]", looks(renamed)))
    root = ET.fromstring(svg.replace("xlink:href", "href"))  # noqa: S314 - our own text
    words = ["".join(element.itertext()).strip() for element in root.iter("text")]
    assert "<a&b>" in words
    assert "var(--c0)" in svg
    assert LEARNER_COLOURS[0] not in svg
    known = {element.get("id") for element in root.iter() if element.get("id")}
    assert known == {name for name in known if f"#{name}" in svg}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=14))
def test_spread_keeps_order_gap_and_frame(at: list[float]) -> None:
    """Labels neither overlap nor leave the figure nor swap places."""
    gap = 1 / 16
    placed = spread(np.array(at), gap)
    order = np.argsort(at, kind="stable")
    assert np.all(np.diff(placed[order]) >= gap - 1e-9)
    assert placed.min() >= -1e-9
    assert placed.max() <= 1 + 1e-9


def test_spread_leaves_alone_what_is_apart() -> None:
    """Positions that keep the gap stay where they are."""
    at = np.array([0.9, 0.1, 0.5])
    np.testing.assert_allclose(spread(at, 0.1), at)


def test_a_table_of_nothing_defined_is_still_drawn(results: pd.DataFrame) -> None:
    """All NaN gives empty axes, not an exception."""
    empty = results.copy()
    empty[[name for name in results.columns if name.startswith(("r_over", "difference"))]] = np.nan
    assert "<svg" in inline_svg(plots.frontier(empty, "r_over_rstar", "R/R*", looks(empty)))


def test_one_budget_is_a_ladder_with_the_best_on_top(results: pd.DataFrame) -> None:
    """Names by falling metric, by rising pacing error; the axis says at which budget, in per cent."""
    one = results[results["budget"] == 0.125].assign(pacing_error=np.arange(6) / 100.0)
    one = one.assign(pacing_error_low=one["pacing_error"], pacing_error_high=one["pacing_error"])
    axes = plots.frontier(one, "r_over_rstar", "R/R* [%]", looks(results)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["oracle", "sac", "ppo", "dual", "pid", "one"]
    assert axes.get_xlabel() == "R/R* [%] at budget 1/8"
    steady = plots.frontier(one, plots.PACING_ERROR, "Pacing error [%]", looks(results)).axes[0]
    assert steady.get_yticklabels()[0].get_text() == one["policy"].iloc[0]


def test_axes_say_what_they_are(drawn: dict[str, Figure]) -> None:
    """Every figure names its axes and their units."""
    assert drawn["value"].axes[0].get_ylabel() == "Value [EUR]"
    assert drawn["share"].axes[0].get_xlabel() == "Budget [share of the log's cost]"
    assert drawn["pacing"].axes[0].get_ylabel() == "Spent [% of budget]"
