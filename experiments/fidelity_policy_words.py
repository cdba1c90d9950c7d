"""What fidelity found about policies, in plain words and as tables for the terminal."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bidpilot.experiments.exploitation import OTHER, OWN, REAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from bidpilot.experiments.fidelity_policies import PolicyStudy

Record = dict[Any, Any]
UNKNOWN = "\N{EN DASH}"


def policy_words(study: PolicyStudy) -> list[str]:
    """Return sentences about the order of policies and about what one loses outside its simulator."""
    lines = [_order(row, study.ranks) for row in study.agreement.to_dict("records")]
    lines.append(f"Reality was {study.reality}. A point is one per cent of the most that the budget could have bought.")
    for _, rows in study.exploitation.groupby("budget", sort=False):
        lines += _loss(rows)
    if study.missing:
        lines.append(f"There is no simulator of other days to play in: {study.missing}.")
    return lines


def _order(row: Mapping[Any, Any], ranks: pd.DataFrame) -> str:
    """Say what choosing by the simulator costs, and how alike the orders are."""
    here = ranks[ranks["budget"] == row["budget"]]
    higher = float((here["simulated"] - here["real"]).mean())
    if row["winner"] == row["best"]:
        chosen = f"the simulator's winner, {row['winner']}, is the best in reality, too"
        cost = f" (the choice loses {_points(row, 'regret')})"
    else:
        chosen = f"the simulator's winner, {row['winner']}, loses {_points(row, 'regret')}"
        cost = f" in reality against {row['best']}, the best there"
    alike = ", ".join(f"{name.title()} {_span(row, name)}" for name in ("spearman", "kendall"))
    return (
        f"Budget {row['budget_label']}: {chosen}{cost}; one of the {row['policies']} policies picked at random would "
        f"lose {100 * row['chance']:.1f}. Their orders agree by {alike} (1: the same order, 0: unrelated). The "
        f"simulator values them {abs(100 * higher):.1f} points {'higher' if higher >= 0 else 'lower'} on average."
    )


def _loss(rows: pd.DataFrame) -> Iterator[str]:
    """Say what the policy earns in its simulator, in that of other days and in reality, beside a reference."""
    policy, reference = (
        {row["market"]: row for row in part.to_dict("records")}
        for part in (rows[rows["role"] != "reference"], rows[rows["role"] == "reference"])
    )
    own, real = policy[OWN], policy[REAL]
    made = "was trained in" if own["role"] == "learner" else "was tuned in, the best baseline,"
    text = (
        f"Budget {own['budget_label']}: {own['policy']} earns {_share(own)} of the possible in the simulator it {made}"
    )
    if OTHER in policy:
        other = policy[OTHER]
        yield (
            f"{text} and {_share(other)} where prices and outcomes follow models of the held-out days: a gap of "
            f"{_points(other, 'gap')}. {_compared(other, reference[OTHER])}"
        )
        text = f"Budget {own['budget_label']}: {own['policy']} earns {_share(real)} in reality"
        yield f"{text}: {_points(real, 'gap')} below its simulator. {_beside(reference)}"
        return
    yield f"{text} and {_share(real)} in reality: a gap of {_points(real, 'gap')}. {_beside(reference)}"


def _compared(other: Record, reference: Record) -> str:
    """Say how much of the gap is the policy's own: what it lost beyond a policy that learned nothing."""
    text = f"{reference['policy']}, which learned nothing there, falls by {100 * reference['gap']:.1f}"
    beyond = _points(other, "beyond")
    if other["beyond_low"] > 0.0:
        return f"{text}: {beyond} of the gap come from living off the simulator's errors."
    if other["beyond_high"] < 0.0:
        return f"{text}, more than it: nothing is lived off the simulator's errors ({beyond} beyond the controller)."
    return f"{text}: beyond that, {beyond} cannot be told from none."


def _beside(reference: Mapping[str, Record]) -> str:
    row = reference[REAL]
    return f"{row['policy']} is {_points(row, 'gap')} below."


def ranks_tables(ranks: pd.DataFrame) -> Iterator[Table]:
    """Yield a table for each budget of fidelity_ranks.csv: values and ranks in both, the simulator's best first."""
    for label, rows in ranks.groupby("budget_label", sort=False):
        title = f"budget {label}: share of the possible, in the simulator and in reality"
        table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
        table.add_column("policy", no_wrap=True)
        for head in ("simulated", "rank", "in reality", "rank", "settings"):
            table.add_column(head, justify="right", no_wrap=True)
        for row in rows.sort_values("simulated_rank", kind="stable").to_dict("records"):
            cells = [(_share(row, where), f"{row[f'{where}_rank']:g}") for where in ("simulated", "real")]
            style = "bold" if row["role"] == "learner" else ""
            table.add_row(row["policy"], *cells[0], *cells[1], _set_up(row), style=style)
        yield table


def losses_table(exploitation: pd.DataFrame) -> Table:
    """Return what the policy and the reference earn from market to market, of exploitation.csv, as a table."""
    table = Table(title="out of its simulator", box=SIMPLE_HEAD, title_justify="left")
    for head in ("budget", "policy", "market"):
        table.add_column(head, no_wrap=True)
    for head in ("share of the possible", "gap, points", "beyond the reference", "clicks/predicted"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in exploitation.to_dict("records"):
        gaps = [_span(row, name, 100.0, 1) for name in ("gap", "beyond")]
        table.add_row(row["budget_label"], row["policy"], row["market"], _share(row), *gaps, _span(row, "clicks_ratio"))
    return table


def _set_up(row: Mapping[Any, Any]) -> str:
    """Say how a policy's settings came about."""
    if row["role"] == "learner":
        return "trained"
    trials = json.loads(row["settings"]).get("trials", 1)
    return "default" if trials == 1 else f"best of {trials}"


def _share(row: Mapping[Any, Any], name: str = "value") -> str:
    return _span(row, name, 100.0, 1, " %")


def _points(row: Mapping[Any, Any], name: str) -> str:
    return _span(row, name, 100.0, 1, " points")


def _span(row: Mapping[Any, Any], name: str, scale: float = 1.0, places: int = 2, unit: str = "") -> str:
    """Write a figure of a row with its interval; a dash where it is undefined."""
    value, low, high = (scale * row[key] for key in (name, f"{name}_low", f"{name}_high"))
    if math.isnan(value):
        return UNKNOWN
    return f"{value:.{places}f}{unit} [{low:.{places}f}, {high:.{places}f}]"
