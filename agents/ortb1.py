"""ORTB1, optimal bids under the win curve w(b) = b / (c + b) (Zhang, Yuan, Wang, KDD 2014).

bid = sqrt(c V + c^2) - c with V = worth / lambda. c is fitted to past prices; lambda is the one at which past days
spend the budget. The derivation charges the bid itself: at second price, where the optimum is linear, it bids too
little for what is worth most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.curve import FixedLevel
from bidpilot.agents.space import Span
from bidpilot.ctr.types import MICROS, UNWINNABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day, Opportunities

HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Config:
    """factor: multiple of the level, 1 / lambda, at which past days spend the budget."""

    factor: float = 1.0

    def build(self, past: Past) -> Ortb1:
        """Build the policy."""
        return Ortb1(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"factor": Span(0.5, 2.0)}


class Ortb1(FixedLevel):
    """Attributes: c, the bid that wins half of the auctions, currency."""

    def __init__(self, config: Config, past: Past) -> None:
        """Fit the win curve."""
        super().__init__(past, config.factor)
        self.config, self.c = config, half_point(prices_of(past.days), 1.0)

    def curve(self, worth: FloatArray, seen: Opportunities) -> FloatArray:  # noqa: ARG002 - one curve for all
        """Return the bids (n,)."""
        return ortb1(worth, self.c)


def ortb1(worth: FloatArray, c: float) -> FloatArray:
    """Return argmax over b of w(b) (worth - b), w(b) = b / (c + b), for worths (n,); all in one unit of money."""
    return np.asarray(worth * c / (np.sqrt(c * worth + c**2) + c))


def half_point(price: FloatArray, power: float) -> float:
    """Return the most likely c of the win curve w(b) = b^power / (c^power + b^power), for prices (n,).

    Prices then follow a log-logistic law; the likelihood is greatest where the mean of w over the prices is 1/2.
    """
    known = price[price > 0]
    low, high = np.log(known.min()), np.log(known.max())
    log = np.log(known)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        share = np.sum(1.0 / (1.0 + np.exp(power * (middle - log)))) / len(price)
        low, high = (middle, high) if share > 1 / 2 else (low, middle)
    return float(np.exp(low))


def prices_of(days: Sequence[Day]) -> FloatArray:
    """Return the past prices (n,), currency, that a bid can reach."""
    price = np.concatenate([day.hidden.price for day in days])
    return np.asarray(price[price < UNWINNABLE] / MICROS)
