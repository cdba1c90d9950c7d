"""A small network in NumPy whose last hidden layer gives features: two tanh layers and a linear output, by Adam."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

BETAS = (0.9, 0.999)
TINY = 1e-8


class Network:
    """Predicts one number from inputs (n, d). weights: three matrices, each with a last row for the constant."""

    def __init__(self, inputs: int, hidden: tuple[int, int], rng: np.random.Generator) -> None:
        """Draw the first weights, normal of variance 1 / inputs of the layer."""
        sizes = (inputs, *hidden, 1)
        self.weights: list[FloatArray] = [
            np.vstack([rng.normal(0.0, below**-0.5, (below, above)), np.zeros(above)])
            for below, above in pairwise(sizes)
        ]

    def features(self, inputs: FloatArray) -> FloatArray:
        """Return the last hidden layer (n, hidden[1] + 1), a constant 1 at its end."""
        first, second, _ = self.weights
        return _one(np.tanh(_one(np.tanh(_one(inputs) @ first)) @ second))

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Return the predictions (n,)."""
        return np.asarray(self.features(inputs) @ self.weights[2][:, 0])

    def gradient(self, inputs: FloatArray, targets: FloatArray, decay: float) -> list[FloatArray]:
        """Return the gradient of mean squared error / 2 + decay / 2 x squared weights, by matrix."""
        first, second, third = self.weights
        x = _one(inputs)
        h = _one(np.tanh(x @ first))
        z = _one(np.tanh(h @ second))
        error = (z @ third - targets[:, None]) / len(targets)
        below = (error @ third[:-1].T) * (1.0 - z[:, :-1] ** 2)
        lowest = (below @ second[:-1].T) * (1.0 - h[:, :-1] ** 2)
        parts = (x.T @ lowest, h.T @ below, z.T @ error)
        return [part + decay * weight for part, weight in zip(parts, self.weights, strict=True)]

    def fit(self, inputs: FloatArray, targets: FloatArray, steps: int, rate: float, decay: float) -> None:
        """Take steps of Adam (Kingma, Ba 2015) on all rows at once, from the weights at hand."""
        means, squares = ([np.zeros_like(weight) for weight in self.weights] for _ in range(2))
        for step in range(1, steps + 1):
            slopes = self.gradient(inputs, targets, decay)
            means = [mean + (1.0 - BETAS[0]) * (slope - mean) for mean, slope in zip(means, slopes, strict=True)]
            squares = [each + (1.0 - BETAS[1]) * (s * s - each) for each, s in zip(squares, slopes, strict=True)]
            size = rate * np.sqrt(1.0 - BETAS[1] ** step) / (1.0 - BETAS[0] ** step)
            moves = [size * mean / (np.sqrt(each) + TINY) for mean, each in zip(means, squares, strict=True)]
            self.weights = [weight - move for weight, move in zip(self.weights, moves, strict=True)]


def _one(rows: FloatArray) -> FloatArray:
    return np.hstack([rows, np.ones((len(rows), 1))])
