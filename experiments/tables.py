"""Results as a table in the terminal, and as Markdown: as many columns as fit, the most telling first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN = (
    ("r_over_rstar", "R/R*", 1.0, 4),
    ("difference", "to best", 1.0, 4),
    ("roi", "ROI %", 100.0, 1),
    ("spend", "spend", 1.0, None),
    ("utilisation", "used %", 100.0, 1),
    ("value", "value", 1.0, None),
    ("clicks", "clicks", 1.0, 1),
    ("conversions", "conv.", 1.0, 2),
    ("wins", "wins", 1.0, 0),
    ("win_rate", "win %", 100.0, 1),
    ("ecpc", "eCPC", 1.0, None),
    ("cpa", "CPA", 1.0, None),
    ("roas", "ROAS", 1.0, 2),
    ("pacing_error", "pace err %", 100.0, 1),
    ("predicted_clicks", "pred. clicks", 1.0, 1),
)
"""Metric, heading, scale, decimals (None: four figures), in the order in which columns are kept."""

CELL = 18
NAME = 22


def terminal_tables(results: pd.DataFrame, width: int) -> Iterator[Table]:
    """Yield a table per budget for a terminal of this width; every figure with its interval below it."""
    columns = _kept(results)[: max(2, (width - NAME) // CELL)]
    for label, part in results.groupby("budget_label", sort=False):
        budget = _figure(part["budget_currency"].iloc[0], 1.0, None)
        table = Table(title=f"budget {label} = {budget} per episode", box=SIMPLE_HEAD, title_justify="left")
        table.add_column("policy", no_wrap=True)
        for _, heading, _, _ in columns:
            table.add_column(heading, justify="right", no_wrap=True)
        for _, row in _ranked(part).iterrows():
            style = {"learner": "bold", "oracle": "dim"}.get(str(row["role"]), "")
            cells = [_cell(row, name, scale, places) for name, _, scale, places in columns]
            table.add_row(str(row["policy"]), *cells, style=style)
        yield table


def markdown_table(results: pd.DataFrame, names: tuple[str, ...]) -> str:
    """Return one Markdown table of these metrics: a row per policy and budget, intervals in brackets."""
    columns = [column for column in SHOWN if column[0] in names]
    lines = ["| budget | policy | " + " | ".join(c[1] for c in columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for label, part in results.groupby("budget_label", sort=False):
        for _, row in _ranked(part).iterrows():
            cells = (_cell(row, name, scale, places).replace("\n", " ") for name, _, scale, places in columns)
            lines.append(f"| {label} | {row['policy']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _kept(results: pd.DataFrame) -> list[tuple[str, str, float, int | None]]:
    """Leave out what the log does not know at all, such as conversions."""
    return [c for c in SHOWN if c[0] in results and not _empty(results[c[0]])]


def _empty(column: pd.Series) -> bool:
    return bool(column.isna().all() or (column.fillna(0.0) == 0.0).all())


def _ranked(part: pd.DataFrame) -> pd.DataFrame:
    return part.sort_values("r_over_rstar", ascending=False, kind="stable")


def _cell(row: pd.Series, name: str, scale: float, places: int | None) -> str:
    value = row[name]
    if pd.isna(value):
        return "-"
    text = _figure(value, scale, places)
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if pd.isna(low) or pd.isna(high):
        return text
    return f"{text}\n[{_figure(low, scale, places)}, {_figure(high, scale, places)}]"


def _figure(value: float, scale: float, places: int | None) -> str:
    scaled = value * scale
    if places is not None:
        return f"{scaled:,.{places}f}"
    return f"{scaled:,.0f}" if abs(scaled) >= 1000 else f"{scaled:.4g}"  # noqa: PLR2004 - four figures
