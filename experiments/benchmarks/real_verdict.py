"""What the nine campaigns say of each policy: a table, and which keep to both lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

MEAN, LEAST = 0.98, 0.95
"""Lines: the mean R/R* over campaigns at every budget, and the lowest of any campaign at any budget."""

ALL = "all campaigns"
RATIO = "r_over_rstar"


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per policy and a column per campaign, `mean (least)` of R/R* over budgets, then over all.

    Further columns: lowest mean, over campaigns, of a budget; lowest of all. Best lowest first.
    """
    rows = []
    for policy, part in table.groupby("policy", sort=False):
        cells = part.pivot_table(index="campaign", columns="budget", values=RATIO)
        shown = {str(name): f"{row.mean():.3f} ({row.min():.3f})" for name, row in cells.iterrows()}
        figures = {"mean": cells.to_numpy().mean(), "least mean of a budget": cells.mean().min()}
        rows.append({"policy": policy, **shown, **figures, "least of all": cells.to_numpy().min()})
    columns = ["policy", *dict.fromkeys(table["campaign"])]
    order = [*columns, "mean", "least mean of a budget", "least of all"]
    return pd.DataFrame(rows)[order].sort_values("least of all", ascending=False, kind="stable")


def verdict(table: pd.DataFrame) -> str:
    """Say which policies keep to both lines, and for each of the nearest where it falls short and by how much."""
    found = summary(table).set_index("policy").drop(index="oracle", errors="ignore")
    keeps = found.index[(found["least mean of a budget"] >= MEAN) & (found["least of all"] >= LEAST)]
    lines = f"a mean of {MEAN} at every budget and none of the campaigns below {LEAST} at any budget"
    told = f"{_listed(list(keeps))} {'keep' if len(keeps) > 1 else 'keeps'} to {lines}."
    if not len(keeps):
        told = f"No policy keeps to {lines}."
    untuned = [name for name in found.index if ", tuned" not in str(name)]
    best = found.loc[untuned, ["least mean of a budget", "least of all"]].sub([MEAN, LEAST]).min(axis=1).idxmax()
    part = table[table["policy"] == best]
    return f"{told} The nearest with default settings is {best}: {_shortfalls(part)}"


def _shortfalls(part: pd.DataFrame) -> str:
    """Name a policy's budgets whose mean, and campaigns whose result, lie below the lines."""
    means = part.groupby("budget_label", sort=False)[RATIO].mean()
    low = [f"{label} {value:.4f}" for label, value in means.items() if value < MEAN]
    rows = part[part[RATIO] < LEAST]
    cells = [
        f"{row.campaign} at {row.budget_label} {getattr(row, RATIO):.3f} [{row.r_over_rstar_low:.3f}, "
        f"{row.r_over_rstar_high:.3f}]"
        for row in rows.itertuples()
    ]
    of_means = f"means by budget {', '.join(f'{value:.4f}' for value in means)}"
    return f"{of_means}; below {MEAN}: {_listed(low)}; below {LEAST}: {_listed(cells)}."


def markdown(found: pd.DataFrame) -> str:
    """Return the table as Markdown."""
    lines = [f"| {' | '.join(found.columns)} |", "|---|" + "---:|" * (len(found.columns) - 1)]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in found.itertuples(index=False)]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
