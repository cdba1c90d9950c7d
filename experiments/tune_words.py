"""What tuning brought, as a table and in sentences: the gain on days that no trial has seen is what counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bidpilot.experiments.config import budget_label

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


def gain_table(gains: pd.DataFrame) -> Table:
    """Return the cells of tune.gains as a table: R/R* when tuned, and points gained over the default settings."""
    table = Table(title="tuned against default settings", box=SIMPLE_HEAD, title_justify="left")
    table.add_column("policy", no_wrap=True)
    for label in ("budget", "R/R*, tuning days", "gain there", "R/R*, validation days", "gain there"):
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column("settings")
    for row in gains.to_dict("records"):
        cells = [_percent(row, "tuning_score"), _points(row, "tuning_gain")]
        cells += [_percent(row, "validation_score"), _points(row, "validation_gain")]
        settings = "the default" if row["default"] else json.dumps(_short(row["settings"]))
        table.add_row(row["policy"], budget_label(row["budget"]), *cells, settings.strip("{}").replace('"', ""))
    return table


def gain_words(gains: pd.DataFrame) -> list[str]:
    """Return sentences: what the gain on the tuning days is worth on others, and where tuning did harm."""
    changed = gains[~gains["default"]]
    kept = len(gains) - len(changed)
    lines = [f"{kept} of {len(gains)} policies x budgets keep the default settings."] if kept else []
    if changed.empty:
        return lines
    there, here = 100 * changed["tuning_gain"].mean(), 100 * changed["validation_gain"].mean()
    lines.append(
        f"Other settings gain {there:+.2f} points of R/R* on the tuning days and {here:+.2f} on the validation days, "
        "which no trial has seen: the difference is what tuning promised too much."
    )
    better, worse = changed["validation_gain_low"] > 0, changed["validation_gain_high"] < 0
    lines.append(
        f"On the validation days they are better than the default in {better.sum()} of {len(changed)} cases, worse in "
        f"{worse.sum()}, and cannot be told from it in {(~better & ~worse).sum()}."
    )
    lines += [
        f"  worse: {row['policy']} at budget {budget_label(row['budget'])}, {_points(row, 'validation_gain')}"
        for row in changed[worse].to_dict("records")
    ]
    return lines


def _percent(row: Mapping[Any, Any], name: str) -> str:
    mean, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{mean:.2f} % [{low:.2f}, {high:.2f}]"


def _points(row: Mapping[Any, Any], name: str) -> str:
    mean, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def _short(settings: dict[str, object]) -> dict[str, object]:
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in settings.items()}
