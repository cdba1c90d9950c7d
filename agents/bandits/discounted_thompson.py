"""Discounted Thompson sampling: past successes and failures fade, for markets that change within the day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.agents.bandits.arms import FACTORS
from bidpilot.agents.bandits.statistics import Statistics
from bidpilot.agents.bandits.thompson import Thompson
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space


@dataclass(frozen=True, slots=True)
class Config:
    """weight: Bernoulli trials per tick. decay: share of the past that is kept at every tick."""

    weight: float = 10.0
    decay: float = 0.99

    def build(self, past: Past) -> Thompson:
        """Build the policy."""
        return Thompson(self.weight, past, Statistics(len(FACTORS), self.decay))

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"weight": Span(5.0, 320.0), "decay": Span(0.95, 0.999, log=False)}
