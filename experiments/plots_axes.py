"""What axes of several figures share: how numbers are written on them, logarithms, panels and cells of a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bidpilot.ctr.types import FloatArray

DASHED = (0, (4, 2))
STEPS = [1, 2, 2.5, 5, 10]
MANY_TIMES = 10.0
"""From this ratio of largest to smallest on, an axis of probabilities or rates is logarithmic."""

FAINTEST = 0.03
"""A cell fainter than this is not drawn."""


def hundredth(at: float, _: int = 0) -> str:
    """Write a share in per cent, without the sign."""
    return f"{100 * at:g}"


def compact(at: float, _: int = 0) -> str:
    """Write a number in few characters."""
    for least, size, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(at) >= least:
            return f"{at / size:g}{unit}"
    return f"{at:,g}"


def percent_axis(axes: Axes, name: str, most: int = 6) -> None:
    """Mark an axis of shares in per cent; the unit belongs into its label."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(most, steps=STEPS))
    axis.set_major_formatter(FuncFormatter(hundredth))


def log_axis(axes: Axes, name: str, *, percent: bool = False) -> None:
    """Make an axis logarithmic, with few marks that are written out."""
    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    if high < 2.5 * low:
        axis.set_major_locator(MaxNLocator(5, steps=STEPS))
    else:
        axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if high < 3 * MANY_TIMES * low else (1.0, 3.0)))
    axis.set_major_formatter(FuncFormatter(lambda at, _: f"{100 * at:.4g} %" if percent else compact(at)))
    axis.set_minor_formatter(NullFormatter())


def clock(axes: Axes, hours: float) -> None:
    """Mark an axis of hours at round hours."""
    step = next((step for step in (1, 2, 3, 6, 12, 24, 48) if hours <= 6 * step), None)
    axes.xaxis.set_major_locator(MultipleLocator(step) if step else MaxNLocator(6))


def shown_budget(budgets: pd.Series) -> float:
    """Return the budget that figures of a single one show: the middle one, which the page's table opens at, too."""
    every = np.unique(budgets)
    return float(every[len(every) // 2])


def few(budgets: FloatArray, most: int) -> FloatArray:
    """Return the smallest, the largest and evenly many of the budgets between, at most so many."""
    return np.asarray(budgets[np.unique(np.linspace(0, len(budgets) - 1, most).round().astype(int))])


def cells(axes: Axes, x: FloatArray, y: FloatArray, strength: FloatArray, colours: tuple[str, str]) -> None:
    """Fill a grid of cells; strength (rows, columns) in -1..1: the first colour above 0, the second below, NaN: none.

    x: (columns + 1,) and y: (rows + 1,) edges. Strength is opacity, so that cells fit a light and a dark page.
    """
    for colour, part in zip(colours, (strength, -strength), strict=True):
        rows, columns = np.nonzero(np.nan_to_num(part) > FAINTEST)
        corners = [
            ((x[j], y[i]), (x[j + 1], y[i]), (x[j + 1], y[i + 1]), (x[j], y[i + 1]))
            for i, j in zip(rows, columns, strict=True)
        ]
        faces = [(colour, min(1.0, float(part[i, j]))) for i, j in zip(rows, columns, strict=True)]
        if corners:
            axes.add_collection(PolyCollection(corners, facecolors=faces, linewidths=0, antialiaseds=False))
    axes.set(xlim=(x[0], x[-1]), ylim=(y[-1], y[0]))
    axes.grid(visible=False)


def scale(
    figure: Figure, place: tuple[float, float, float, float], marks: dict[float, str], colours: tuple[str, str]
) -> None:
    """Draw what the strengths of cells mean: marks, strength -> text, beside a strip of cells (left, bottom, w, h)."""
    axes = figure.add_axes(place)
    low, high = min(marks), max(marks)
    edges = np.linspace(low, high, 11)
    cells(axes, edges, np.array([0.0, 1.0]), (0.5 * (edges[1:] + edges[:-1]))[None, :], colours)
    axes.set_xticks(list(marks), list(marks.values()))
    axes.set_yticks([])
    axes.tick_params(length=2, labelsize=7.5)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
