"""From records to a table: scores with intervals, paired differences, and whether each claim holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.experiments.statistics import LEVEL, day_weights
from bidpilot.experiments.suite.play import RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.suite.families import AnyFamily, Claim

REPLICATES = 2000
EARNED, BEST, EXCESS, SPEND, BUDGET = (RECORD.index(name) for name in ("earned", "best", "excess", "spend", "budget"))
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
        low, high = np.percentile(draws[1:], LEVEL)
        return cls(float(draws[0]), float(low), float(high))


class Draws:
    """The bootstrap of one family: days are drawn jointly for all policies, training seeds within each learner."""

    def __init__(self, records: Mapping[str, FloatArray], rng: np.random.Generator) -> None:
        """Draw the weights. records: (seeds, budgets, days, len(RECORD)) by policy."""
        days = next(iter(records.values())).shape[2]
        point = np.ones((1, days))
        self._days = np.concatenate([point, day_weights(days, REPLICATES, rng)])
        self._seeds = {name: _seed_weights(len(r), rng) for name, r in records.items()}
        self.records = records

    def score(self, name: str) -> FloatArray:
        """Return R / R* (1 + replicates, budgets): ratios of sums over days, a mean over seeds."""
        records = self.records[name]
        earned = np.einsum("sbd,rd->rsb", records[..., EARNED], self._days)
        best = np.einsum("sbd,rd->rsb", records[..., BEST], self._days)
        return np.asarray(np.einsum("rsb,rs->rb", earned / best, self._seeds[name]))


def _seed_weights(seeds: int, rng: np.random.Generator) -> FloatArray:
    """Return the weight of each seed (1 + replicates, seeds) in the estimate and in each replicate."""
    return np.concatenate([np.ones((1, seeds)), day_weights(seeds, REPLICATES, rng)]) / seeds


def score_table(family: AnyFamily, roles: Mapping[str, str], shares: Sequence[float], draws: Draws) -> pd.DataFrame:
    """Return one row per policy and budget (and one for their mean, budget 0) with scores and what they came from."""
    rows = []
    for name, role in roles.items():
        record = draws.records[name]
        score = draws.score(name)
        columns = [(0.0, score.mean(axis=1), record)]
        columns += [(share, score[:, i], record[:, i : i + 1]) for i, share in enumerate(shares)]
        for share, column, part in columns:
            estimate = Estimate.of(column)
            rows.append(
                {
                    "family": family.name,
                    "policy": name,
                    "role": role,
                    "budget": share,
                    "score": estimate.mean,
                    "low": estimate.low,
                    "high": estimate.high,
                    "utilisation": part[..., SPEND].sum() / part[..., BUDGET].sum(),
                    "limit_broken": float((part[..., EXCESS] > BROKEN).mean()),
                    "seeds": len(record),
                    "days": record.shape[2],
                }
            )
    return pd.DataFrame(rows)


def claim_rows(family: AnyFamily, learner: str, draws: Draws) -> pd.DataFrame:
    """Return one row per claim of the family: the difference, its interval, what was asked, and whether it holds."""
    return pd.DataFrame([_judge(family, claim, learner, draws) for claim in family.claims])


def _judge(family: AnyFamily, claim: Claim, learner: str, draws: Draws) -> dict[str, object]:
    """Compare with the rival that scored best on the test days, which favours the rivals."""
    rivals = {name: draws.score(name).mean(axis=1) for name in claim.against}
    best = max(rivals, key=lambda name: rivals[name][0])
    found = Estimate.of(draws.score(learner).mean(axis=1) - rivals[best])
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
    }
