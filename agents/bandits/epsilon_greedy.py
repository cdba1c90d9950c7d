"""Decaying epsilon-greedy (Auer, Cesa-Bianchi, Fischer 2002, section 3): explore with min(1, c K / (d^2 t))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.bandits.arms import LadderBandit
from bidpilot.agents.bandits.propensities import mixed
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray


@dataclass(frozen=True, slots=True)
class Config:
    """c: how much to explore. d: a lower bound on what the best arm is ahead of the next, 0..1."""

    c: float = 0.02
    d: float = 0.2

    def build(self, past: Past) -> EpsilonGreedy:
        """Build the policy."""
        return EpsilonGreedy(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"c": Span(0.002, 0.5)}


class EpsilonGreedy(LadderBandit):
    """Pulls the arm of the highest mean, or now and then any arm."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the settings."""
        super().__init__(past)
        self.config = config

    @property
    def explore(self) -> float:
        """The probability of exploring in the coming tick."""
        return exploration(float(self.statistics.pulls.sum()) + 1.0, len(self.factors), self.config.c, self.config.d)

    def choose(self, rng: np.random.Generator) -> int:
        """Return the arm to pull."""
        return greedy_arm(self.statistics.pulls, self.statistics.sums, self.explore, rng)

    def probabilities(self, pulled: int) -> FloatArray:  # noqa: ARG002 - it does not depend on what was drawn
        """Return the exact probabilities (arms,)."""
        best = best_arm(self.statistics.pulls, self.statistics.sums)
        return mixed(best, self.explore, len(self.factors))


def exploration(time: float, arms: int, c: float, d: float) -> float:
    """Return min(1, c K / (d^2 t)), the probability of exploring at time t = 1, 2, ..."""
    return min(1.0, c * arms / (d * d * time))


def best_arm(pulls: FloatArray, sums: FloatArray) -> int:
    """Return the arm of the highest mean; one that was never pulled counts as 0, the first of equals wins."""
    return int(np.argmax(sums / np.where(pulls > 0, pulls, 1.0)))


def greedy_arm(pulls: FloatArray, sums: FloatArray, explore: float, rng: np.random.Generator) -> int:
    """Return any arm with probability `explore`, else the one of the highest mean."""
    if rng.random() < explore:
        return int(rng.integers(len(pulls)))
    return best_arm(pulls, sums)
