"""The suite as one picture: every family's scores against the best baseline, and the oracle's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bidpilot.experiments.plots_style import BASELINE_COLOURS, FAINT, INK, LEARNER_COLOURS, styled

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes

LEARNER, BASELINE = LEARNER_COLOURS[0], BASELINE_COLOURS[0]
LOWEST = 0.55
"""Scores below this share of the family's best are not drawn: they would press the others together."""

SIGNIFICANT = 0.05


@styled
def suite_figure(scores: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw a strip per family: R / R* of all policies, means over the budgets, with 95 % intervals.

    scores: as verdicts.score_table, of several families. titles: of the families, in the order to draw them.
    """
    figure = Figure(figsize=(7.4, 1.2 + 0.88 * len(titles)))
    strips = np.ravel(figure.subplots(len(titles), 1, squeeze=False))
    tall = figure.get_figheight()
    figure.subplots_adjust(0.02, 0.5 / tall, 0.98, 1.0 - 0.75 / tall, hspace=1.5)
    for axes, (name, title) in zip(strips, titles.items(), strict=True):
        _strip(axes, scores[(scores["family"] == name) & (scores["budget"] == 0.0)], title)
    strips[-1].set_xlabel(
        "R/R*, mean over budgets, cost limits penalised (marketplace: worth against the controller's); bars: 95 %"
    )
    figure.legend(handles=_keys(), loc="upper left", ncols=4, bbox_to_anchor=(0.01, 1.0))
    return figure


def _strip(axes: Axes, rows: pd.DataFrame, title: str) -> None:
    """Draw one family: baselines as ticks, the best one and the learner with intervals, the oracle as a line."""
    shown = rows[rows["score"] >= LOWEST * rows["score"].max()]
    baselines = shown[shown["role"] == "baseline"].sort_values("score")
    axes.plot(baselines["score"], np.zeros(len(baselines)), "|", color=FAINT, markersize=11)
    for part, colour, at in ((baselines.tail(1), BASELINE, 0.0), (shown[shown["role"] == "learner"], LEARNER, 0.0)):
        for _, row in part.iterrows():
            axes.plot((row["low"], row["high"]), (at, at), color=colour, linewidth=1.4)
            axes.plot(row["score"], at, "o", color=colour, markersize=5)
            axes.annotate(
                f"{row['policy']} {row['score']:.4f}",
                (row["score"], at),
                (0, 7 if row["role"] == "learner" else -13),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=colour,
            )
    for score in shown[shown["role"] == "oracle"]["score"]:
        axes.axvline(score, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_title(title, loc="left", pad=9, fontsize=8)
    axes.set(yticks=[], ylim=(-1.0, 1.0))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=7)
    axes.margins(x=0.12)


def _keys() -> list[Line2D]:
    return [
        Line2D([], [], color=LEARNER, marker="o", linewidth=1.4, label="learner"),
        Line2D([], [], color=BASELINE, marker="o", linewidth=1.4, label="best tuned baseline"),
        Line2D([], [], color=FAINT, marker="|", linestyle="", markersize=9, label="other tuned baselines"),
        Line2D([], [], color=INK, linestyle=(0, (4, 2)), linewidth=1, label="best single multiplier in hindsight"),
    ]


def said(claims: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Return each claim's outcome in a sentence."""
    lines = []
    for row in claims.to_dict("records"):
        verdict = "holds" if row["holds"] else "does not hold"
        asked = f"at least {100 * row['asked']:g} points more" if row["asked"] > 0 else ""
        asked = asked or ("more" if row["strict"] else "no less")
        points = f"{100 * row['difference']:+.2f} points [{100 * row['low']:.2f}, {100 * row['high']:.2f}]"
        lines.append(
            f"{titles[row['family']]}: {row['learner']} against {row['against']} {points}; asked {asked}: {verdict}"
        )
    return [*lines, *_held_together(claims)]


def _held_together(claims: pd.DataFrame) -> list[str]:
    """Say how many differences can be told from 0, claim by claim and held together, where there are several."""
    count = int(claims["p"].notna().sum())
    if count < 2:  # noqa: PLR2004 - one claim alone needs no adjustment
        return []
    alone, left = (int((claims[name] < SIGNIFICANT).sum()) for name in ("p", "p_holm"))
    told = f"{count} claims at once: {alone} differences have p < {SIGNIFICANT:g}, each taken alone"
    return [f"{told}; {left} are left when all are held together (Holm)"]
