"""Discounted UCB (Garivier, Moulines 2011): UCB1 on pulls and sums that both fade.

Their index is mean + 2 B sqrt(xi ln n / N) with n the faded number of all pulls; width = B sqrt(2 xi).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.agents.bandits.arms import FACTORS
from bidpilot.agents.bandits.statistics import Statistics
from bidpilot.agents.bandits.ucb1 import Ucb1
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space


@dataclass(frozen=True, slots=True)
class Config:
    """width: multiple of UCB1's confidence bonus. decay: share of the past that is kept at every tick."""

    width: float = 0.03
    decay: float = 0.99

    def build(self, past: Past) -> Ucb1:
        """Build the policy."""
        return Ucb1(self.width, past, Statistics(len(FACTORS), self.decay))

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"width": Span(0.01, 1.0), "decay": Span(0.95, 0.999, log=False)}
