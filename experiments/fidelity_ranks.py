"""Does the simulator choose the policy that is best in reality? The same policies valued in both, and their orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from bidpilot.experiments.config import budget_label
from bidpilot.experiments.evaluate import play_all
from bidpilot.experiments.fidelity_correlation import kendall, mid_ranks, spearman
from bidpilot.experiments.metrics import metric
from bidpilot.experiments.statistics import interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import Campaign
    from bidpilot.experiments.evaluate import Contender, Field

VALUE = "r_over_rstar"
"""What policies are ranked by: the share of the possible, which can be compared from market to market."""


class Measured(NamedTuple):
    """A figure and its bootstrap replicates (b,)."""

    estimate: float
    replicates: FloatArray

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        return interval(*self)

    def less(self, other: Measured) -> Measured:
        """Return the difference, replicate by replicate: paired where both were drawn alike."""
        count = min(len(self.replicates), len(other.replicates))
        return Measured(self.estimate - other.estimate, self.replicates[:count] - other.replicates[:count])

    def over(self, other: Measured) -> Measured:
        """Return the ratio of two figures of one market; undefined where the other is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            estimate = float(np.divide(self.estimate, other.estimate))
            replicates = self.replicates / other.replicates
        return Measured(estimate, np.where(np.isfinite(replicates), replicates, np.nan))


@dataclass(frozen=True)
class Side:
    """What policies did in one market.

    records: (e, len(RECORD)) of its episodes, by policy and budget share. point, draws: (1, e) and (b, e), how often
    each of them counts in the estimate and in each bootstrap replicate, see evaluate.Field.
    """

    records: dict[tuple[str, float], FloatArray]
    point: FloatArray
    draws: FloatArray

    @classmethod
    def played(
        cls,
        contenders: Sequence[Contender],
        field: Field,
        campaigns: Mapping[float, Campaign],
        rng: np.random.Generator,
    ) -> Side:
        """Play contenders with every campaign (by budget share) on the episodes of a market."""
        return cls(play_all(contenders, field, campaigns, rng).records, field.point, field.draws)

    def measured(self, policy: str, share: float, what: str = VALUE) -> Measured:
        """Return one of metrics.METRICS of a policy at a budget."""
        records = self.records[policy, share]
        return Measured(float(metric(what, records, self.point)[0]), metric(what, records, self.draws))


def rank_table(contenders: Sequence[Contender], shares: Sequence[float], simulated: Side, real: Side) -> pd.DataFrame:
    """Return the value of every policy in the simulator and in reality, a row for each policy and budget.

    Columns: budget, budget_label, policy, role, settings (JSON), then for simulated and real: value (R/R*), with
    _low, _high (95 %) and _rank (1 is the best; ties share their mean).
    """
    rows = []
    for share in shares:
        found = {}
        for where, side in (("simulated", simulated), ("real", real)):
            values = [side.measured(each.name, share) for each in contenders]
            ranks = mid_ranks(-np.array([value.estimate for value in values]))
            found[where] = list(zip(values, ranks, strict=True))
        for i, each in enumerate(contenders):
            row = {"budget": share, "budget_label": budget_label(share), "policy": each.name, "role": each.role}
            row |= {"settings": each.settings(share)}
            for where, pairs in found.items():
                value, rank = pairs[i]
                low, high = np.clip(value.interval, 0.0, 1.0).tolist()
                row |= {where: value.estimate, f"{where}_low": low, f"{where}_high": high, f"{where}_rank": rank}
            rows.append(row)
    return pd.DataFrame(rows)


def agreement_table(names: Sequence[str], shares: Sequence[float], simulated: Side, real: Side) -> pd.DataFrame:
    """Return how far the orders of policies agree, a row for each budget; intervals are 95 %, over both sides' days.

    Columns: budget, budget_label, policies (their number), spearman, kendall, regret, each with _low and _high; winner
    (in the simulator), best (in reality), chance (what picking one at random would lose). regret (@1): R/R* that is
    lost in reality by taking the simulator's winner; in a replicate, both are chosen anew.
    """
    rows = []
    for share in shares:
        row: dict[str, object] = {"budget": share, "budget_label": budget_label(share), "policies": len(names)}
        (point, draws), (real_point, real_draws) = (_matrix(side, names, share) for side in (simulated, real))
        count = min(len(draws), len(real_draws))
        for what, formula, low_end, high_end in SCORES:
            estimate = float(formula(point, real_point)[0])
            ends = interval(estimate, formula(draws[:count], real_draws[:count]))
            row |= {what: estimate}
            row |= dict(zip((f"{what}_low", f"{what}_high"), np.clip(ends, low_end, high_end).tolist(), strict=True))
        row |= {"winner": names[int(point[0].argmax())], "best": names[int(real_point[0].argmax())]}
        rows.append(row | {"chance": float(real_point.max() - real_point.mean())})
    return pd.DataFrame(rows)


def regret(simulated: FloatArray, real: FloatArray) -> FloatArray:
    """Return what is lost of real values (b, p) by choosing the highest simulated one (b, p): (b,), at least 0."""
    chosen = np.take_along_axis(real, simulated.argmax(axis=-1)[:, None], axis=-1)[:, 0]
    return np.asarray(real.max(axis=-1) - chosen)


SCORES: tuple[tuple[str, Callable[[FloatArray, FloatArray], FloatArray], float, float], ...] = (
    ("spearman", spearman, -1.0, 1.0),
    ("kendall", kendall, -1.0, 1.0),
    ("regret", regret, 0.0, 1.0),
)
"""Figures of agreement: name, formula of values (b, p) in both, and the range that an interval may not leave."""


def _matrix(side: Side, names: Sequence[str], share: float) -> tuple[FloatArray, FloatArray]:
    """Return the values of policies, (1, p) estimated and (b, p) replicated."""
    values = [side.measured(name, share) for name in names]
    return np.array([[value.estimate for value in values]]), np.column_stack([value.replicates for value in values])
