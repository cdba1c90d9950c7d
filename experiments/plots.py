"""The figures of a run: tidy table in, matplotlib Figure out; nothing is shown, saved or kept in pyplot.

Tables have the columns that `bidpilot.experiments.report_input` describes. Bands and bars are 95 % intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter, PercentFormatter

from bidpilot.experiments.plots_style import (
    FAINT,
    GRID,
    INK,
    LEARNER_COLOURS,
    MUTED,
    OTHER,
    WIDTH,
    Look,
    label_ends,
    shorten,
    styled,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PANELS = 6
"""Most budgets that the pacing figure shows."""

NEAREST = 4
"""Baselines, besides the learners and the oracle, that the figure of differences shows at each budget."""

_STEPS = [1, 2, 2.5, 5, 10]
_MANY_TIMES = 10.0  # from this ratio of largest to smallest on, a probability axis is logarithmic


@styled
def frontier(results: pd.DataFrame, metric: str, title: str, looks: dict[str, Look], *, money: bool = False) -> Figure:
    """Draw a metric against the budget, a line for each policy; money on a logarithmic axis, ratios in per cent."""
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


def _line(axes: Axes, rows: pd.DataFrame, metric: str, look: Look) -> None:
    x, y = rows["budget"], rows[metric]
    axes.plot(
        x,
        y,
        color=look.colour,
        linewidth=look.width,
        linestyle=look.line,
        marker=look.marker or ("." if len(x) == 1 else ""),
        markersize=4.5,
        zorder=look.order,
    )
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
        _log_axis(axes, "y")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))
        axes.yaxis.set_major_formatter(FuncFormatter(_hundredth))
    axes.autoscale_view()
    axes.set_ylim(*axes.get_ylim())  # fixed before the labels are placed


@styled
def pacing(ticks: pd.DataFrame, looks: dict[str, Look]) -> Figure:
    """Draw cumulative spend against the ideal plan over the episode, a panel for each of at most PANELS budgets."""
    budgets = ticks.drop_duplicates("budget").sort_values("budget")
    shown = budgets.iloc[np.unique(np.linspace(0, len(budgets) - 1, PANELS).round().astype(int))]
    columns = min(2, len(shown))
    lines = -(-len(shown) // columns)
    handles = _handles(ticks["policy"].unique().tolist(), looks)
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
    axes.plot(plan.index, plan, color=INK, linestyle=(0, (4, 2)), linewidth=1.3, zorder=4)
    hours = float(rows["hour"].max())
    step = next((step for step in (1, 2, 3, 6, 12, 24, 48) if hours <= 6 * step), None)
    axes.xaxis.set_major_locator(MultipleLocator(step) if step else MaxNLocator(6))
    axes.yaxis.set_major_locator(MultipleLocator(0.25))
    axes.yaxis.set_major_formatter(FuncFormatter(_hundredth))
    axes.set_ylim(0, max(1.0, float(rows[["spent", "planned"]].max().max())) * 1.03)


def _handles(policies: list[str], looks: dict[str, Look]) -> list[Line2D]:
    drawn = {name: looks.get(name, OTHER) for name in policies if looks.get(name, OTHER).role != "oracle"}
    handles = [Line2D([], [], color=INK, linestyle=(0, (4, 2)), linewidth=1.3, label="ideal plan")]
    handles += [Line2D([], [], color=look.colour, label=shorten(n)) for n, look in drawn.items() if look.highlighted]
    grey = [name for name, look in drawn.items() if not look.highlighted]
    if grey:
        label = shorten(grey[0]) if len(grey) == 1 else f"{len(grey)} other policies"
        handles.append(Line2D([], [], color=FAINT, linewidth=0.8, label=label))
    return handles


@styled
def calibration(bins: pd.DataFrame, event: str) -> Figure:
    """Draw the actual rate of an event in bins of predicted probability, with the number of rows in each bin below.

    Where the probabilities span a factor of ten the axes are logarithmic, and a rate of 0 lies on the lower edge.
    """
    rows = bins[(bins["event"] == event) & (bins["count"] > 0)].sort_values("predicted")
    figure = Figure(figsize=(WIDTH, 3.6))
    grid = {"left": 0.19, "right": 0.96, "top": 0.97, "bottom": 0.125, "hspace": 0.1}
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1), gridspec_kw=grid)
    bottom = _rate_axes(axes, rows)
    actual = rows["actual"].clip(lower=bottom)
    reach = [(actual - rows["low"]).clip(lower=0), (rows["high"] - actual).clip(lower=0)]
    colour = LEARNER_COLOURS[0]
    axes.errorbar(rows["predicted"], actual, reach, fmt="none", ecolor=colour, elinewidth=1.2)
    axes.plot(rows["predicted"], actual, "o", color=colour, markersize=4, clip_on=False, zorder=3)
    ends = axes.get_xlim()
    axes.plot(ends, ends, color=INK, linestyle=(0, (4, 2)), linewidth=1)
    counts.vlines(rows["predicted"], 0, rows["count"], color=colour, linewidth=5)
    counts.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    counts.yaxis.set_major_formatter(FuncFormatter(_compact))
    counts.set_ylim(0)
    axes.set_ylabel(f"Actual {event} rate")
    counts.set(xlabel=f"Predicted {event} probability", ylabel="Rows")
    figure.align_ylabels()
    return figure


def _rate_axes(axes: Axes, rows: pd.DataFrame) -> float:
    """Scale both axes and fix their limits; return the lower edge of the actual rates."""
    x, y = rows["predicted"], rows[["predicted", "actual"]].to_numpy()
    top = max(float(y.max()), float(rows["high"].median())) * 1.3
    if x.max() < _MANY_TIMES * x.min():
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=_STEPS))
            axis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axes.set(xlim=(0, x.max() * 1.1), ylim=(0, top))
        return 0.0
    low = float(y[y > 0].min()) / 1.5
    axes.set(xlim=(x[x > 0].min() / 1.3, x.max() * 1.3), ylim=(low, top))
    for name in ("x", "y"):
        _log_axis(axes, name, percent=True)
    return low


def _log_axis(axes: Axes, name: str, *, percent: bool = False) -> None:
    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if high < 3 * _MANY_TIMES * low else (1.0, 3.0)))
    axis.set_major_formatter(FuncFormatter(lambda at, _: f"{100 * at:g} %" if percent else _compact(at, 0)))
    axis.set_minor_formatter(NullFormatter())


def _hundredth(at: float, _: int) -> str:
    return f"{100 * at:g}"


def _compact(at: float, _: int) -> str:
    for least, size, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(at) >= least:
            return f"{at / size:g}{unit}"
    return f"{at:,g}"


@styled
def learning(curve: pd.DataFrame) -> Figure:
    """Draw the score on validation days against training steps, with the controller's score as a reference."""
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.subplots(gridspec_kw={"left": 0.175, "right": 0.95, "top": 0.9, "bottom": 0.145})
    rows = curve.sort_values("steps")
    colour = LEARNER_COLOURS[0]
    axes.fill_between(rows["steps"], rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)
    axes.plot(rows["steps"], rows["score"], color=colour, marker="o", markersize=3, label="agent")
    axes.plot(
        rows["steps"], rows["reference"], color=INK, linestyle=(0, (4, 2)), linewidth=1.2, label="controller alone"
    )
    axes.xaxis.set_major_formatter(FuncFormatter(_compact))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))
    axes.yaxis.set_major_formatter(FuncFormatter(_hundredth))
    axes.set(xlabel="Training steps", ylabel="R/R* on validation days [%]")
    figure.legend(loc="upper right", ncols=2)
    return figure


