"""Results in plain words: the sentences that come first, no stronger than the intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

VERDICTS = ("earns more than", "earns less than", "cannot be told from")
NEGLIGIBLE = 0.0005


def summary(results: pd.DataFrame, facts: dict[str, object]) -> list[str]:
    """Return sentences about a comparison: the finding, each budget, what is left to gain, what it was played on."""
    learners = results[results["role"] == "learner"]
    lines = [_finding(results, learners), *_claims(facts.get("claims"))]
    lines += [_at_budget(row) for _, row in learners[learners["difference"].notna()].iterrows()]
    lines += _headroom(results, truth_known=bool(facts.get("truth_known")))
    return [*lines, f"Compared on {facts.get('evaluated_on', 'the evaluation days')}."]


def _finding(results: pd.DataFrame, learners: pd.DataFrame) -> str:
    """Say in one sentence at which budgets the learner is ahead; without a learner, which policy is best."""
    if learners.empty:
        best = _best(results)
        named = ", ".join(f"{row['policy']} (budget {row['budget_label']})" for _, row in best.iterrows())
        return f"The best policy played is {named}."
    if learners["difference"].isna().all():
        return f"{learners['policy'].iloc[0]} was played without a baseline beside it."
    parts = []
    for verdict in VERDICTS:
        where = [str(row["budget_label"]) for _, row in learners.iterrows() if _verdict(row) == verdict]
        if where:
            parts.append(f"{verdict} the best tuned baseline at budget {', '.join(where)}")
    return f"{learners['policy'].iloc[0]} {'; '.join(parts)}."


def _verdict(row: pd.Series) -> str:
    if row["difference_low"] > 0:
        return VERDICTS[0]
    return VERDICTS[1] if row["difference_high"] < 0 else VERDICTS[2]


def _at_budget(row: pd.Series) -> str:
    """Say how the learner did at one budget against the best baseline there: in per cent of it, then in points."""
    gain, low, high = (f"{100 * row[name]:+.2f}" for name in ("difference", "difference_low", "difference_high"))
    return (
        f"At budget {row['budget_label']} {row['policy']} earns {_relative(row)}. That is "
        f"{100 * row['r_over_rstar']:.1f} % of what was possible, {gain} points against {row['best_baseline']} "
        f"(95 % interval {low} to {high})."
    )


def _relative(row: pd.Series) -> str:
    """Say the difference to the best baseline in per cent of what that earned, with its interval."""
    rival = max(row["r_over_rstar"] - row["difference"], NEGLIGIBLE)
    gain, low, high = (100 * row[name] / rival for name in ("difference", "difference_low", "difference_high"))
    told = f"{abs(gain):.1f} % {'more' if gain >= 0 else 'less'} than {row['best_baseline']}, between "
    if low < 0 < high:
        return f"{told}{-low:.1f} less and {high:.1f} more"
    near, far = sorted((abs(low), abs(high)))
    return f"{told}{near:.1f} and {far:.1f}"


def _claims(outcomes: object) -> list[str]:
    """Say, where a learner is held against several baselines and budgets, what Holm leaves of it (claims.outcome)."""
    lines = []
    for learner, found in outcomes.items() if isinstance(outcomes, dict) else ():
        if found["claims"] > 1:
            lines.append(
                f"Against every baseline at every budget these are {found['claims']} claims at once: {learner} earns "
                f"more in {found['ahead']} and less in {found['behind']} at p < 0.05, each taken alone; of them "
                f"{found['ahead_holm']} and {found['behind_holm']} are left when all are held together (Holm)."
            )
    return lines


def _headroom(results: pd.DataFrame, *, truth_known: bool) -> list[str]:
    """Say how near the best came to what was possible, what pacing cannot bring, and what the yardstick is."""
    best, oracle = _best(results), results[results["role"] == "oracle"]
    lines = []
    if len(best):
        low, high = 100 * best["r_over_rstar"].min(), 100 * best["r_over_rstar"].max()
        reach = f"{high:.1f} %" if high - low < 100 * NEGLIGIBLE else f"{low:.1f} to {high:.1f} %"
        lines.append(f"The best policy at each budget earns {reach} of what was possible in hindsight.")
    if not truth_known:
        lines.append(
            "In a replayed log what was possible is reckoned by the model's own predictions: these shares judge the "
            "spending of the budget, not the predictions; realised clicks and value stand beside them."
        )
    missed = 100 * (1 - oracle["r_over_rstar"].min()) if len(oracle) and truth_known else 0.0
    if missed >= 100 * NEGLIGIBLE:
        lines.append(
            f"One bid multiplier with perfect foresight misses up to {missed:.1f} %: only better predictions, or "
            "different multipliers for different people, can bring that."
        )
    return lines


def _best(results: pd.DataFrame) -> pd.DataFrame:
    """Return the row of the best policy at each budget, the oracle aside."""
    played = results[results["role"] != "oracle"]
    return played.loc[played.groupby("budget")["r_over_rstar"].idxmax()]
