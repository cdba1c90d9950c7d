"""The figures of the models: are probabilities true, overall and by slice, and what a bid wins and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from bidpilot.experiments.plots_axes import DASHED, MANY_TIMES, STEPS, clock, compact, log_axis, percent_axis
from bidpilot.experiments.plots_style import BASELINE_COLOURS, FAINT, INK, LEARNER_COLOURS, WIDTH, shorten, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST = 12
"""Segments that the figure by segment shows: those with the most rows."""

COLOUR = LEARNER_COLOURS[0]


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
    axes.plot(ends, ends, color=INK, linestyle=DASHED, linewidth=1)
    counts.vlines(rows["predicted"], 0, rows["count"], color=colour, linewidth=5)
    counts.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    counts.yaxis.set_major_formatter(FuncFormatter(compact))
    counts.set_ylim(0)
    axes.set_ylabel(f"Actual {event} rate")
    counts.set(xlabel=f"Predicted {event} probability", ylabel="Rows")
    figure.align_ylabels()
    return figure


def _rate_axes(axes: Axes, rows: pd.DataFrame) -> float:
    """Scale both axes and fix their limits; return the lower edge of the actual rates."""
    x, y = rows["predicted"], rows[["predicted", "actual"]].to_numpy()
    top = max(float(y.max()), float(rows["high"].median())) * 1.3
    if x.max() < MANY_TIMES * x.min():
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=STEPS))
            axis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axes.set(xlim=(0, x.max() * 1.1), ylim=(0, top))
        return 0.0
    low = float(y[y > 0].min()) / 1.5
    axes.set(xlim=(x[x > 0].min() / 1.3, x.max() * 1.3), ylim=(low, top))
    for name in ("x", "y"):
        log_axis(axes, name, percent=True)
    return low


@styled
def slices(table: pd.DataFrame, event: str) -> Figure:
    """Draw predicted over actual events by segment, and below by hour of day; bars are 95 % intervals.

    table: as fidelity_slices.csv. A ratio of 1 is right; slices without a defined ratio are left out.
    """
    own = table[(table["event"] == event) & np.isfinite(table["ratio"]) & (table["ratio"] > 0)]
    segments = own[own["slice"] == "segment"].nlargest(MOST, "count")
    hours = own[own["slice"] == "hour"]
    upper, lower = 0.16 * max(len(segments), 1) + 0.2, 1.5 if len(hours) else 0.0
    height = upper + lower + 1.15
    figure = Figure(figsize=(WIDTH, height))
    if len(segments):
        place = (0.3, (lower + 1.05) / height, 0.64, upper / height)
        _by_segment(figure.add_axes(place), segments)
    if len(hours):
        _by_hour(figure.add_axes((0.15, 0.45 / height, 0.79, (lower - 0.05) / height)), hours)
    return figure


def _by_segment(axes: Axes, rows: pd.DataFrame) -> None:
    at = np.arange(len(rows))
    axes.hlines(at, rows["ratio_low"], rows["ratio_high"], color=COLOUR, linewidth=1.2)
    axes.plot(rows["ratio"], at, "o", color=COLOUR, markersize=4)
    axes.axvline(1.0, color=INK, linestyle=DASHED, linewidth=1)
    axes.set_yticks(at, [shorten(name, 15) for name in rows["name"]])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _ratio_axis(axes, "x", rows)
    axes.set_xlabel("Predicted / actual, by segment")


def _by_hour(axes: Axes, rows: pd.DataFrame) -> None:
    hour = rows["name"].astype(float)
    axes.vlines(hour, rows["ratio_low"], rows["ratio_high"], color=COLOUR, linewidth=1.2)
    axes.plot(hour, rows["ratio"], "o", color=COLOUR, markersize=3)
    axes.axhline(1.0, color=INK, linestyle=DASHED, linewidth=1)
    _ratio_axis(axes, "y", rows)
    clock(axes, 24.0)
    axes.set(xlim=(-0.7, 23.7), xlabel="Hour of day", ylabel="Predicted / actual")


def _ratio_axis(axes: Axes, name: str, rows: pd.DataFrame) -> None:
    """Make room for all ratios and for intervals up to three times as far; far intervals run out of the frame."""
    ratios = rows["ratio"].to_numpy()
    far = 1.25 * max(float(ratios.max()), 1.0 / float(ratios.min()), 1.05)
    high = min(far**2, max(far, float(np.nanmax(rows["ratio_high"]))))
    low = max(far**-2, min(1.0 / far, float(np.nanmin(rows["ratio_low"].clip(lower=1e-3)))))
    (axes.set_xlim if name == "x" else axes.set_ylim)(low, high)
    log_axis(axes, name)


@styled
def landscape(table: pd.DataFrame, money: str) -> Figure:
    """Draw the chance to win an auction, above, and what a win costs, below, against the bid; table: landscape.csv."""
    figure = Figure(figsize=(WIDTH, 3.9))
    grid = {"left": 0.17, "right": 0.96, "top": 0.92, "bottom": 0.12, "hspace": 0.14}
    chance, cost = figure.subplots(2, 1, sharex=True, gridspec_kw=grid)
    rows = table.sort_values("bid")
    chance.plot(rows["bid"], rows["chance"], color=COLOUR, label="on these days")
    chance.plot(rows["bid"], rows["believed"], color=BASELINE_COLOURS[0], linewidth=1.4, label="by the price model")
    percent_axis(chance, "y")
    chance.set(ylim=(0, 1.02), ylabel="Auctions won [%]")
    cost.plot(rows["bid"], rows["bid"], color=FAINT, linewidth=1, linestyle=DASHED)
    cost.plot(rows["bid"], rows["cost"], color=COLOUR)
    log_axis(cost, "x")
    log_axis(cost, "y")
    cost.set(xlabel=f"Bid [{money}]", ylabel=f"Paid per win [{money}]")
    middle = rows["bid"].iloc[len(rows) // 2]
    cost.annotate("the bid itself", (middle, middle), (-4, 3), textcoords="offset points", ha="right", fontsize=8)
    figure.align_ylabels()
    figure.legend(loc="upper right", ncols=2, handlelength=1.6)
    return figure
