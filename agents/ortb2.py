"""ORTB2, optimal bids under the win curve w(b) = b^2 / (c^2 + b^2) (Zhang, Yuan, Wang, KDD 2014).

bid = c (x^(1/3) - x^(-1/3)), x = (V + sqrt(c^2 + V^2)) / c, V = worth / lambda: that is 2 c sinh(asinh(V / c) / 3).
The curve suits prices of which few are near 0. All else, what its derivation charges included, is as in ORTB1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.curve import FixedLevel
from bidpilot.agents.ortb1 import half_point, prices_of
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Opportunities


@dataclass(frozen=True, slots=True)
class Config:
    """factor: multiple of the level, 1 / lambda, at which past days spend the budget."""

    factor: float = 1.0

    def build(self, past: Past) -> Ortb2:
        """Build the policy."""
        return Ortb2(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"factor": Span(0.5, 2.0)}


class Ortb2(FixedLevel):
    """Attributes: c, the bid that wins half of the auctions, currency."""

    def __init__(self, config: Config, past: Past) -> None:
        """Fit the win curve."""
        super().__init__(past, config.factor)
        self.config, self.c = config, half_point(prices_of(past.days), 2.0)

    def curve(self, worth: FloatArray, seen: Opportunities) -> FloatArray:  # noqa: ARG002 - one curve for all
        """Return the bids (n,)."""
        return ortb2(worth, self.c)


def ortb2(worth: FloatArray, c: float) -> FloatArray:
    """Return argmax over b of w(b) (worth - b), w(b) = b^2 / (c^2 + b^2), for worths (n,); all in one unit of money."""
    return np.asarray(2.0 * c * np.sinh(np.arcsinh(worth / c) / 3.0))
