"""One look for every figure: who gets which colour, how labels keep apart, and how a figure becomes SVG or PNG.

Figures are narrow, so that their 9 point text stays readable on a phone and two fit beside each other on a desk.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType

    from bidpilot.ctr.types import FloatArray

WIDTH = 3.6
"""Width of every figure, inches."""

INK, PAPER, MUTED, FAINT, GRID = "#1b1f24", "#ffffff", "#5a6470", "#a4acb5", "#e4e7ea"
LEARNER_COLOURS = ("#d55e00", "#cc79a7", "#e69f00", "#56b4e9")
BASELINE_COLOURS = ("#0072b2", "#009e73")
THEME = {
    INK: "ink",
    PAPER: "card",
    MUTED: "muted",
    FAINT: "faint",
    GRID: "grid",
    **{colour: f"c{i}" for i, colour in enumerate(LEARNER_COLOURS + BASELINE_COLOURS)},
}
"""Colour -> name of the CSS variable that replaces it in a page (Okabe and Ito's palette, without yellow)."""

STYLE: dict[Any, Any] = {  # matplotlib spells out its 300 keys in a type of each version
    "text.parse_math": False,  # a policy may be called $x$
    "text.color": INK,
    "font.size": 9,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "bidpilot",
}


@dataclass(frozen=True, slots=True)
class Look:
    """How one policy is drawn in every figure; unhighlighted policies are thin and grey."""

    role: str
    colour: str = FAINT
    marker: str = ""
    line: LineStyleType = "-"

    @property
    def highlighted(self) -> bool:
        """Whether the policy is one of those the page is about."""
        return self.colour != FAINT

    @property
    def width(self) -> float:
        """Line width, points."""
        return 1.8 if self.highlighted else 0.8

    @property
    def order(self) -> float:
        """Drawing order: highlighted policies lie above the others."""
        return 3.0 if self.highlighted else 2.0


OTHER = Look("baseline")
"""The look of a policy that nothing else is known about."""


def looks(results: pd.DataFrame) -> dict[str, Look]:
    """Give each policy of a results table its look: the oracle, up to 4 learners and the 2 best baselines stand out.

    Learners come in order of mean R/R*, baselines in order of how many budgets they are the best one at.
    """
    means = results.groupby("policy")["r_over_rstar"].mean().fillna(-1.0)
    roles = results.drop_duplicates("policy").set_index("policy")["role"]
    wins = results.drop_duplicates("budget")["best_baseline"].value_counts()
    ranked = sorted(roles.index, key=lambda name: (-int(wins.get(name, 0)), -means[name], name))
    chosen = {name: Look(roles[name]) for name in ranked}
    learners = sorted((name for name in ranked if roles[name] == "learner"), key=lambda name: (-means[name], name))
    bests = [name for name in ranked if roles[name] == "baseline" and name in wins.index]
    for name, colour, marker in zip(learners, LEARNER_COLOURS, "osDP", strict=False):
        chosen[name] = Look("learner", colour, marker)
    for name, colour, marker in zip(bests, BASELINE_COLOURS, "^v", strict=False):
        chosen[name] = Look("baseline", colour, marker)
    for name in (name for name in ranked if roles[name] == "oracle"):
        chosen[name] = Look("oracle", INK, "", (0, (4, 2)))
    return chosen


def shorten(name: str, most: int = 19) -> str:
    """Cut a name that would not fit beside a figure."""
    return name if len(name) <= most else name[: most - 1] + "…"


def spread(at: FloatArray, gap: float) -> FloatArray:
    """Move positions in 0..1 as little as needed so that neighbours keep the gap; order is kept, (n,) -> (n,)."""
    order = np.argsort(at, kind="stable")
    steps = gap * np.arange(len(at))
    free = at[order] - steps
    pushed_up = np.maximum.accumulate(free)
    pushed_down = np.minimum.accumulate(free[::-1])[::-1]
    placed = np.empty(len(at))
    inside = np.maximum((pushed_up + pushed_down) / 2 + steps, steps)
    placed[order] = np.minimum(inside, 1.0 - steps[::-1])
    return placed


def label_ends(axes: Axes, ends: dict[str, tuple[float, float]], looks: dict[str, Look]) -> None:
    """Write each policy's name right of its line's last point (x, y in data units), joined by a thin connector."""
    finite = {name: end for name, end in ends.items() if np.isfinite(end).all()}
    if not finite:
        return
    to_axes = axes.transData + axes.transAxes.inverted()
    points = np.asarray([to_axes.transform(end) for end in finite.values()])
    gap = min(9.5 / (axes.bbox.height * 72 / axes.figure.dpi), 1.0 / len(finite))
    for name, point, y in zip(finite, points, spread(points[:, 1], gap), strict=True):
        look = looks.get(name, OTHER)
        axes.annotate(
            shorten(name),
            xy=(point[0], point[1]),
            xytext=(1.12, y),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=8 if look.highlighted else 7.5,
            fontweight="bold" if look.highlighted else "normal",
            color=INK if look.highlighted else MUTED,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": look.colour,
                "linewidth": 0.7,
                "relpos": (0.0, 0.5),
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )


def keys(policies: Sequence[str], looks: dict[str, Look]) -> list[Line2D]:
    """Return the keys of a legend: each highlighted policy, and one for all others."""
    drawn = {name: looks.get(name, OTHER) for name in policies}
    handles = [
        Line2D([], [], color=look.colour, linestyle=look.line, label=shorten(name))
        for name, look in drawn.items()
        if look.highlighted
    ]
    grey = [name for name, look in drawn.items() if not look.highlighted]
    if grey:
        label = shorten(grey[0]) if len(grey) == 1 else f"{len(grey)} other policies"
        handles.append(Line2D([], [], color=FAINT, linewidth=0.8, label=label))
    return handles


Inputs = ParamSpec("Inputs")


def styled(draw: Callable[Inputs, Figure]) -> Callable[Inputs, Figure]:
    """Let a function draw its figure in STYLE, and leave matplotlib's settings as they were."""

    @wraps(draw)
    def wrapper(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def save(figure: Figure, kind: Literal["svg", "png"]) -> bytes:
    """Return the figure as a file, SVG with real text or PNG at 200 dots per inch; same figure, same bytes."""
    names = ("Date", "Creator", "Format", "Type") if kind == "svg" else ("Software",)
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=200, transparent=kind == "svg", metadata=dict.fromkeys(names))
    return buffer.getvalue()


def inline_svg(figure: Figure, name: str = "") -> str:
    """Return the figure as an <svg> element whose colours follow the page's CSS variables and whose text is escaped.

    name: of the figure; put before the ids that its parts refer to, so that they are unique on the page.
    """
    text = save(figure, "svg").decode()
    return re.sub(r"<[^>]*>", lambda tag: _themed(tag[0], name), text[text.index("<svg") :])


def _themed(tag: str, name: str) -> str:
    # ids of drawn parts repeat from figure to figure; only those of markers and clip paths are referred to
    tag = re.sub(r' id="(?![a-z][0-9a-f]{10}")[^"]*"', "", tag)
    tag = re.sub(r'(id="|href="#|url\(#)(?=[a-z][0-9a-f]{10}[")])', rf"\1{name}", tag)
    if tag.startswith("<svg"):
        tag = re.sub(r' (?:xmlns(?::\w+)?|width|height)="[^"]*"', "", tag)
    return re.sub(r"#[0-9a-f]{6}\b", lambda hex_: f"var(--{THEME[hex_[0]]})" if hex_[0] in THEME else hex_[0], tag)
