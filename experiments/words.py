"""Results in plain words: the sentences that come first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

NEGLIGIBLE = 0.0005


def summary(results: pd.DataFrame, facts: dict[str, object]) -> list[str]:
    """Return sentences about a comparison: what it was played on, the learner at each budget, and what is left."""
    lines = [f"Compared on {facts.get('evaluated_on', 'the evaluation days')}."]
    learner = results[results["role"] == "learner"]
    for _, row in learner.iterrows():
        lines.append(_against_best(row))
    lines += _headroom(results)
    return lines


def _against_best(row: pd.Series) -> str:
    """Say how the learner did at one budget against the best baseline there."""
    gain, low, high = 100 * row["difference"], 100 * row["difference_low"], 100 * row["difference_high"]
    where, rival = f"At budget {row['budget_label']}", row["best_baseline"]
    size = f"{abs(gain):.2f} % of the possible"
    between = f"(95 % interval {low:+.2f} to {high:+.2f} points)"
    if row["difference_low"] > 0:
        return f"{where} {row['policy']} earns {size} more than {rival}, the best baseline there {between}."
    if row["difference_high"] < 0:
        return f"{where} {row['policy']} earns {size} less than {rival}, the best baseline there {between}."
    return f"{where} {row['policy']} and {rival}, the best baseline there, cannot be told apart {between}."


def _headroom(results: pd.DataFrame) -> list[str]:
    """Say how near the best came to what was possible, overall."""
    lines = []
    oracle = results[results["role"] == "oracle"]
    played = results[results["role"] != "oracle"]
    best = played.loc[played.groupby("budget")["r_over_rstar"].idxmax()]
    if len(best):
        low, high = 100 * best["r_over_rstar"].min(), 100 * best["r_over_rstar"].max()
        names = ", ".join(dict.fromkeys(best["policy"]))
        lines.append(f"The best policy at each budget ({names}) earns {low:.1f} to {high:.1f} % of what was possible.")
    if len(oracle):
        worst = 100 * (1 - oracle["r_over_rstar"].min())
        if worst >= 100 * NEGLIGIBLE:
            lines.append(
                f"Even one multiplier with perfect foresight misses up to {worst:.1f} %: that part needs better "
                "predictions or different multipliers for different people, not better pacing."
            )
    return lines
