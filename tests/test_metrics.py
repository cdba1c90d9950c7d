"""Quality of predicted probabilities: known answers, and the same numbers as scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from bidpilot.ctr.metrics import auc, ece, ece_noise, log_loss, predicted_over_actual, reliability, wilson


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
