"""What a sweep showed, in sentences no stronger than the intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import pandas as pd

    from bidpilot.experiments.sweep.grid import SweepConfig

FEW = 5
MANY = 20
"""One of so many 95 % intervals misses the truth."""


def sentences(summary: pd.DataFrame, config: SweepConfig) -> list[str]:
    """Return sentences about each scenario and budget, then what holds of all of them."""
    lines = []
    for _, group in summary.groupby(["scenario", "budget"], sort=False):
        lines += [_best(group), *_against(group), *_broken(group)]
    return [*lines, *_how(summary, config)]


def _best(group: pd.DataFrame) -> str:
    row = max(group.to_dict("records"), key=lambda row: float(row["score"]))
    where = f"{row['scenario']}, budget {row['budget_label']}"
    return f"{where}: {row['policy']} scores most, {row['score']:.4f} {_range(row, 'score', 4)}, of {len(group)}"


def _against(group: pd.DataFrame) -> list[str]:
    """Say which policies score more than the one they are compared with, which less, and of which nobody can tell."""
    others = group[(group["policy"] != group["against"]) & group["difference_low"].notna()]
    if others.empty:
        return []
    more, less = others["difference_low"] > 0, others["difference_high"] < 0
    parts = [
        f"{verdict} {', '.join(map(_gap, chosen.to_dict('records')))}"
        for verdict, chosen in (
            ("more", others[more]),
            ("less", others[less]),
            ("cannot be told", others[~more & ~less]),
        )
        if len(chosen)
    ]
    return [f"  points against {group['against'].iloc[0]}: {'; '.join(parts)}"]


def _broken(group: pd.DataFrame) -> list[str]:
    broken = group[group["limit_broken"] > 0]
    told = ", ".join(f"{row['policy']} {100 * row['limit_broken']:.0f} %" for row in broken.to_dict("records"))
    return [f"  cost limit broken by more than a tenth, share of days: {told}"] if told else []


def _how(summary: pd.DataFrame, config: SweepConfig) -> list[str]:
    """Say what was played, and what the figures are not."""
    how = (
        "A score is R/R*, less a penalty where a cost limit is broken: the mean over "
        f"seeds ({len(config.seeds)}) x days ({config.days}). Differences are paired by seed and day. "
        "[95 % intervals, resampling seeds and days within]"
    )
    lines = [how]
    if len(config.seeds) < FEW:
        lines.append(f"So few seeds say little of other pasts, and intervals may be too narrow: give --seeds {FEW}.")
    told = int((summary["policy"] != summary["against"]).sum())
    if told >= MANY:
        chance = round(told / MANY)
        lines.append(f"Of {told} intervals of differences, some {chance} would miss 0 by chance where there were none.")
    own = f" but for {', '.join(config.settings)}" if config.settings else ""
    lines.append(f"Policies play their default settings{own}; bidpilot tune searches better ones.")
    return lines


def _gap(row: dict[Hashable, Any]) -> str:
    points = {name: 100 * row[name] for name in ("difference", "difference_low", "difference_high")}
    return f"{row['policy']} {points['difference']:+.2f} {_range(points, 'difference', 2)}"


def _range(row: Mapping[Any, Any], name: str, digits: int) -> str:
    return f"[{row[f'{name}_low']:.{digits}f}, {row[f'{name}_high']:.{digits}f}]"
