"""What a comparison claims: the learner against each baseline at each budget, and every policy's performance profile.

All from the records and the draws of the comparison itself, so paired across policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.experiments.abtest.multiple import holm
from bidpilot.experiments.aggregates import above, beats, percentiles, thresholds
from bidpilot.experiments.metrics import RECORD
from bidpilot.experiments.statistics import centred, interval, p_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.evaluate import Contender, Field, Played

COMPARISON = (
    "budget",
    "policy",
    "learner",
    "difference",
    "low",
    "high",
    "probability_of_improvement",
    "poi_low",
    "poi_high",
    "p",
    "p_holm",
)
PROFILE = ("policy", "tau", "share", "low", "high")
SIGNIFICANT = 0.05
EXPECTED, BEST = RECORD.index("expected"), RECORD.index("best")
NOTHING = 1e-12


def comparison_table(
    played: Played, field: Field, contenders: Sequence[Contender], shares: Sequence[float]
) -> pd.DataFrame:
    """Return one row per learner, budget and baseline (policy), with the columns COMPARISON.

    difference, low, high: of R / R*, learner less baseline, as in results.csv. probability_of_improvement, poi_low,
    poi_high: P(learner > baseline) on an episode, ties a half. p: two-sided, of "no difference". p_holm: adjusted for
    all of a learner's rows, see abtest.multiple.holm. No rows without a learner or a baseline.
    """
    baselines, learners = ([c.name for c in contenders if c.role == role] for role in ("baseline", "learner"))
    parts = []
    for learner in learners:
        rows = [_against(played, field, learner, name, share) for share in shares for name in baselines]
        part = pd.DataFrame(rows, columns=list(COMPARISON[:-1]))
        parts.append(part.assign(p_holm=holm(part["p"].to_numpy(dtype=np.float64))))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COMPARISON))


def profile_table(
    played: Played, field: Field, contenders: Sequence[Contender], shares: Sequence[float]
) -> pd.DataFrame:
    """Return P(R / R* > tau) of every policy over episodes and budgets, pooled: the columns PROFILE.

    low, high: a 95 % percentile interval at each tau. Episodes are drawn together for all budgets.
    """
    scores = {c.name: np.stack([_scores(played.records[c.name, share]) for share in shares]) for c in contenders}
    taus = thresholds(max((float(each.max()) for each in scores.values()), default=1.0))
    return pd.concat([_profile(name, each, taus, field) for name, each in scores.items()], ignore_index=True)


def outcome(comparison: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return, for each learner, how many claims were tested and how many differ at 5 %: alone, and after Holm.

    ahead, behind: the learner earns more, or less, by p alone; ahead_holm, behind_holm: that are left.
    """
    counts = {}
    for learner, part in comparison.groupby("learner", sort=False):
        more = part["difference"] > 0
        found = {"claims": int(part["p"].notna().sum())}
        for name, p in (("", part["p"]), ("_holm", part["p_holm"])):
            sure = p < SIGNIFICANT
            found |= {f"ahead{name}": int((sure & more).sum()), f"behind{name}": int((sure & ~more).sum())}
        counts[str(learner)] = found
    return counts


def _against(played: Played, field: Field, learner: str, baseline: str, share: float) -> dict[str, float | str]:
    """Return one row, all but p_holm."""
    mine, theirs = played.records[learner, share], played.records[baseline, share]
    draws = field.draws_of(mine, "r_over_rstar") - field.draws_of(theirs, "r_over_rstar")
    estimate, replicates = float(draws[0]), draws[1:]
    low, high = interval(estimate, replicates)
    won = field.shares_of(beats(_scores(mine), _scores(theirs)))
    least, most = percentiles(won)
    return {
        "budget": share,
        "policy": baseline,
        "learner": learner,
        "difference": estimate,
        "low": low,
        "high": high,
        "probability_of_improvement": float(won[0]),
        "poi_low": float(least),
        "poi_high": float(most),
        "p": p_value(estimate, centred(estimate, replicates)),
    }


def _profile(name: str, scores: FloatArray, taus: FloatArray, field: Field) -> pd.DataFrame:
    """Return a policy's rows. scores: (budgets, e)."""
    shares = field.shares_of(above(scores, taus).mean(axis=0))
    low, high = percentiles(shares)
    return pd.DataFrame({"policy": name, "tau": taus, "share": shares[0], "low": low, "high": high})


def _scores(records: FloatArray) -> FloatArray:
    """Return R / R* of each episode (e,); 0 where nothing was to be had."""
    return np.asarray(records[:, EXPECTED] / np.maximum(records[:, BEST], NOTHING))
