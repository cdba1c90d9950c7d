"""Results as tables in the terminal and in Markdown, with the cells of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bidpilot.experiments.report_format import COLUMNS, Cell, budget_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

STYLES = {"learner": "bold", "oracle": "dim"}
NAME, CELL = 22, 17
"""Characters that a policy's name and a cell with its interval take."""


def terminal_tables(results: pd.DataFrame, currency: str, width: int) -> Iterator[Table]:
    """Yield a table per budget: as many columns as fit, the most telling first, intervals under the figures."""
    shown = _shown(results)[: max(2, (width - NAME) // CELL)]
    for budget in budget_tables(results, currency):
        table = Table(title=f"budget {budget.label} = {budget.money}", box=SIMPLE_HEAD, title_justify="left")
        table.add_column("policy", no_wrap=True)
        for place in shown:
            table.add_column(COLUMNS[place].label, justify="right", no_wrap=True)
        for row in budget.rows:
            cells = [f"{row.cells[place].text}\n{row.cells[place].interval}".rstrip() for place in shown]
            table.add_row(row.policy, *cells, style=STYLES.get(row.role, ""))
        yield table


def markdown_table(results: pd.DataFrame, currency: str) -> str:
    """Return one Markdown table: a row per policy and budget, intervals behind the figures."""
    shown = _shown(results)
    lines = [
        "| budget | policy | " + " | ".join(COLUMNS[place].label for place in shown) + " |",
        "|---|---|" + "---:|" * len(shown),
    ]
    for budget in budget_tables(results, currency):
        for row in budget.rows:
            cells = " | ".join(_in_line(row.cells[place]) for place in shown)
            lines.append(f"| {budget.label} | {row.policy} | {cells} |")
    return "\n".join(lines)


def model_table(models: pd.DataFrame) -> Table:
    """Return the comparison of response models on held-out rows (candidates.candidate_table) as a table."""
    table = Table(title="click models on held-out rows", box=SIMPLE_HEAD, title_justify="left")
    table.add_column("model", no_wrap=True)
    for label in ("AUC", "log loss", "worse by", "ECE (perfect)", "predicted/actual", "CPU s", "MB"):
        table.add_column(label, justify="right", no_wrap=True)
    for row in models.to_dict("records"):
        table.add_row(
            row["model"] if row["fitted"] == row["model"] else f"{row['model']} ({row['fitted']})",
            f"{row['auc']:.4f}\n[{row['auc_low']:.4f}, {row['auc_high']:.4f}]",
            f"{row['log_loss']:.5f}\n[{row['loss_low']:.5f}, {row['loss_high']:.5f}]",
            f"{row['worse']:.5f}\n[{row['worse_low']:.5f}, {row['worse_high']:.5f}]",
            f"{row['ece']:.5f}\n({row['ece_floor']:.5f}, at most {row['ece_bound']:.5f})",
            f"{row['ratio']:.3f}\n[{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]",
            f"{row['seconds']:.1f}",
            f"{row['megabytes']:.2f}",
        )
    return table


def _in_line(cell: Cell) -> str:
    return f"{cell.text} ({cell.interval})" if cell.interval else cell.text


def _shown(results: pd.DataFrame) -> list[int]:
    """Return the places of the columns that say something: no conversions where none are known."""
    return [place for place, column in enumerate(COLUMNS) if results[column.name].fillna(0.0).ne(0.0).any()]
