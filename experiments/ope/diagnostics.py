"""Can these weights say anything? What is always told beside an estimate, and when there is none.

No number is given where
- the effective sample size is below LEAST_ESS: an interval, by bootstrap or by the normal law, rests on the spread of
  some thirty terms at least; below, the one large weight that was not drawn is missing from the interval too;
- more than MOST_UNSUPPORTED of the target's mass lies on actions that the log cannot show: what they earn is unknown.
  At one percent, and if they earn what the others do, the error is one percent of the value, less than the intervals
  of such logs; above, the estimate is one of another policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray
    from bidpilot.experiments.ope.logged import LoggedBandit

LEAST_ESS = 30.0
MOST_UNSUPPORTED = 0.01
CAP = 10.0
"""A weight above this counts as large."""
ERRORS = 3.0
"""Standard errors that the mean weight may be from 1."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What stands in place of an estimate that would mean nothing; sentence: why, and what to do."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What weights (n,) are worth.

    mean, error: of the weights and its standard error. ess: (sum w)^2 / sum w^2. largest: share of the largest weight
    in the sum. large: share of weights above CAP. unsupported: mean target mass on actions that the log cannot show.
    NaN where not reckoned, as in gap, gap_error: DM less DR and its standard error.
    """

    rows: int
    mean: float
    error: float
    ess: float
    largest: float
    large: float
    unsupported: float = float("nan")
    gap: float = float("nan")
    gap_error: float = float("nan")

    @property
    def mean_is_one(self) -> bool:
        """Whether the weights' mean is within ERRORS standard errors of 1, as it is where propensities are right."""
        return abs(self.mean - 1.0) <= ERRORS * self.error + 1e-9

    def refusal(self) -> Refusal | None:
        """Return why estimates by these weights would mean nothing; None where they mean something."""
        if self.ess < LEAST_ESS:
            return Refusal(
                f"these weights say nothing: ESS {self.ess:.3g} of {self.rows:,} (at least {LEAST_ESS:.0f} needed); "
                "gather more rows, or ask about a policy nearer to the logged one"
            )
        return self.support_refusal()

    def support_refusal(self) -> Refusal | None:
        """Return why no estimate at all, a model's neither, would mean anything; None where one may."""
        if not self.unsupported > MOST_UNSUPPORTED:
            return None
        return Refusal(
            f"this log cannot say: {self.unsupported:.1%} of the target's decisions are actions that it never shows "
            f"(at most {MOST_UNSUPPORTED:.0%}); log with a policy that tries them"
        )

    def sentences(self) -> list[str]:
        """Return the diagnostics in words, for a reader who decides whether to believe the table."""
        verdict = "1 within" if self.mean_is_one else "NOT 1 within"
        lines = [
            f"mean weight {self.mean:.3f}, standard error {self.error:.3f}: {verdict} {ERRORS:.0f} standard errors"
            + ("" if self.mean_is_one else "; the propensities are not those the actions were drawn with"),
            f"effective sample size {self.ess:,.0f} of {self.rows:,} rows ({self.ess / self.rows:.1%})",
            f"largest weight: {self.largest:.2%} of their sum; {self.large:.2%} of the weights are above {CAP:g}",
        ]
        if np.isfinite(self.unsupported):
            lines.append(f"target's mass on actions the log never shows: {self.unsupported:.2%}")
        if np.isfinite(self.gap):
            far = abs(self.gap) > ERRORS * self.gap_error
            word = "the reward model is biased: trust DR before DM" if far else "the reward model is not refuted"
            lines.append(f"DM less DR {self.gap:+.3g}, standard error {self.gap_error:.2g}: {word}")
        return lines


def of_weights(weight: FloatArray, unsupported: float = float("nan")) -> Diagnostics:
    """Return the diagnostics of weights (n,), of a bandit's rows or of whole episodes."""
    n, total, square = len(weight), float(weight.sum()), float((weight**2).sum())
    return Diagnostics(
        rows=n,
        mean=total / n,
        error=float(weight.std()) / n**0.5,
        ess=total**2 / square if square > 0 else 0.0,
        largest=float(weight.max()) / total if total > 0 else 1.0,
        large=float((weight > CAP).mean()),
        unsupported=unsupported,
    )


def diagnose(log: LoggedBandit, target: FloatArray) -> Diagnostics:
    """Return the diagnostics of a target (n, arms) on a log; the gap between DM and DR is left open."""
    missing = float((target * ~shown(log)).sum(axis=1).mean())
    return of_weights(log.weights(target), missing)


def shown(log: LoggedBandit) -> BoolArray:
    """Return whether the log can show an action on a row (n, arms).

    Where the logging distribution is known: whether it is positive. Else whether the action occurs at all in the log,
    at the row's position: what never occurs may have had no chance, and in either case nothing is known of it.
    """
    if log.behaviour is not None:
        return np.asarray(log.behaviour > 0)
    place = np.zeros(len(log), np.int64) if log.position is None else np.unique(log.position, return_inverse=True)[1]
    seen = np.zeros((int(place.max()) + 1, log.arms), dtype=np.bool_)
    seen[place, log.actions] = True
    return np.asarray(seen[place])
