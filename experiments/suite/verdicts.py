"""From records to a table: scores with intervals, paired differences, and whether each claim holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.experiments.abtest.multiple import holm
from bidpilot.experiments.aggregates import Stratified, percentiles, thresholds
from bidpilot.experiments.statistics import p_value
from bidpilot.experiments.suite.play import RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.suite.families import AnyFamily, Claim

EARNED, BEST, EXCESS, SPEND, BUDGET = (RECORD.index(name) for name in ("earned", "best", "excess", "spend", "budget"))
NOTHING = 1e-12
BROKEN = 1.1
"""A cost limit is broken where the cost of worth is above so many times the limit."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: FloatArray) -> Estimate:
        """Take the estimate (first entry) and the percentiles of its replicates (the rest)."""
        low, high = percentiles(draws)
        return cls(float(draws[0]), float(low), float(high))


class Draws:
    """The bootstrap of one family: days are drawn jointly for all policies, training seeds within each learner."""

    def __init__(self, records: Mapping[str, FloatArray], rng: np.random.Generator) -> None:
        """Draw the weights. records: (seeds, budgets, days, len(RECORD)) by policy."""
        days = next(iter(records.values())).shape[2]
        self._drawn = Stratified({name: len(record) for name, record in records.items()}, days, rng)
        self.records = records

    def score(self, name: str) -> FloatArray:
        """Return R / R* (1 + replicates, budgets): ratios of sums over days, a mean over seeds."""
        earned, best = (self._drawn.over_days(self.records[name][..., column]) for column in (EARNED, BEST))
        return self._drawn.over_seeds(name, earned / best)

    def by_day(self, name: str) -> FloatArray:
        """Return R / R* (seeds, budgets, days) of single days; 0 where nothing was to be had."""
        record = self.records[name]
        return np.asarray(record[..., EARNED] / np.maximum(record[..., BEST], NOTHING))

    def iqm(self, name: str) -> FloatArray:
        """Return the interquartile mean of R / R* over seeds, days and budgets (1 + replicates, 1 + budgets).

        The first column pools all budgets, the others are one budget each.
        """
        scores = self.by_day(name)
        parts = [scores, *(scores[:, i : i + 1] for i in range(scores.shape[1]))]
        return np.stack([self._drawn.iqm(name, part) for part in parts], axis=1)

    def profile(self, name: str, taus: FloatArray) -> FloatArray:
        """Return P(R / R* > tau) over seeds, budgets and days (1 + replicates, t)."""
        return self._drawn.profile(name, self.by_day(name), taus)

    def improvement(self, name: str, other: str) -> FloatArray:
        """Return P(a policy does better than another on the same budget and day), ties a half, (1 + replicates,)."""
        return self._drawn.improvement(name, self.by_day(name), other, self.by_day(other))


def score_table(family: AnyFamily, roles: Mapping[str, str], shares: Sequence[float], draws: Draws) -> pd.DataFrame:
    """Return one row per policy and budget (and one for all of them, budget 0) with scores and what they came from.

    score: R / R*, ratios of sums over days, means over seeds and budgets. iqm: the interquartile mean of single days'.
    """
    rows = []
    for name, role in roles.items():
        record = draws.records[name]
        score, middle = draws.score(name), draws.iqm(name)
        columns = [(0.0, score.mean(axis=1), record)]
        columns += [(share, score[:, i], record[:, i : i + 1]) for i, share in enumerate(shares)]
        for place, (share, column, part) in enumerate(columns):
            estimate, robust = Estimate.of(column), Estimate.of(middle[:, place])
            rows.append(
                {
                    "family": family.name,
                    "policy": name,
                    "role": role,
                    "budget": share,
                    "score": estimate.mean,
                    "low": estimate.low,
                    "high": estimate.high,
                    "iqm": robust.mean,
                    "iqm_low": robust.low,
                    "iqm_high": robust.high,
                    "utilisation": part[..., SPEND].sum() / part[..., BUDGET].sum(),
                    "limit_broken": float((part[..., EXCESS] > BROKEN).mean()),
                    "seeds": len(record),
                    "days": record.shape[2],
                }
            )
    return pd.DataFrame(rows)


def profile_table(family: AnyFamily, draws: Draws) -> pd.DataFrame:
    """Return P(R / R* > tau) of every policy over seeds, budgets and days: family, policy, tau, share, low, high."""
    taus = thresholds(max(float(draws.by_day(name).max()) for name in draws.records))
    parts = []
    for name in draws.records:
        shares = draws.profile(name, taus)
        low, high = percentiles(shares)
        columns = {"tau": taus, "share": shares[0], "low": low, "high": high}
        parts.append(pd.DataFrame({"family": family.name, "policy": name} | columns))
    return pd.concat(parts, ignore_index=True)


def together(claims: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return all families' claims as one table, p_holm adjusted for all of them."""
    table = pd.concat(claims, ignore_index=True)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=np.float64)))


def claim_rows(family: AnyFamily, learner: str, draws: Draws) -> pd.DataFrame:
    """Return one row per claim of the family: the difference, its interval, what was asked, and whether it holds.

    p: two-sided, of "no difference", from the same replicates. probability_of_improvement: see Draws.improvement.
    """
    return pd.DataFrame([_judge(family, claim, learner, draws) for claim in family.claims])


def _judge(family: AnyFamily, claim: Claim, learner: str, draws: Draws) -> dict[str, object]:
    """Compare with the rival that scored best on the test days, which favours the rivals."""
    rivals = {name: draws.score(name).mean(axis=1) for name in claim.against}
    best = max(rivals, key=lambda name: rivals[name][0])
    gained = draws.score(learner).mean(axis=1) - rivals[best]
    found, better = Estimate.of(gained), Estimate.of(draws.improvement(learner, best))
    enough = claim.least == 0.0 or found.mean >= claim.least
    holds = enough and (found.low > 0 if claim.strict else found.high >= 0)
    return {
        "family": family.name,
        "learner": learner,
        "against": best,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "asked": claim.least,
        "strict": claim.strict,
        "holds": holds,
        "probability_of_improvement": better.mean,
        "poi_low": better.low,
        "poi_high": better.high,
        "p": p_value(found.mean, gained[1:]),
    }
