"""LinUCB (Li, Chu, Langford, Schapire 2010): x' theta + width sqrt(x' A^-1 x), a linear model of what arms bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.bandits.contextual import CONTEXT, FORMS, ContextualBandit, design_of
from bidpilot.agents.bandits.regression import Regression
from bidpilot.agents.space import Choice, Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray


@dataclass(frozen=True, slots=True)
class Config:
    """width: multiple of the bonus; noise of the rewards times 1 to 3. ridge: of the regression. form: of FORMS.

    "shared": one model in which arms are a number; "disjoint": one model per arm. Raises InputError for another form.
    """

    width: float = 0.03
    ridge: float = 1.0
    form: str = "shared"

    def build(self, past: Past) -> LinUcb:
        """Build the policy."""
        return LinUcb(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"width": Span(0.01, 1.0), "ridge": Span(0.3, 30.0), "form": Choice(FORMS)}


class LinUcb(ContextualBandit[Regression]):
    """Pulls the arm with the highest bound in the state at hand."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the settings."""
        self.config = config
        super().__init__(past, Regression(self.features(np.zeros(CONTEXT)).shape[1], config.ridge))

    def features(self, context: FloatArray) -> FloatArray:
        """Return the features (arms, d) of the arms in a context (CONTEXT,)."""
        return design_of(self.config.form, context)

    def choose(self, rng: np.random.Generator) -> int:  # noqa: ARG002 - deterministic
        """Return the arm of the highest index."""
        return linear_bound_arm(self.statistics, self.design, self.config.width)


def linear_bound_arm(model: Regression, design: FloatArray, width: float) -> int:
    """Return the row of a design (arms, d) with the highest x' theta + width sqrt(x' A^-1 x)."""
    return int(np.argmax(design @ model.weights + width * model.widths(design)))
