"""A sweep's rows as one table, and its summary: scores, and differences paired by seed and day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bidpilot.experiments.config import budget_label
from bidpilot.experiments.statistics import interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.sweep.cell import Cell

REPLICATES = 2000
BOOTSTRAP = (110,)
"""Key of the stream of the bootstrap."""

BROKEN = 1.1
"""A cost limit is broken where the cost of worth is above so many times the limit, as in the suite."""


def rows_table(cells: Sequence[tuple[Cell, list[dict[str, Any]]]]) -> pd.DataFrame:
    """Return one row per cell and day, in the cells' order."""
    rows = []
    for cell, played in cells:
        where = {"scenario": cell.name, "budget": cell.budget, "budget_label": budget_label(cell.budget)}
        where |= {"policy": cell.policy, "seed": cell.seed}
        rows += [where | row | {"cell": cell.key} for row in played]
    return pd.DataFrame(rows)


def summary_table(rows: pd.DataFrame, against: str) -> pd.DataFrame:
    """Return one row per scenario, budget and policy: its mean score, and the difference to `against`, both with 95 %.

    Differences are means over pairs: the same seed and day, so the same people. Seeds are resampled, and within them
    days; with one seed, days alone. Where `against` was not played everywhere, only common pairs count.
    """
    found = []
    shares: Any = rows.groupby(["scenario", "budget"], sort=False)
    for (scenario, budget), group in shares:
        scores = group.pivot_table(index=["seed", "day"], columns="policy", values="score", sort=False)
        for policy, played in group.groupby("policy", sort=False):
            row: dict[str, Any] = {"scenario": scenario, "budget": budget, "budget_label": budget_label(budget)}
            row |= {"policy": policy, "against": against, "pairs": len(played)}
            row |= _with_interval("score", scores[policy].dropna())
            row |= _difference(scores, str(policy), against)
            row["utilisation"] = played["spend"].sum() / played["budget_currency"].sum()
            row["limit_broken"] = float((played["excess"] > BROKEN).mean())
            found.append(row)
    return pd.DataFrame(found)


def _difference(scores: pd.DataFrame, policy: str, against: str) -> dict[str, float]:
    """Return the paired difference to the policy compared with; NaN where that was not played."""
    if against not in scores:
        return dict.fromkeys(("difference", "difference_low", "difference_high", "ahead"), float("nan"))
    gap = (scores[policy] - scores[against]).dropna()
    return _with_interval("difference", gap) | {"ahead": float((gap > 0).mean())}


def _with_interval(name: str, values: pd.Series[float]) -> dict[str, float]:
    """Return the mean of values by (seed, day) with its interval."""
    mean = float(values.mean())
    low, high = interval(mean, _replicates(values)) if len(values) > 1 else (float("nan"), float("nan"))
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def _replicates(values: pd.Series[float]) -> FloatArray:
    """Return bootstrap replicates (REPLICATES,) of the mean: seeds are drawn, and of each as many days as it has.

    The draws depend on the numbers of seeds and days alone, so they are the same for all policies.
    """
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=BOOTSTRAP))
    groups = list(_by_seed(values))
    often = rng.multinomial(len(groups), np.full(len(groups), 1.0 / len(groups)), size=REPLICATES)
    total = np.zeros(REPLICATES)
    for part, count in zip(groups, often.T, strict=True):
        weights = rng.multinomial(count * len(part), np.full(len(part), 1.0 / len(part)))
        total += weights @ part
    days = often @ np.array([len(part) for part in groups])
    return np.asarray(total / days)


def _by_seed(values: pd.Series[float]) -> Iterator[FloatArray]:
    for _, part in values.groupby(level="seed", sort=False):
        yield np.asarray(part, dtype=np.float64)
