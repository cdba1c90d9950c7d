"""Sample-ratio mismatch: are the arms as large as the split should have made them? If not, the test is broken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

ALARM = 0.001
"""p-value below which the split counts as broken: a false alarm stops a good test, so it must be rare."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Counts against planned shares: chi-square statistic, its p-value, and what was expected of each arm."""

    statistic: float
    p_value: float
    expected: dict[str, float]

    @property
    def broken(self) -> bool:
        """Whether the arms' sizes are no accident."""
        return self.p_value < ALARM


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float] | None = None) -> SampleRatio:
    """Compare the units of each arm with the planned shares (equal ones when None) by Pearson's chi-square.

    Raises InputError for fewer than two arms, or shares that are not of the same arms, positive and summing to 1.
    """
    planned = dict.fromkeys(counts, 1.0 / max(len(counts), 1)) if shares is None else dict(shares)
    if len(counts) < 2 or sum(counts.values()) == 0:  # noqa: PLR2004 - one arm is no comparison
        raise InputError(f"expected at least two arms with units, got {dict(counts)}")
    if planned.keys() != counts.keys():
        raise InputError(f"shares are given for {sorted(planned)}, the arms are {sorted(counts)}; name each arm once")
    if min(planned.values()) <= 0.0 or not math.isclose(sum(planned.values()), 1.0, abs_tol=1e-6):
        raise InputError(f"shares must be above 0 and sum to 1, got {planned}")
    total = sum(counts.values())
    expected = {name: share * total for name, share in planned.items()}
    statistic = sum((counts[name] - expected[name]) ** 2 / expected[name] for name in counts)
    return SampleRatio(statistic, chi_square_tail(statistic, len(counts) - 1), expected)


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Return P(chi-square with whole degrees of freedom >= 1 exceeds the statistic >= 0).

    The upper incomplete gamma function of a whole or half-whole order is a finite sum (Abramowitz & Stegun 26.4.4-5).
    """
    half = statistic / 2.0
    odd = freedom % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    term = math.exp(-half) * (math.sqrt(half) / math.gamma(1.5) if odd else 1.0)
    for step in range((freedom - odd) // 2):
        total += term
        term *= half / (step + 1.0 + odd / 2.0)
    return min(total, 1.0)
