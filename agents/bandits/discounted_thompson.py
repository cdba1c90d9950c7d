"""Discounted Thompson sampling: past successes and failures fade, for markets that change within the day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bidpilot.agents.bandits.thompson import Thompson

if TYPE_CHECKING:
    from bidpilot.agents.base import Past


@dataclass(frozen=True, slots=True)
class Config:
    """weight: Bernoulli trials per tick. decay: share of the past that is kept at every tick."""

    weight: float = 10.0
    decay: float = 0.99

    def build(self, past: Past) -> Thompson:
        """Build the policy."""
        return Thompson(self.weight, past, self.decay)

    @classmethod
    def candidates(cls) -> tuple[Self, ...]:
        """Return the settings that tuning tries, the default first."""
        grid = [(w, d) for w in (10.0, 40.0, 160.0) for d in (0.97, 0.99, 0.997)]
        return (cls(), *(cls(w, d) for w, d in grid if (w, d) != (cls().weight, cls().decay)))
