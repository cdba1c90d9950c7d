"""The figure of policies: what each is worth in the simulator against what it is worth in reality."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bidpilot.experiments.plots_style import (
    BASELINE_COLOURS,
    FAINT,
    INK,
    LEARNER_COLOURS,
    MUTED,
    Look,
    label_ends,
    shorten,
    styled,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bidpilot.ctr.types import FloatArray

WHERE = ("simulated", "real")
WIDTH, HEIGHT = 6.2, 4.0
"""Of one budget's panel, inches."""

FOOT = 0.72
"""Inches for the caption."""

ROOM = (0.32, 0.1)
"""Width and height of a name, as shares of the panel."""

TOUCH = 0.03
"""Points closer than this share of the panel are drawn upon each other."""

MARGIN = 0.06
"""Free space around the points, as a share of their range."""


@styled
def ranks_figure(ranks: pd.DataFrame, agreement: pd.DataFrame, reality: str) -> Figure:
    """Draw a panel for each budget from the tables of fidelity_ranks; reality: what the real days were, in words."""
    budgets = agreement.to_dict("records")
    height = HEIGHT * len(budgets) + FOOT
    figure = Figure(figsize=(WIDTH, height))
    panels = figure.subplots(len(budgets), 1, squeeze=False)[:, 0]
    figure.subplots_adjust(0.11, (FOOT + 0.5) / height, 0.70, 1.0 - 0.62 / height, hspace=0.4)
    for axes, row in zip(panels, budgets, strict=True):
        rows = ranks[ranks["budget"] == row["budget"]]
        _scatter(axes, rows, str(row["winner"]), str(row["best"]))
        axes.set_title(f"Budget {row['budget_label']}: {row['policies']} policies", loc="left", pad=20)
        numbers = ", ".join(
            f"{name.title()} {row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"
            for name in ("spearman", "kendall")
        )
        axes.text(0.0, 1.025, numbers, transform=axes.transAxes, fontsize=8, color=MUTED)
    learner = "orange: the trained policy, " if (ranks["role"] == "learner").any() else ""
    caption = (
        "R/R*: expected worth won, as a share of the most that the budget could have bought; bars: 95 %; dashed: equal "
        f"values; {learner}blue: the best in reality, green: the simulator's winner, if others. Reality: {reality}."
    )
    figure.text(0.02, 0.08 / height, textwrap.fill(caption, 100), va="bottom", fontsize=8, color=MUTED)
    return figure


def _scatter(axes: Axes, rows: pd.DataFrame, winner: str, best: str) -> None:
    """Draw each policy with its intervals, the view around them, and the line of equal values."""
    looks = {
        str(row["policy"]): _look(str(row["policy"]), str(row["role"]), winner, best) for _, row in rows.iterrows()
    }
    x, y = (rows[where].to_numpy() for where in WHERE)
    bars = [_reach(rows, where) for where in WHERE]
    for i, look in enumerate(looks.values()):
        axes.errorbar(
            x[i],
            y[i],
            xerr=bars[0][:, [i]],
            yerr=bars[1][:, [i]],
            fmt="o",
            color=look.colour,
            markersize=4.5 if look.highlighted else 3.2,
            elinewidth=0.8,
            zorder=look.order,
        )
    axes.axline((0.0, 0.0), slope=1.0, color=INK, linestyle=(0, (4, 2)), linewidth=0.8)
    axes.set(xlabel="R/R* in the simulator", ylabel="R/R* in reality")
    axes.set(xlim=_view(x, bars[0]), ylim=_view(y, bars[1]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda at, _: f"{100 * at:g} %"))
    _names(axes, dict(zip(looks, zip(x, y, strict=True), strict=True)), looks)


def _reach(rows: pd.DataFrame, where: str) -> FloatArray:
    """Return how far the intervals reach below and above, (2, policies)."""
    value, low, high = (rows[f"{where}{end}"].to_numpy() for end in ("", "_low", "_high"))
    return np.nan_to_num(np.maximum([value - low, high - value], 0.0))


def _view(at: FloatArray, reach: FloatArray) -> tuple[float, float]:
    low, high = float(np.nanmin(at - reach[0])), float(np.nanmax(at + reach[1]))
    free = MARGIN * max(high - low, 1e-3)
    return low - free, high + free


def _names(axes: Axes, ends: dict[str, tuple[float, float]], looks: dict[str, Look]) -> None:
    """Name the points: beside them where they stand alone, else in a column on the right, joined by a line."""
    finite = {name: end for name, end in ends.items() if np.isfinite(end).all()}
    to_axes = axes.transData + axes.transAxes.inverted()
    places = {name: np.asarray(to_axes.transform(end)) for name, end in finite.items()}
    alone = {name for name, at in places.items() if _free(at, [other for n, other in places.items() if n != name])}
    for name in alone:
        colour = INK if looks[name].highlighted else MUTED
        axes.annotate(shorten(name), finite[name], (5, 5), textcoords="offset points", fontsize=7.5, color=colour)
    label_ends(axes, {name: end for name, end in finite.items() if name not in alone}, looks)


def _free(at: FloatArray, others: list[FloatArray]) -> bool:
    """Tell whether a name fits to the right of a point (shares of the panel)."""
    gaps = [other - at for other in others]
    taken = any(-TOUCH < right < ROOM[0] and -TOUCH < up < ROOM[1] for right, up in gaps)
    return bool(at[0] < 1.0 - ROOM[0]) and not taken


def _look(name: str, role: str, winner: str, best: str) -> Look:
    """Return how a policy is drawn: the trained one, the simulator's winner and the best in reality stand out."""
    if role == "learner":
        return Look(role, LEARNER_COLOURS[0])
    if name in (winner, best):
        return Look(role, BASELINE_COLOURS[0 if name == best else 1])
    return Look(role, FAINT)
