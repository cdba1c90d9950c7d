"""UCB1 (Auer, Cesa-Bianchi, Fischer 2002): mean + sqrt(2 ln t / pulls), rewards in 0..1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.bandits.arms import LadderBandit
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.bandits.statistics import Statistics
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray


@dataclass(frozen=True, slots=True)
class Config:
    """width: multiple of the confidence bonus; 1 is the proven one, rewards of small variance allow less."""

    width: float = 0.3

    def build(self, past: Past) -> Ucb1:
        """Build the policy."""
        return Ucb1(self.width, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"width": Span(0.01, 1.0)}


class Ucb1(LadderBandit):
    """Pulls the arm with the highest upper confidence bound; every arm once first."""

    def __init__(self, width: float, past: Past, blank: Statistics | None = None) -> None:
        """Keep the width; blank: as LadderBandit."""
        super().__init__(past, blank)
        self.width = width

    def choose(self, rng: np.random.Generator) -> int:  # noqa: ARG002 - deterministic
        """Return the arm of the highest index."""
        return upper_bound_arm(self.statistics.pulls, self.statistics.sums, self.width)


def upper_bound_arm(pulls: FloatArray, sums: FloatArray, width: float = 1.0) -> int:
    """Return the arm with the highest mean + width sqrt(2 ln t / pulls); an arm never pulled comes first.

    Faded pulls may sum to less than 1, where the logarithm is taken to be 0.
    """
    if (pulls <= 0).any():
        return int(np.argmin(pulls))
    return int(np.argmax(sums / pulls + width * np.sqrt(2.0 * np.log(max(pulls.sum(), 1.0)) / pulls)))
