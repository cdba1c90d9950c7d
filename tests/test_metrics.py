"""Quality of predicted probabilities: known answers, and the same numbers as scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from bidpilot.ctr.metrics import (
    auc,
    auc_interval,
    ece,
    ece_noise,
    log_loss,
    mean_interval,
    predicted_over_actual,
    reliability,
    wilson,
)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9)), min_size=2, max_size=60))
def test_auc_and_log_loss_are_scikit_learns_ties_included(rows: list[tuple[int, int]]) -> None:
    y, p = np.array([r[0] for r in rows]), np.array([r[1] / 10 for r in rows])
    assert log_loss(y, p) == pytest.approx(sklearn_log_loss(y, p, labels=[0, 1]))
    if 0 < y.sum() < len(y):
        assert auc(y, p) == pytest.approx(roc_auc_score(y, p))
    else:
        assert np.isnan(auc(y, p))


def test_a_perfect_model_stays_within_its_noise_floor_and_a_wrong_one_does_not() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(1.0, 30.0, 50_000)
    y = rng.random(50_000) < p
    floor, bound = ece_noise(p, rng)
    assert 0 < floor < bound
    assert ece(y, p) < bound * 1.2
    assert ece(y, np.minimum(1.3 * p, 1.0)) > 2 * bound


def test_predicted_over_actual_covers_one_for_the_truth() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        p = rng.beta(1.0, 30.0, 2_000)
        _, low, high = predicted_over_actual(rng.random(2_000) < p, p)
        covered += low <= 1.0 <= high
    assert covered >= 180
    assert predicted_over_actual(np.array([1, 0, 0, 1]), np.full(4, 0.25))[0] == pytest.approx(0.5)


def test_the_reliability_table_adds_up() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(1_000)
    y = rng.random(1_000) < p
    table = reliability(y, p)
    assert table["count"].sum() == 1_000
    assert (table["count"] * table["actual"]).sum() == pytest.approx(y.sum())
    assert ((table["low"] <= table["actual"]) & (table["actual"] <= table["high"])).all()


def test_wilson_known_answer() -> None:
    """Ten of a hundred: 0.0552 .. 0.1744, as printed in textbooks."""
    low, high = wilson(10, 100)
    assert (float(low), float(high)) == pytest.approx((0.0552, 0.1744), abs=1e-4)


def test_the_interval_of_the_auc_covers_it_as_often_as_it_says() -> None:
    """Two normal laws one apart: the AUC is Phi(1 / sqrt 2), and 95 % of the intervals hold it."""
    truth, rng, held = 0.7602499389065233, np.random.default_rng(0), 0
    for _ in range(400):
        y = rng.random(300) < 0.3
        _, low, high = auc_interval(y, rng.normal(y * 1.0, 1.0))
        held += low <= truth <= high
    assert 0.92 < held / 400 < 0.98


def test_the_interval_of_the_auc_with_ties_is_that_of_the_pairs() -> None:
    """DeLong's variance by its definition, over all pairs."""
    rng = np.random.default_rng(1)
    y, p = rng.random(60) < 0.4, rng.integers(0, 6, 60) / 6.0
    kernel = (p[y][:, None] > p[~y]) + 0.5 * (p[y][:, None] == p[~y])
    spread = 1.959963984540054 * np.sqrt(kernel.mean(1).var(ddof=1) / y.sum() + kernel.mean(0).var(ddof=1) / (~y).sum())
    area, low, high = auc_interval(y, p)
    np.testing.assert_allclose([area, low, high], [kernel.mean(), kernel.mean() - spread, kernel.mean() + spread])


def test_intervals_of_too_few_rows_are_nan() -> None:
    assert np.isnan(auc_interval([1, 0], np.array([0.2, 0.1]))[1:]).all()
    assert np.isnan(mean_interval(np.ones(1))[1:]).all()
    assert np.isnan(mean_interval(np.zeros(0))[0])
