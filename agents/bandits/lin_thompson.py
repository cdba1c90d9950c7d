"""Linear Thompson sampling (Agrawal, Goyal 2013): pull the best arm of weights drawn from N(theta, s^2 A^-1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.bandits.arms import Sampled
from bidpilot.agents.bandits.contextual import CONTEXT, FORMS, ContextualBandit, design_of
from bidpilot.agents.bandits.regression import Regression
from bidpilot.agents.space import Choice, Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray


@dataclass(frozen=True, slots=True)
class Config:
    """spread: s, the standard deviation of a tick's reward. ridge: of the regression. form: as lin_ucb."""

    spread: float = 0.02
    ridge: float = 1.0
    form: str = "shared"

    def build(self, past: Past) -> LinThompson:
        """Build the policy."""
        return LinThompson(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"spread": Span(0.01, 0.5), "ridge": Span(0.3, 30.0), "form": Choice(FORMS)}


class LinThompson(ContextualBandit[Regression], Sampled[Regression]):
    """Pulls the arm that is best by a draw of the weights."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the settings."""
        self.config = config
        super().__init__(past, Regression(self.features(np.zeros(CONTEXT)).shape[1], config.ridge))

    def features(self, context: FloatArray) -> FloatArray:
        """Return the features (arms, d) of the arms in a context (CONTEXT,)."""
        return design_of(self.config.form, context)

    def draws(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return draws (count, arms) of what the arms bring in the state at hand."""
        return np.asarray(self.statistics.draws(count, self.config.spread, rng) @ self.design.T)
