"""The choice of tau and lambda: a good model is trusted where weights are wild, a bad one is not."""

from __future__ import annotations

import numpy as np

from bidpilot.experiments.ope.bandit import shrunk, switched
from bidpilot.experiments.ope.tuning import choose_lambda, choose_tau, estimated_error


def rows(bias: float) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    """Return weight, reward, base, fitted: weights of 0.4 and, one in a hundred, of 60; the model is off by bias."""
    rng = np.random.default_rng(0)
    weight, rate = np.full(5_000, 0.4), np.full(5_000, 0.5)
    weight[:50] = 60.0
    reward = rng.permutation(np.tile([0.0, 1.0], 2_500))
    reward[:50] = np.tile([0.0, 1.0], 25)  # the large weights show no bias of a true model by chance
    return weight, reward, rate + bias, rate + bias


def test_a_true_model_is_trusted_and_a_false_one_is_corrected() -> None:
    good, bad = rows(0.0), rows(0.4)
    assert switched(good[0], choose_tau(*good)).max() < 60.0
    assert switched(bad[0], choose_tau(*bad)).max() == 60.0
    assert shrunk(good[0], choose_lambda(*good)).max() < 20.0
    assert shrunk(bad[0], choose_lambda(*bad)).max() > 50.0


def test_the_error_of_full_weights_is_their_variance() -> None:
    weight, reward, base, fitted = rows(0.1)
    spread = (base + weight * (reward - fitted)).var() / 5_000
    assert estimated_error(weight, weight, reward, base, fitted) == spread


def test_the_choice_has_the_lowest_estimated_error() -> None:
    each = rows(0.05)
    tau = choose_tau(*each)
    chosen = estimated_error(switched(each[0], tau), *each)
    assert all(chosen <= estimated_error(switched(each[0], other), *each) for other in (0.0, 0.4, 60.0, np.inf))
