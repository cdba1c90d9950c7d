"""The figures of budgets: a metric against the budget, and spend against plan.

All figures, here and in plots_*: tidy table in, matplotlib Figure out; nothing is shown, saved or kept in pyplot.
Tables have the columns that `bidpilot.experiments.report_input` describes. Bands and bars are 95 % intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MultipleLocator, NullFormatter

from bidpilot.experiments.plots_axes import DASHED, clock, few, hundredth, log_axis, percent_axis
from bidpilot.experiments.plots_style import INK, MUTED, OTHER, WIDTH, Look, keys, label_ends, shorten, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PANELS = 6
"""Most budgets that the pacing figure shows."""


PACING_ERROR = "pacing_error"
"""The metric of which less is better."""


@styled
def frontier(results: pd.DataFrame, metric: str, title: str, looks: dict[str, Look], *, money: bool = False) -> Figure:
    """Draw a metric against the budget, a line for each policy; money on a logarithmic axis, ratios in per cent.

    Where there is but one budget, its policies are drawn below each other, with their intervals.
    """
    if len(np.unique(results["budget"])) == 1:
        return _ladder(results, metric, title, looks, money=money)
    figure = Figure(figsize=(WIDTH, 3.6))
    axes = figure.subplots(gridspec_kw={"left": 0.14, "right": 0.6, "top": 0.92, "bottom": 0.125})
    ends: dict[str, tuple[float, float]] = {}
    for policy, rows in results.sort_values("budget").groupby("policy", sort=False):
        look = looks.get(str(policy), OTHER)
        known = rows[np.isfinite(rows[metric]) & (not money or rows[metric] > 0)]
        if known.empty:
            continue
        _line(axes, known, metric, look)
        ends[str(policy)] = (known["budget"].iloc[-1], known[metric].iloc[-1])
    _budget_axis(axes, results)
    _value_axis(axes, money=money)
    axes.set_ylabel(title, rotation=0, ha="left", va="bottom")
    axes.yaxis.set_label_coords(-0.28, 1.025)
    label_ends(axes, ends, looks)
    return figure


def _ladder(results: pd.DataFrame, metric: str, title: str, looks: dict[str, Look], *, money: bool) -> Figure:
    rows = results.sort_values(metric, ascending=metric == PACING_ERROR, na_position="last")
    height = 0.75 + 0.19 * len(rows)
    figure = Figure(figsize=(WIDTH, height))
    grid = {"left": 0.36, "right": 0.96, "top": 1 - 0.1 / height, "bottom": 0.5 / height}
    axes = figure.subplots(gridspec_kw=grid)
    for at, (_, row) in enumerate(rows.iterrows()):
        look = looks.get(row["policy"], OTHER)
        colour = look.colour if look.highlighted else MUTED
        axes.hlines(at, row[f"{metric}_low"], row[f"{metric}_high"], color=colour, linewidth=look.width)
        axes.plot(
            row[metric], at, color=colour, marker=look.marker or ("D" if look.highlighted else "."), markersize=4.5
        )
    axes.set_yticks(range(len(rows)), [shorten(name, 18) for name in rows["policy"]])
    for label, policy in zip(axes.get_yticklabels(), rows["policy"], strict=True):
        look = looks.get(policy, OTHER)
        label.set(fontweight="bold" if look.highlighted else "normal", color=INK if look.highlighted else MUTED)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    if not money:
        percent_axis(axes, "x", 5)
    axes.set_xlabel(f"{title.rstrip()} at budget {shorten(rows['budget_label'].iloc[0], 12)}")
    return figure


def _line(axes: Axes, rows: pd.DataFrame, metric: str, look: Look) -> None:
    x, y = rows["budget"], rows[metric]
    marker = look.marker or ("." if len(x) == 1 else "")
    style = {"linewidth": look.width, "linestyle": look.line, "marker": marker, "markersize": 4.5}
    axes.plot(x, y, color=look.colour, zorder=look.order, **style)  # type: ignore[arg-type]
    if look.highlighted and look.role != "oracle":
        axes.fill_between(x, rows[f"{metric}_low"], rows[f"{metric}_high"], color=look.colour, alpha=0.18, linewidth=0)
        if len(x) == 1:
            axes.vlines(x, rows[f"{metric}_low"], rows[f"{metric}_high"], color=look.colour)


def _budget_axis(axes: Axes, results: pd.DataFrame) -> None:
    budgets = results.drop_duplicates("budget").sort_values("budget")
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets["budget"], [shorten(label, 6) for label in budgets["budget_label"]])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(budgets["budget"].iloc[0] / 1.2, budgets["budget"].iloc[-1] * 1.2)
    axes.set_xlabel("Budget [share of the log's cost]")


def _value_axis(axes: Axes, *, money: bool) -> None:
    if money:
        log_axis(axes, "y")
    else:
        percent_axis(axes, "y")
    axes.autoscale_view()
    axes.set_ylim(*axes.get_ylim())  # fixed before the labels are placed


@styled
def pacing(ticks: pd.DataFrame, looks: dict[str, Look]) -> Figure:
    """Draw cumulative spend against the ideal plan over the episode, a panel for each of at most PANELS budgets."""
    budgets = ticks.drop_duplicates("budget").sort_values("budget")
    shown = budgets[budgets["budget"].isin(few(budgets["budget"].to_numpy(), PANELS))]
    columns = min(2, len(shown))
    lines = -(-len(shown) // columns)
    played = [name for name in ticks["policy"].unique() if looks.get(name, OTHER).role != "oracle"]
    plan = Line2D([], [], color=INK, linestyle=DASHED, linewidth=1.3, label="ideal plan")
    handles = [plan, *keys(played, looks)]
    foot = 0.55 + 0.16 * -(-len(handles) // 2)
    height = 0.3 + 1.45 * lines + foot
    figure = Figure(figsize=(WIDTH, height))
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(0.15, foot / height, 0.97, 1 - 0.25 / height, wspace=0.14, hspace=0.34)
    for axes, (budget, label) in zip(grid.flat, shown[["budget", "budget_label"]].to_numpy(), strict=False):
        _pace(axes, ticks[ticks["budget"] == budget], looks)
        axes.set_title(f"budget {shorten(label, 12)}", loc="left", pad=3)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("Spent [% of budget]")
    for axes in grid.flat[max(len(shown) - columns, 0) : len(shown)]:
        axes.set_xlabel("Hours since the start")
        axes.tick_params(labelbottom=True)
    figure.legend(handles=handles, loc="lower center", ncols=2, handlelength=1.6, columnspacing=1.2)
    return figure


def _pace(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    for policy, own in rows.sort_values("tick").groupby("policy", sort=False):
        look = looks.get(str(policy), OTHER)
        if look.role != "oracle":  # its spend is the plan
            axes.plot(own["hour"], own["spent"], color=look.colour, linewidth=0.8 * look.width, zorder=look.order)
    plan = rows.groupby("hour")["planned"].mean()
    axes.plot(plan.index, plan, color=INK, linestyle=DASHED, linewidth=1.3, zorder=4)
    clock(axes, float(rows["hour"].max()))
    axes.yaxis.set_major_locator(MultipleLocator(0.25))
    axes.yaxis.set_major_formatter(FuncFormatter(hundredth))
    axes.set_ylim(0, max(1.0, float(rows[["spent", "planned"]].max().max())) * 1.03)
