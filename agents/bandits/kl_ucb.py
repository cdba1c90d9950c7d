"""KL-UCB (Garivier, Cappe 2011): the largest mean q that the pulls allow, N kl(mean, q) <= ln t + c ln ln t.

Tighter than UCB1 where rewards are rare, as clicks are: its bound knows that a small mean has a small variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.bandits.arms import LadderBandit
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray

HALVINGS = 40
"""Bisections: the bound is exact to 2^-40."""
LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Config:
    """weight: how many Bernoulli trials one tick counts for; ticks vary less than coins do."""

    weight: float = 100.0

    def build(self, past: Past) -> KlUcb:
        """Build the policy."""
        return KlUcb(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"weight": Span(1.0, 320.0)}


class KlUcb(LadderBandit):
    """Pulls the arm with the highest bound; every arm once first."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the weight."""
        super().__init__(past)
        self.config = config

    def choose(self, rng: np.random.Generator) -> int:  # noqa: ARG002 - deterministic
        """Return the arm of the highest index."""
        weight = self.config.weight
        return kl_arm(weight * self.statistics.pulls, weight * self.statistics.sums)


def kl_arm(pulls: FloatArray, sums: FloatArray, c: float = 0.0) -> int:
    """Return the arm with the highest KL bound at time t = all pulls; an arm never pulled comes first."""
    if (pulls == 0).any():
        return int(np.argmin(pulls))
    time = max(float(pulls.sum()), 2.0)
    level = np.log(time) + c * np.log(max(np.log(time), 1.0))
    return int(np.argmax(kl_bound(sums / pulls, level / pulls)))


def kl_bound(means: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the largest q (...) with kl(mean, q) <= level, by bisection on mean..1, of all arms at once."""
    low, high = np.array(means, dtype=np.float64), np.ones_like(means)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        inside = bernoulli_kl(means, middle) <= levels
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def bernoulli_kl(p: FloatArray, q: FloatArray) -> FloatArray:
    """Return the Kullback-Leibler divergence between coins of p and of q, 0 ln 0 being 0."""
    p, q = np.clip(p, LEAST, 1.0 - LEAST), np.clip(q, LEAST, 1.0 - LEAST)
    return np.asarray(p * np.log(p / q) + (1.0 - p) * np.log((1.0 - p) / (1.0 - q)))
