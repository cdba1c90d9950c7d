"""The figures of the money: what each segment got and brought, and when, by segment and hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bidpilot.experiments.plots_axes import cells, clock, percent_axis, scale
from bidpilot.experiments.plots_style import BASELINE_COLOURS, FAINT, LEARNER_COLOURS, MUTED, WIDTH, shorten, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bidpilot.ctr.types import FloatArray

COLOURS = (LEARNER_COLOURS[0], BASELINE_COLOURS[0])
"""Of the first policy and of the second; where one is shown beside the other: more than it, and less."""

FULL = 0.85
"""Opacity of the strongest cell."""


@styled
def by_segment(money: pd.DataFrame) -> Figure:
    """Draw each segment's share of the spend, and the worth that a unit of money brought there.

    money: as money.csv, of one budget and at most two policies. The tick is the segment's share of the worth offered.
    """
    segments = list(dict.fromkeys(money["segment"]))
    height = 0.95 + 0.3 * len(segments)
    figure = Figure(figsize=(WIDTH, height))
    grid = {"left": 0.25, "right": 0.97, "top": 1 - 0.1 / height, "bottom": 0.78 / height, "wspace": 0.12}
    spend, worth = figure.subplots(1, 2, sharey=True, width_ratios=(1.2, 1), gridspec_kw=grid)
    policies = list(dict.fromkeys(money["policy"]))
    sums = money.groupby(["policy", "segment"])[["worth", "spend", "expected"]].sum()
    for i, (policy, colour) in enumerate(zip(policies, COLOURS, strict=False)):
        own = sums.loc[policy].reindex(segments)
        at = np.arange(len(segments)) + (i - 0.5 * (len(policies) - 1)) * 0.32
        spend.barh(at, own["spend"] / max(own["spend"].sum(), 1e-12), height=0.3, color=colour)
        worth.plot(own["expected"] / own["spend"].where(own["spend"] > 0), at, "os"[i], color=colour, markersize=4)
    offered = sums.loc[policies[0], "worth"].reindex(segments)
    spend.plot(offered / max(offered.sum(), 1e-12), np.arange(len(segments)), "|", color=MUTED, markersize=12)
    spend.set_yticks(range(len(segments)), [shorten(name, 12) for name in segments])
    spend.set_ylim(len(segments) - 0.5, -0.5)
    percent_axis(spend, "x", 4)
    spend.set(xlabel="Share of spend [%]", xlim=(0, None))
    worth.set(xlabel="Worth per money", xlim=(0, None))
    for axes in (spend, worth):
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    handles = [Line2D([], [], color=c, linewidth=4, label=shorten(n)) for n, c in zip(policies, COLOURS, strict=False)]
    handles.append(Line2D([], [], color=MUTED, marker="|", linestyle="", markersize=9, label="worth offered"))
    figure.legend(handles=handles, loc="lower center", ncols=3, handlelength=1, columnspacing=1)
    return figure


@styled
def by_hour(money: pd.DataFrame) -> Figure:
    """Draw spend by segment and hour, as shares of all of it: the first policy's, and its difference to the second's.

    money: as money.csv, of one budget and at most two policies.
    """
    policies = list(dict.fromkeys(money["policy"]))[:2]
    maps = [_shares(money[money["policy"] == name], money) for name in policies]
    segments, hours = list(maps[0].index), maps[0].columns.to_numpy(dtype=np.float64)
    rows = 0.19 * len(segments)
    part = rows + 1.2
    height = part * len(maps)
    figure = Figure(figsize=(WIDTH, height))
    titles = [f"{shorten(policies[0])}: share of its spend"]
    panels = [maps[0].to_numpy()]
    if len(maps) == len(COLOURS):
        titles.append(f"{shorten(policies[0], 14)} less {shorten(policies[1], 14)}")
        panels.append(maps[0].to_numpy() - maps[1].to_numpy())
    for i, (title, shares) in enumerate(zip(titles, panels, strict=True)):
        top = height - i * part
        axes = figure.add_axes((0.25, (top - 0.25 - rows) / height, 0.71, rows / height))
        _heat(axes, shares, hours, segments)
        axes.set_title(title, loc="left", pad=4)
        most = float(np.abs(shares).max())
        marks = {0.0: "0", 1.0: f"{100 * most:.2g} %"} if i == 0 else _marks(most)
        scale(figure, (0.45, (top - 0.85 - rows) / height, 0.4, 0.07 / height), marks, COLOURS)
    return figure


def _shares(own: pd.DataFrame, every: pd.DataFrame) -> pd.DataFrame:
    """Return a policy's spend as shares of its sum, segments down and hours across."""
    table = own.pivot_table(index="segment", columns="hour", values="spend", aggfunc="sum", fill_value=0.0)
    table = table.reindex(index=list(dict.fromkeys(every["segment"])), columns=np.unique(every["hour"]), fill_value=0.0)
    return table / max(float(table.to_numpy().sum()), 1e-12)


def _heat(axes: Axes, shares: FloatArray, hours: FloatArray, segments: list[str]) -> None:
    width = float(np.diff(hours).min()) if len(hours) > 1 else 1.0
    most = max(float(np.abs(shares).max()), 1e-12)
    cells(
        axes, np.append(hours, hours[-1] + width), np.arange(len(segments) + 1.0) - 0.5, FULL * shares / most, COLOURS
    )
    axes.set_yticks(range(len(segments)), [shorten(name, 12) for name in segments])
    clock(axes, float(hours[-1] + width))
    axes.tick_params(length=2)
    axes.set_xlabel("Hours since the start", labelpad=1)
    for side in ("top", "right"):
        axes.spines[side].set(visible=True, color=FAINT)


def _marks(most: float) -> dict[float, str]:
    return {-1.0: f"\N{MINUS SIGN}{100 * most:.2g}", 0.0: "0", 1.0: f"+{100 * most:.2g} points"}