@styled
def differences(results: pd.DataFrame, looks: dict[str, Look]) -> Figure:
    """Draw each policy's paired difference in R/R* to the best baseline as a forest, grouped by budget.

    Shown are the learners, the oracle and, at each budget, the NEAREST other baselines.
    """
    groups = [_contenders(rows) for _, rows in results.groupby("budget")]
    height = 0.75 + 0.16 * sum(len(rows) + 1.7 for rows in groups)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.subplots(gridspec_kw={"left": 0.34, "right": 0.97, "top": 1 - 0.1 / height, "bottom": 0.47 / height})
    at, names = 0.0, {}
    for rows in groups:
        first = rows.iloc[0]
        _heading(axes, at, f"budget {shorten(first['budget_label'], 12)}, against {shorten(first['best_baseline'])}")
        for line, (_, row) in enumerate(rows.iterrows(), start=1):
            _forest_line(axes, at + line, row, looks.get(row["policy"], OTHER))
            names[at + line] = shorten(row["policy"], 17)
        at += len(rows) + 1.7
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(list(names), list(names.values()))
    axes.set_ylim(at - 0.6, -0.8)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Difference in R/R* [percentage points]")
    return figure


def _contenders(rows: pd.DataFrame) -> pd.DataFrame:
    others = rows[(rows["policy"] != rows["best_baseline"]) & np.isfinite(rows["difference"])]
    nearest = others[others["role"] == "baseline"].nlargest(NEAREST, "difference").index
    kept = others[(others["role"] != "baseline") | others.index.isin(nearest)]
    return kept.sort_values("difference", ascending=False) if len(kept) else rows.iloc[:1]


def _heading(axes: Axes, at: float, text: str) -> None:
    axes.axhspan(at - 0.55, at + 0.5, color=GRID, linewidth=0, zorder=4)
    label = axes.annotate(text, (0.0, at), (4, 0), ("axes fraction", "data"), "offset points", fontsize=8, va="center")
    label.set(color=MUTED, zorder=5)


def _forest_line(axes: Axes, at: float, row: pd.Series, look: Look) -> None:
    colour = look.colour if look.highlighted else MUTED
    low, middle, high = (100 * float(row[name]) for name in ("difference_low", "difference", "difference_high"))
    axes.hlines(at, low, high, color=colour, linewidth=1.6 if look.highlighted else 1.0)
    axes.plot(middle, at, color=colour, marker=look.marker or "D", markersize=4, linestyle="", zorder=3)
