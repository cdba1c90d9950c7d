"""The figures of the agent: how it learned, what it bids over the day, and what it would bid with more or less left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bidpilot.experiments.plots_axes import (
    DASHED,
    STEPS,
    cells,
    clock,
    compact,
    few,
    hundredth,
    log_axis,
    percent_axis,
    scale,
)
from bidpilot.experiments.plots_style import BASELINE_COLOURS, INK, LEARNER_COLOURS, OTHER, WIDTH, Look, shorten, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bidpilot.ctr.types import FloatArray

PANELS = 3
"""Most budgets that the figure of multipliers shows."""

LEAST = 0.01
"""Strongest colour at least at this change: smaller ones are not worth a colour."""

TELLING = 98.0
"""Percentile of the changes that has the strongest colour."""

COLOURS = (LEARNER_COLOURS[0], BASELINE_COLOURS[0])


@styled
def learning(curve: pd.DataFrame) -> Figure:
    """Draw the score on validation days against training steps, with the controller's score as a reference."""
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.subplots(gridspec_kw={"left": 0.175, "right": 0.95, "top": 0.9, "bottom": 0.145})
    rows = curve.sort_values("steps")
    colour = LEARNER_COLOURS[0]
    axes.fill_between(rows["steps"], rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)
    axes.plot(rows["steps"], rows["score"], color=colour, marker="o", markersize=3, label="agent")
    axes.plot(rows["steps"], rows["reference"], color=INK, linestyle=DASHED, linewidth=1.2, label="controller alone")
    axes.xaxis.set_major_formatter(FuncFormatter(compact))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
    axes.yaxis.set_major_formatter(FuncFormatter(hundredth))
    axes.set(xlabel="Training steps", ylabel="R/R* on validation days [%]")
    figure.legend(loc="upper right", ncols=2)
    return figure


@styled
def moves(table: pd.DataFrame, looks: dict[str, Look]) -> Figure:
    """Draw the bid multiplier over the episode, median and 80 % range over days, a panel for each budget.

    table: as moves.csv.
    """
    budgets = table.drop_duplicates("budget").sort_values("budget")
    shown = budgets[budgets["budget"].isin(few(budgets["budget"].to_numpy(), PANELS))]
    height = 0.75 + 1.45 * len(shown)
    figure = Figure(figsize=(WIDTH, height))
    grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False)
    figure.subplots_adjust(0.17, 0.7 / height, 0.96, 1 - 0.25 / height, hspace=0.3)
    for axes, (budget, label) in zip(grid.flat, shown[["budget", "budget_label"]].to_numpy(), strict=True):
        own = table[table["budget"] == budget]
        _course(axes, own, looks)
        axes.set_title(f"budget {shorten(label, 12)}", loc="left", pad=3)
        axes.set_ylabel("Multiplier")
    grid.flat[-1].set_xlabel("Hours since the start")
    names = list(dict.fromkeys(table["policy"]))[:4]
    handles = [Line2D([], [], color=_colour(name, looks), label=shorten(name)) for name in names]
    figure.legend(handles=handles, loc="lower center", ncols=2, handlelength=1.6)
    return figure


def _course(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    for policy, own in rows.sort_values("tick").groupby("policy", sort=False):
        colour = _colour(str(policy), looks)
        low, high = own["multiplier_low"], own["multiplier_high"]
        axes.fill_between(own["hour"], low, high, color=colour, alpha=0.18, linewidth=0, step="post")
        axes.step(own["hour"], own["multiplier"], color=colour, linewidth=1.4, where="post")
    known = rows[["multiplier_low", "multiplier_high"]].to_numpy()
    known = known[np.isfinite(known) & (known > 0)]
    if len(known):
        axes.set_ylim(known.min() / 1.05, known.max() * 1.05)
        log_axis(axes, "y")
    clock(axes, float(rows["hour"].max()))


def _colour(policy: str, looks: dict[str, Look]) -> str:
    look = looks.get(policy, OTHER)
    return look.colour if look.highlighted else COLOURS[1]


@styled
def answers(table: pd.DataFrame, played: pd.DataFrame) -> Figure:
    """Draw how the next bid changes with the hour and the budget left; the line is what was left in fact.

    table: as answers.csv, of one policy and budget. played: as moves.csv, of the same.
    """
    figure = Figure(figsize=(WIDTH, 3.7))
    axes = figure.subplots(gridspec_kw={"left": 0.15, "right": 0.96, "top": 0.97, "bottom": 0.27})
    grid = table.pivot_table(index="left", columns="hour", values="change", sort=True)
    changes = grid.to_numpy()
    most = max(float(np.nanpercentile(np.abs(changes), TELLING)) if np.isfinite(changes).any() else LEAST, LEAST)
    x, y = _edges(grid.columns.to_numpy(dtype=np.float64)), _edges(grid.index.to_numpy(dtype=np.float64))
    cells(axes, x, y, changes / most, COLOURS)
    course = played.sort_values("tick")
    axes.fill_between(course["hour"], course["left_low"], course["left_high"], color=INK, alpha=0.15, linewidth=0)
    axes.plot(course["hour"], course["left"], color=INK, linestyle=DASHED, linewidth=1.3)
    clock(axes, float(x[-1]))
    percent_axis(axes, "y", 5)
    axes.set(xlabel="Hours since the start", ylabel="Budget left [%]", ylim=(0, 1))
    marks = {-1.0: f"\N{MINUS SIGN}{100 * most:.2g} %", 0.0: "as it did", 1.0: f"+{100 * most:.2g} %"}
    scale(figure, (0.3, 0.085, 0.52, 0.03), marks, COLOURS)
    return figure


def _edges(middles: FloatArray) -> FloatArray:
    """Return the edges between cells (n + 1,) of their middles (n,), the first and last as wide as their neighbours."""
    if len(middles) == 1:
        return np.array([middles[0] - 0.5, middles[0] + 0.5])
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - between[0]], between, [2 * middles[-1] - between[-1]]])
