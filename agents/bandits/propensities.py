"""Probabilities of arms, to be logged with a decision: off-policy estimates divide by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

DRAWS = 2_000
"""Draws of a Monte Carlo estimate: its standard error is at most 0.011."""


def shares(draws: FloatArray) -> FloatArray:
    """Return how often each arm is the best of draws (n, arms), floored at 1 / n and summing to 1.

    The floor keeps weights finite for an arm that was pulled though no draw favoured it.
    """
    count, arms = draws.shape
    found = np.maximum(np.bincount(draws.argmax(axis=1), minlength=arms) / count, 1.0 / count)
    return np.asarray(found / found.sum())


def mixed(best: int, explore: float, arms: int) -> FloatArray:
    """Return the probabilities (arms,) of an arm pulled unless, with probability `explore`, any arm is."""
    found = np.full(arms, explore / arms)
    found[best] += 1.0 - explore
    return found
