"""Sliding-window bandits (Garivier, Moulines 2011): the last ticks alone count; Thompson sampling or UCB1 on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.agents.bandits.arms import FACTORS
from bidpilot.agents.bandits.statistics import Window
from bidpilot.agents.bandits.thompson import Thompson
from bidpilot.agents.bandits.ucb1 import Ucb1
from bidpilot.agents.space import Choice, Span
from bidpilot.ctr.errors import unknown

if TYPE_CHECKING:
    from bidpilot.agents.bandits.arms import LadderBandit
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space

RULES = ("thompson", "ucb")


@dataclass(frozen=True, slots=True)
class Config:
    """length: ticks that are remembered. rule: one of RULES. weight: of a tick in "thompson". width: of "ucb".

    Raises InputError for an unknown rule.
    """

    length: int = 200
    rule: str = "thompson"
    weight: float = 100.0
    width: float = 0.3

    def __post_init__(self) -> None:
        """Check the rule."""
        if self.rule not in RULES:
            raise unknown("rule of a sliding window", self.rule, RULES)

    def build(self, past: Past) -> LadderBandit:
        """Build the policy."""
        window = Window(len(FACTORS), self.length)
        return Thompson(self.weight, past, window) if self.rule == "thompson" else Ucb1(self.width, past, window)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"length": Span(40, 280, whole=True), "rule": Choice(RULES), "weight": Span(5.0, 320.0)}
