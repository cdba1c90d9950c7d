"""The figures that compare policies: paired differences, chance of improvement, performance profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from bidpilot.experiments.plots_axes import percent_axis
from bidpilot.experiments.plots_style import GRID, INK, MUTED, OTHER, WIDTH, Look, keys, shorten, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from bidpilot.ctr.types import FloatArray

NEAREST = 4
"""Baselines, besides the learners and the oracle, that the figure of differences shows at each budget."""

RIVALS = 4
"""Rivals at each budget that the figure of improvement shows, the hardest to beat first."""


@styled
def differences(results: pd.DataFrame, looks: dict[str, Look]) -> Figure:
    """Draw each policy's paired difference in R/R* to the best baseline as a forest, grouped by budget.

    Shown are the learners, the oracle and, at each budget, the NEAREST other baselines.
    """
    groups = [_contenders(rows) for _, rows in results.groupby("budget")]
    heads = [
        f"budget {shorten(rows['budget_label'].iloc[0], 12)}, against {shorten(rows['best_baseline'].iloc[0])}"
        for rows in groups
    ]
    figure, axes = _forest(groups, heads, ("difference_low", "difference", "difference_high"), looks)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_xlabel("Difference in R/R* [percentage points]")
    return figure


@styled
def improvement(comparison: pd.DataFrame, looks: dict[str, Look]) -> Figure:
    """Draw the chance that the learner earns more than each rival on a day, at each budget.

    comparison: as comparison.csv, with a budget_label. Shown are the RIVALS hardest to beat.
    """
    name = "probability_of_improvement"
    groups = [rows.nsmallest(RIVALS, name).sort_values(name) for _, rows in comparison.groupby(["budget", "learner"])]
    heads = [f"budget {shorten(r['budget_label'].iloc[0], 12)}: {shorten(r['learner'].iloc[0])} beats" for r in groups]
    figure, axes = _forest(groups, heads, ("poi_low", name, "poi_high"), looks)
    axes.axvline(50, color=INK, linewidth=1)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("Chance on a day [%]")
    return figure


@styled
def profile(shares: pd.DataFrame, looks: dict[str, Look]) -> Figure:
    """Draw, for each threshold, the share of episodes in which a policy's R/R* is above it; shares: as profile.csv."""
    handles = keys(list(dict.fromkeys(shares["policy"])), looks)
    foot = 0.55 + 0.16 * -(-len(handles) // 2)
    height = 2.5 + foot
    figure = Figure(figsize=(WIDTH, height))
    grid = {"left": 0.15, "right": 0.96, "top": 1 - 0.1 / height, "bottom": foot / height}
    axes = figure.subplots(gridspec_kw=grid)
    low, high = _telling(shares)
    for policy, rows in shares.sort_values("tau").groupby("policy", sort=False):
        look, near = looks.get(str(policy), OTHER), rows[rows["tau"].between(low, high)]
        line: dict[str, Any] = {"color": look.colour, "linewidth": look.width, "linestyle": look.line}
        axes.step(near["tau"], near["share"], where="post", zorder=look.order, **line)
        if look.highlighted and look.role != "oracle":
            band: dict[str, Any] = {"color": look.colour, "alpha": 0.18, "linewidth": 0, "step": "post"}
            axes.fill_between(near["tau"], near["low"], near["high"], **band)
    for name in ("x", "y"):
        percent_axis(axes, name, 5)
    axes.set(xlim=(low, high), ylim=(0, 1.02), xlabel="R/R* above [%]", ylabel="Episodes [%]")
    figure.legend(handles=handles, loc="lower center", ncols=2, handlelength=1.6, columnspacing=1.2)
    return figure


def _telling(shares: pd.DataFrame) -> tuple[float, float]:
    """Return the range of thresholds in which curves differ from all and from none, a little wider."""
    inside = shares["tau"][(shares["share"] > 0) & (shares["share"] < 1)]
    every = shares["tau"]
    if inside.empty:
        return float(every.min()), float(every.max())
    margin = 0.06 * max(float(inside.max() - inside.min()), 0.01)
    return max(float(every.min()), float(inside.min()) - margin), min(float(every.max()), float(inside.max()) + margin)


def _forest(
    groups: Sequence[pd.DataFrame], heads: Sequence[str], columns: tuple[str, str, str], looks: dict[str, Look]
) -> tuple[Figure, Axes]:
    """Draw a line for each row of each group, low..middle..high in per cent, under a heading for each group."""
    height = 0.75 + 0.16 * sum(len(rows) + 1.7 for rows in groups)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.subplots(gridspec_kw={"left": 0.34, "right": 0.97, "top": 1 - 0.1 / height, "bottom": 0.47 / height})
    at, names = 0.0, {}
    for rows, head in zip(groups, heads, strict=True):
        _heading(axes, at, head)
        for line, (_, row) in enumerate(rows.iterrows(), start=1):
            _forest_line(
                axes, at + line, row[list(columns)].to_numpy(dtype=np.float64), looks.get(row["policy"], OTHER)
            )
            names[at + line] = shorten(row["policy"], 17)
        at += len(rows) + 1.7
    axes.set_yticks(list(names), list(names.values()))
    axes.set_ylim(at - 0.6, -0.8)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure, axes


def _contenders(rows: pd.DataFrame) -> pd.DataFrame:
    others = rows[(rows["policy"] != rows["best_baseline"]) & np.isfinite(rows["difference"])]
    nearest = others[others["role"] == "baseline"].nlargest(NEAREST, "difference").index
    kept = others[(others["role"] != "baseline") | others.index.isin(nearest)]
    return kept.sort_values("difference", ascending=False) if len(kept) else rows.iloc[:1]


def _heading(axes: Axes, at: float, text: str) -> None:
    axes.axhspan(at - 0.55, at + 0.5, color=GRID, linewidth=0, zorder=4)
    label = axes.annotate(text, (0.0, at), (4, 0), ("axes fraction", "data"), "offset points", fontsize=8, va="center")
    label.set(color=MUTED, zorder=5)


def _forest_line(axes: Axes, at: float, ends: FloatArray, look: Look) -> None:
    colour = look.colour if look.highlighted else MUTED
    low, middle, high = 100 * ends
    axes.hlines(at, low, high, color=colour, linewidth=1.6 if look.highlighted else 1.0)
    axes.plot(middle, at, color=colour, marker=look.marker or "D", markersize=4, linestyle="", zorder=3)
