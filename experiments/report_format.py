"""Numbers and tables as a person reads them: cells with intervals, and the best of each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.experiments.metrics import METRICS, Metric

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    import pandas as pd

DIFFERENCE = Metric(
    "difference",
    "vs best",
    "points",
    "high",
    "paired difference in R/R* to the best baseline, percentage points",
    lambda s: s["difference"],
)
COLUMNS = (METRICS[0], DIFFERENCE, *METRICS[1:])
"""The columns of a result table."""

_SCALE = {"ratio": 100.0, "points": 100.0}
_UNIT = {"ratio": "\u202f%", "points": "\u202fpp"}
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: a number, the interval under it, whether it is the best of its column."""

    text: str
    interval: str = ""
    best: bool = False
    undefined: bool = False


UNDEFINED = Cell("\N{EN DASH}", undefined=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One policy's line of a result table."""

    policy: str
    role: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class BudgetTable:
    """The result table of one budget."""

    label: str
    money: str
    rows: tuple[Row, ...]


def number(value: float, places: int | None = None) -> str:
    """Write a number with thousands separators and a real minus sign; 3 significant digits unless places are given."""
    text = f"{value:,.{decimals([value]) if places is None else places}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text.replace(",", "")) else text.lstrip("-")


def decimals(values: npt.ArrayLike) -> int:
    """Return how many decimals give the median magnitude of the values 3 significant digits (0..6)."""
    size = np.abs(np.asarray(values, dtype=np.float64))
    size = size[np.isfinite(size) & (size > 0)]
    if not len(size):
        return 0
    return int(np.clip(_DIGITS - 1 - np.floor(np.log10(np.median(size))), 0, 6))


def budget_tables(results: pd.DataFrame, currency: str) -> Iterator[BudgetTable]:
    """Yield a table for each budget, smallest first: the oracle on top, the others by falling R/R*."""
    for _, rows in results.groupby("budget"):
        ordered = rows.assign(last=rows["role"] != "oracle").sort_values(
            ["last", "r_over_rstar"], ascending=[True, False], kind="stable"
        )
        columns = [_column(ordered, metric) for metric in COLUMNS]
        lines = zip(ordered["policy"], ordered["role"], zip(*columns, strict=True), strict=True)
        money = ordered["budget_currency"].iloc[0]
        yield BudgetTable(
            ordered["budget_label"].iloc[0],
            f"{number(money)} {currency}" if np.isfinite(money) else "",
            tuple(Row(policy, role, cells) for policy, role, cells in lines),
        )


def _column(rows: pd.DataFrame, metric: Metric) -> list[Cell]:
    scale = _SCALE.get(metric.kind, 1.0)
    points = scale * rows[[metric.name, f"{metric.name}_low", f"{metric.name}_high"]].to_numpy(dtype=np.float64)
    places = min(decimals(points[:, 0]), 2 if metric.kind in _SCALE and metric.name != "win_rate" else 6)
    fair = np.where(rows["role"] == "oracle", np.nan, points[:, 0])  # hindsight is no contest
    best = _best(fair, metric.better)
    reference = (rows["policy"] == rows["best_baseline"]) if metric is DIFFERENCE else np.zeros(len(rows), dtype=bool)
    return [
        Cell("reference") if own else _cell(point, places, metric.kind, best=value == best)
        for own, point, value in zip(reference, points, fair, strict=True)
    ]


def _best(values: npt.NDArray[np.float64], better: str) -> float:
    known = values[np.isfinite(values)]
    if not better or len(known) < 2:  # noqa: PLR2004 - one alone is not the best of anything
        return float("nan")
    return float(known.max() if better == "high" else known.min())


def _cell(point: npt.NDArray[np.float64], places: int, kind: str, *, best: bool) -> Cell:
    middle, low, high = (float(value) for value in point)
    if not np.isfinite(middle):
        return UNDEFINED
    sign = "+" if kind == "points" and middle > 0 else ""
    interval = f"{number(low, places)} … {number(high, places)}" if np.isfinite(low) and np.isfinite(high) else ""
    return Cell(sign + number(middle, places) + _UNIT.get(kind, ""), interval, best)


@dataclass(frozen=True, slots=True)
class SmallTable:
    """A small table of the page: heads with their meaning, and rows of (kind, name, cells)."""

    heads: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def fit_table(fit: pd.DataFrame) -> SmallTable:
    """Lay out fit.csv for the page."""
    lines = [tuple(_fit_cells(row)) for _, row in fit.iterrows()]
    known = [i for i in range(len(_FIT_HEADS)) if not all(cells[i].undefined for cells in lines)]
    return SmallTable(
        tuple(_FIT_HEADS[i] for i in known),
        tuple(
            (event, model, tuple(cells[i] for i in known))
            for event, model, cells in zip(fit["event"], fit["model"], lines, strict=True)
        ),
    )


_FIT_HEADS = (
    ("Rows", "held-out impressions; below: how many had the event"),
    ("AUC", "chance that a row with the event is ranked above one without"),
    ("Log loss", "mean negative log likelihood; below: that of the true probabilities"),
    ("Excess", "log loss above that of the true probabilities"),
    ("ECE", "expected calibration error; below: its value and upper bound for a perfectly calibrated model"),
    ("Predicted / actual", "predicted events over actual events; below: 95 % interval"),
)


def _fit_cells(row: pd.Series) -> Iterator[Cell]:
    def known(text: str, *names: str) -> str:
        return text.format(**{name: row[name] for name in names}) if np.isfinite([row[n] for n in names]).all() else ""

    def cell(text: str, below: str = "") -> Cell:
        return Cell(text.replace("-", "\N{MINUS SIGN}"), below) if text else UNDEFINED

    yield cell(known("{rows:,.0f}", "rows"), known("{positives:,.0f} events", "positives"))
    yield cell(known("{auc:.4f}", "auc"))
    yield cell(known("{log_loss:.5f}", "log_loss"), known("truth {true_log_loss:.5f}", "true_log_loss"))
    yield cell(known("{excess_log_loss_percent:+.2f}\u202f%", "excess_log_loss_percent"))
    yield cell(
        known("{ece:.5f}", "ece"),
        known("noise {ece_floor:.5f}, bound {ece_bound:.5f}", "ece_floor", "ece_bound"),
    )
    yield cell(
        known("{predicted_over_actual:.3f}", "predicted_over_actual"),
        known("{ratio_low:.3f} … {ratio_high:.3f}", "ratio_low", "ratio_high"),
    )


def limit_table(limits: pd.DataFrame) -> SmallTable:
    """Lay out limits.csv for the page: how far each limit was used, and on how many days it was broken."""
    rows = []
    for _, row in limits.sort_values(["budget", "limit", "role"], ascending=[True, True, False]).iterrows():
        days = f"{row['days']:.0f}"
        dry = Cell(f"{row['dry']:.0f} of {days}") if row["limit"] == "budget" else UNDEFINED
        cells = (
            Cell(str(row["budget_label"])),
            Cell(str(row["limit"])),
            Cell(f"{row['broken']:.0f} of {days}"),
            *(Cell(f"{_up(100 * row[name])}\u202f%") for name in ("mean", "most")),
            dry,
        )
        rows.append((row["role"], row["policy"], cells))
    return SmallTable(_LIMIT_HEADS, tuple(rows))


_LIMIT_HEADS = (
    ("Budget", "share of the log's cost"),
    ("Limit", "what may not be exceeded"),
    ("Broken", "days on which more was used than allowed"),
    ("Used", "mean over the days, of what was allowed"),
    ("At most", "on the day with the largest use"),
    ("Dry", "days on which the money was gone more than an hour before the end"),
)


def _up(value: float) -> str:
    """Write a percentage so that only what is above 100 reads as above 100, and only 100 as 100."""
    text = f"{value:.2f}"
    return "99.99" if value < 100 and text == "100.00" else text  # noqa: PLR2004 - per cent


def flatten(metadata: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, text) for everything in nested metadata."""
    for name, value in metadata.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", f"{value:,}" if _is_count(name, value) else str(value)


def _is_count(name: str, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and "seed" not in name
