"""A picture of an episode as it stands: what has been spent, beside the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from bidpilot.ctr.types import FloatArray

WIDTH, HEIGHT, DPI = 640, 400, 100
INK, PAPER, MUTED, GRID, SPENT, PLANNED = "#1b1f24", "#ffffff", "#5a6470", "#e4e7ea", "#0072b2", "#d55e00"


def spend_picture(plan: FloatArray, spent: FloatArray, title: str) -> npt.NDArray[np.uint8]:
    """Draw an episode's spend beside its plan, as RGB pixels (HEIGHT, WIDTH, 3); the same inputs give the same bytes.

    plan: (T,) share of the budget that is to be spent by the end of each tick. spent: (k,), k <= T, share that was.
    Opens no window and changes no setting of matplotlib. Raises InputError for an empty plan, or more ticks
    spent than planned.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy, and most runs draw nothing
    from matplotlib.figure import Figure

    if np.ndim(plan) != 1 or np.ndim(spent) != 1 or not len(spent) <= len(plan) >= 1:
        raise InputError(
            f"a picture needs a plan (T,) of at least one tick and the spend (k,) of its first k <= T ticks; "
            f"got {np.shape(plan)} and {np.shape(spent)}"
        )
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=PAPER)
    canvas = FigureCanvasAgg(figure)
    _draw(figure.add_axes((0.105, 0.125, 0.865, 0.765), facecolor=PAPER), plan, spent, title)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib's, as the next
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return pixels[..., :3].copy()


def _draw(axes: Axes, plan: FloatArray, spent: FloatArray, title: str) -> None:
    """Draw both lines, from 0 at the start of the day."""
    from matplotlib.ticker import MaxNLocator

    ticks = np.arange(len(plan) + 1)
    done = ticks[: len(spent) + 1]
    paid = np.append(0.0, spent)
    axes.fill_between(done, paid, color=SPENT, alpha=0.18, linewidth=0.0)
    axes.plot(done, paid, color=SPENT, linewidth=2.0, solid_capstyle="round", label="spent", zorder=3)
    axes.plot(done[-1:], paid[-1:], color=SPENT, marker="o", markersize=5.0, zorder=4, clip_on=False)
    axes.plot(ticks, np.append(0.0, plan), color=PLANNED, linewidth=1.6, linestyle=(0, (5, 3)), label="plan")
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=INK, parse_math=False)
    axes.set_xlabel("tick", color=MUTED, fontsize=10)
    axes.set_ylabel("share of the budget spent", color=MUTED, fontsize=10)
    axes.set_xlim(0, len(plan))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    highest = max(1.0, float(np.nanmax(plan)), float(np.nanmax(paid)))
    axes.set_ylim(0.0, 1.05 * highest)
    axes.tick_params(colors=MUTED, labelsize=9)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", frameon=False, fontsize=9.5, labelcolor=INK)
