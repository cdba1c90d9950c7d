"""The figure of fidelity: the simulated market against the held-out days, and predicted against actual clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from bidpilot.ctr.fidelity import QUANTITIES, TOLERANCE
from bidpilot.experiments.plots_style import BASELINE_COLOURS, INK, LEARNER_COLOURS, MUTED, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

STEPS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Distances from 1 of the ratios that are marked."""

MEDIAN = 0.5

BAND, POINT = BASELINE_COLOURS[0], LEARNER_COLOURS[0]


@styled
def fidelity_figure(table: pd.DataFrame, slices: pd.DataFrame, prices: pd.DataFrame, note: str = "") -> Figure:
    """Draw two panels from the tables of fidelity: ratios by hour on the left, reliability by decile on the right.

    table: as `bidpilot.ctr.fidelity.fidelity_table`. slices: as `bidpilot.ctr.slices.calibration_table`, of clicks.
    prices: as `bidpilot.ctr.price_ranges.price_table`.
    note: what the rows are, for the caption.
    """
    figure = Figure(figsize=(7.4, 5.6))
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(1.15, 1.0))).ravel()
    strips: list[Axes] = list(np.ravel(left.subplots(len(QUANTITIES) + 1, 1, sharex=True)))
    left.subplots_adjust(0.155, 0.19, 0.97, 0.87, hspace=0.45)
    hours = table[table["hour"] != "all"]
    for axes, name in zip(strips, QUANTITIES, strict=False):
        _strip(axes, hours[hours["quantity"] == name], name)
    _strip(strips[-1], _medians(prices), "median price, lost auctions included (Kaplan-Meier)")
    strips[-1].set_xlabel("Hour of day")
    left.supylabel("Simulated / logged", fontsize=9, color=MUTED, x=0.015, y=0.53)
    left.text(0.03, 0.985, "Market: simulated over logged", va="top", fontweight="bold")
    left.text(0.03, 0.94, "wins, spend, clicks: at the logged bids; 1 = as logged", va="top", fontsize=8, color=MUTED)
    left.legend(
        handles=_keys(), loc="lower left", bbox_to_anchor=(0.03, 0.0), ncols=2, columnspacing=1.2, handlelength=1.6
    )
    _reliability(right.subplots(gridspec_kw={"left": 0.17, "right": 0.97, "top": 0.89, "bottom": 0.19}), slices)
    right.text(0.03, 0.985, "Clicks: actual against predicted rate", va="top", fontweight="bold")
    right.text(0.03, 0.94, "tenths of the rows shown, by prediction", va="top", fontsize=8, color=MUTED)
    right.text(0.03, 0.015, note, va="bottom", fontsize=8, color=MUTED)
    return figure


def _medians(prices: pd.DataFrame) -> pd.DataFrame:
    """Return medians by hour as ratios to the logged ones, with the range of simulated periods."""
    rows = prices[(prices["level"] == MEDIAN) & (prices["hour"] != "all")]
    ends = {name: rows[f"simulated_{name}"] / rows["logged"] for name in ("low", "high")}
    return rows.assign(**ends)


def _strip(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    """Draw one quantity: the lines at 5 %, the band of simulated periods, and their median for each hour."""
    if rows.empty:
        axes.set_title(f"{name}: not identified", loc="left", pad=2, fontsize=8)
        return
    hour, ratio = rows["hour"].astype(int).to_numpy(), rows["ratio"].to_numpy()
    low, high = rows["low"].to_numpy(), rows["high"].to_numpy()
    for edge in (1.0 - TOLERANCE, 1.0 + TOLERANCE):
        axes.axhline(edge, color=MUTED, linewidth=0.9, linestyle=(0, (2, 1.5)))
    bounds = np.concatenate([ratio, low, high, (0.9, 1.1)])
    reach = float(np.abs(bounds[np.isfinite(bounds)] - 1.0).max()) * 1.12
    axes.fill_between(
        np.append(hour, hour[-1] + 1) - 0.5,
        np.clip(np.append(low, low[-1]), 0.0, 1.0 + reach),
        np.clip(np.append(high, high[-1]), 0.0, 1.0 + reach),
        step="post",
        color=BAND,
        alpha=0.25,
        linewidth=0,
    )
    axes.axhline(1.0, color=INK, linewidth=0.8)
    inside = rows["explained_by_noise"].to_numpy()
    for chosen, face in ((inside, POINT), (~inside, "white")):
        axes.plot(hour[chosen], ratio[chosen], "o", color=POINT, markerfacecolor=face, markersize=3.4, clip_on=False)
    axes.set_title(name, loc="left", pad=2, fontsize=8)
    axes.xaxis.set_major_locator(MultipleLocator(6))
    step = max((one for one in STEPS if one <= 0.9 * reach), default=STEPS[0])
    axes.set_yticks([at for at in (1.0 - step, 1.0, 1.0 + step) if at >= 0])
    axes.set(xlim=(-0.7, 23.7), ylim=(max(1.0 - reach, 0.0), 1.0 + reach))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))


def _keys() -> list[Patch | Line2D]:
    """Return the legend of the left panel."""
    point: dict[str, Any] = {"color": POINT, "marker": "o", "markersize": 3.4, "linestyle": ""}
    return [
        Patch(color=BAND, alpha=0.25, linewidth=0, label="95 % of simulated periods"),
        Line2D([], [], color=MUTED, linewidth=0.9, linestyle=(0, (2, 1.5)), label=f"1 ± {TOLERANCE:g}"),
        Line2D([], [], **point, label="band holds 1: chance"),
        Line2D([], [], **point, markerfacecolor="white", label="band misses 1"),
    ]


def _reliability(axes: Axes, slices: pd.DataFrame) -> None:
    """Draw the actual rate of each tenth with its interval against the predicted one, and the diagonal."""
    rows = slices[slices["slice"] == "decile"]
    predicted, actual = rows["predicted"].to_numpy(), rows["actual"].to_numpy()
    low, high = rows["low"].to_numpy(), rows["high"].to_numpy()
    reach = [np.maximum(actual - low, 0.0), np.maximum(high - actual, 0.0)]
    axes.errorbar(predicted, actual, reach, fmt="none", ecolor=BAND, elinewidth=1.2)
    axes.plot(predicted, actual, "o", color=BAND, markersize=4, label="actual rate, 95 % interval")
    top = 1.05 * float(max(predicted.max(), high.max()))
    axes.plot((0, top), (0, top), color=INK, linestyle=(0, (4, 2)), linewidth=1, label="as predicted")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda at, _: f"{100 * at:g} %"))
    axes.set(xlim=(0, 1.08 * predicted.max()), ylim=(0, top))
    axes.set(xlabel="Predicted click rate", ylabel="Actual click rate")
    axes.legend(loc="upper left")
