"""Bayesian linear regression, one observation at a time: A = ridge I + sum x x', b = sum r x, theta = A^-1 b.

A^-1 is kept up to date by Sherman and Morrison's formula, O(d^2) an observation; `rebuild` computes it anew from a
batch, as must be done when the features x themselves have changed.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray


class Regression:
    """The posterior of linear weights.

    inverse: (d, d) A^-1. vector: (d,) b. squares: sum of r^2. count: number of observations, faded as they are.
    """

    def __init__(self, size: int, ridge: float = 1.0) -> None:
        """Start with no observation. Raises InputError for a ridge not above 0."""
        if not ridge > 0:
            raise InputError(f"ridge must be above 0, or A has no inverse before {size} observations; got {ridge}")
        self.ridge = ridge
        self.inverse: FloatArray = np.eye(size) / ridge
        self.vector: FloatArray = np.zeros(size)
        self.squares = self.count = 0.0

    def add(self, x: FloatArray, reward: float) -> None:
        """Take in a reward seen at features x (d,)."""
        along = self.inverse @ x
        self.inverse -= np.outer(along, along / (1.0 + x @ along))
        self.vector += reward * x
        self.squares += reward * reward
        self.count += 1.0
        self.__dict__.pop("factor", None)

    def rebuild(self, features: FloatArray, rewards: FloatArray) -> None:
        """Forget everything and take in all of features (n, d) and rewards (n,)."""
        size = features.shape[1]
        self.inverse = np.asarray(np.linalg.inv(self.ridge * np.eye(size) + features.T @ features), np.float64)
        self.vector = features.T @ rewards
        self.squares, self.count = float(rewards @ rewards), float(len(rewards))
        self.__dict__.pop("factor", None)

    @property
    def weights(self) -> FloatArray:
        """The posterior mean (d,) of the weights."""
        return self.inverse @ self.vector

    @cached_property
    def factor(self) -> FloatArray:
        """A lower triangle L (d, d) with L L' = A^-1."""
        return np.asarray(np.linalg.cholesky(0.5 * (self.inverse + self.inverse.T)), np.float64)

    def widths(self, design: FloatArray) -> FloatArray:
        """Return sqrt(x' A^-1 x) (k,) for the rows of a design (k, d)."""
        return np.asarray(np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", design, self.inverse, design), 0.0)))

    def draws(self, count: int, spread: FloatArray | float, rng: np.random.Generator) -> FloatArray:
        """Return draws (count, d) of the weights from N(theta, spread^2 A^-1); spread: one, or (count, 1)."""
        return np.asarray(self.weights + spread * (rng.normal(size=(count, len(self.vector))) @ self.factor.T))

    def variances(self, count: int, shape: float, scale: float, rng: np.random.Generator) -> FloatArray:
        """Return draws (count, 1) of the noise variance; a priori InverseGamma(shape, scale)."""
        left = max(self.squares - float(self.vector @ self.weights), 0.0)
        return np.asarray((scale + 0.5 * left) / rng.standard_gamma(shape + 0.5 * self.count, (count, 1)))
