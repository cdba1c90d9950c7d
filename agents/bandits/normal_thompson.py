"""Thompson sampling with a Normal-Inverse-Gamma posterior per arm: mean and variance of a reward both unknown.

For rewards that are amounts, not coins. Formulas: Murphy 2007, "Conjugate Bayesian analysis of the Gaussian
distribution", section 6 (there as kappa, alpha, beta).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bidpilot.agents.bandits.arms import LadderBandit, Sampled
from bidpilot.agents.bandits.statistics import Statistics
from bidpilot.agents.space import Span

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray


class Prior(NamedTuple):
    """Before any pull: the mean, worth `pulls` of them, and a reward's spread, worth 2 x shape of them.

    The mean reward is N(mean, variance / pulls), the variance InverseGamma(shape, shape x spread^2).
    """

    mean: float = 0.5
    pulls: float = 1.0
    shape: float = 1.0
    spread: float = 0.25


@dataclass(frozen=True, slots=True)
class Config:
    """pulls: what the prior mean 0.5, the controller's own, counts for. spread: of a tick's reward, a priori."""

    pulls: float = 0.5
    spread: float = 0.05

    def build(self, past: Past) -> NormalThompson:
        """Build the policy."""
        return NormalThompson(Prior(pulls=self.pulls, spread=self.spread), past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"pulls": Span(0.1, 10.0), "spread": Span(0.01, 0.3)}


class NormalThompson(Sampled[Statistics], LadderBandit):
    """Pulls the arm whose sampled mean is highest."""

    def __init__(self, prior: Prior, past: Past) -> None:
        """Keep the prior."""
        super().__init__(past)
        self.prior = prior

    def draws(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return draws (count, arms) of the mean rewards."""
        return normal_draws(self.statistics, self.prior, count, rng)


def posterior(statistics: Statistics, prior: Prior) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the posterior's mean, kappa, alpha and beta (arms,)."""
    pulls, sums = statistics.pulls, statistics.sums
    kappa, alpha = prior.pulls + pulls, prior.shape + 0.5 * pulls
    mean = (prior.pulls * prior.mean + sums) / kappa
    some = np.where(pulls > 0, pulls, 1.0)
    within = np.maximum(statistics.squares - sums * sums / some, 0.0)
    between = prior.pulls * pulls / kappa * (sums / some - prior.mean) ** 2
    beta = prior.shape * prior.spread**2 + 0.5 * (within + np.where(pulls > 0, between, 0.0))
    return mean, kappa, alpha, beta


def normal_draws(statistics: Statistics, prior: Prior, count: int, rng: np.random.Generator) -> FloatArray:
    """Return draws (count, arms) of the means: a variance from InverseGamma(alpha, beta), then a normal."""
    mean, kappa, alpha, beta = posterior(statistics, prior)
    shape = (count, len(mean))
    variance = beta / rng.standard_gamma(np.broadcast_to(alpha, shape))
    return np.asarray(mean + np.sqrt(variance / kappa) * rng.normal(size=shape))
