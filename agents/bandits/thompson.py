"""Thompson sampling with Beta posteriors (Chapelle, Li 2011); rewards in 0..1 count as fractional successes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.bandits.arms import LadderBandit, Sampled
from bidpilot.agents.bandits.statistics import Statistics
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray


@dataclass(frozen=True, slots=True)
class Config:
    """weight: how many Bernoulli trials one tick counts for; ticks vary less than coins do."""

    weight: float = 10.0

    def build(self, past: Past) -> Thompson:
        """Build the policy."""
        return Thompson(self.weight, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"weight": Span(1.0, 320.0)}


class Thompson(Sampled[Statistics], LadderBandit):
    """Pulls the arm whose sampled mean is highest."""

    def __init__(self, weight: float, past: Past, blank: Statistics | None = None) -> None:
        """Keep the weight; blank: as LadderBandit."""
        super().__init__(past, blank)
        self.weight = weight

    def draws(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return draws (count, arms) of the mean rewards."""
        return beta_draws(self.weight * self.statistics.pulls, self.weight * self.statistics.sums, count, rng)


def beta_draws(pulls: FloatArray, sums: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Return draws (count, arms) from Beta(1 + successes, 1 + failures)."""
    return rng.beta(1.0 + np.maximum(sums, 0.0), 1.0 + np.maximum(pulls - sums, 0.0), (count, len(pulls)))


def thompson_arm(pulls: FloatArray, sums: FloatArray, rng: np.random.Generator) -> int:
    """Return the arm with the highest draw from Beta(1 + successes, 1 + failures)."""
    return int(np.argmax(beta_draws(pulls, sums, 1, rng)))
