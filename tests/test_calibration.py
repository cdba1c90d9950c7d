"""Calibration: predicted = actual, order kept, and nothing drastic on little evidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from bidpilot.ctr.calibration import IDENTITY, Calibrator, fit_calibrator, logit, pava, settle, sigmoid
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.metrics import ece, ece_noise


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 5)), min_size=1, max_size=40))
def test_pava_is_isotonic_regression(rows: list[tuple[float, float]]) -> None:
    y, weight = (np.array(column) for column in zip(*rows, strict=True))
    means, mass = pava(y, weight)
    expected = IsotonicRegression().fit_transform(np.arange(len(y)), y, sample_weight=weight)
    blocks = np.searchsorted(np.cumsum(mass), np.cumsum(weight) - 0.5 * weight)
    np.testing.assert_allclose(means[blocks], expected, atol=1e-9)


def test_a_distorted_model_is_set_right() -> None:
    rng = np.random.default_rng(0)
    truth = rng.beta(1.0, 20.0, 80_000)
    wrong = np.clip(3.0 * truth**1.3, 0, 1)
    y = rng.random(80_000) < truth
    fit, test = slice(0, 40_000), slice(40_000, None)
    calibrated = fit_calibrator(wrong[fit], y[fit])(wrong[test])
    _, bound = ece_noise(calibrated, rng)
    assert ece(y[test], wrong[test]) > 3 * bound
    assert ece(y[test], calibrated) < 1.5 * bound
    assert calibrated[np.argsort(wrong[test])].tolist() == sorted(calibrated.tolist())


def test_predicted_equals_actual_where_it_was_fitted() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(1.0, 20.0, 5_000)
    y = rng.random(5_000) < 0.5 * p
    assert fit_calibrator(p, y)(p).sum() == pytest.approx(y.sum(), rel=1e-6)


def test_few_positives_scale_the_odds_none_change_nothing() -> None:
    p = np.full(1_000, 0.02)
    assert fit_calibrator(p, np.zeros(1_000)) is IDENTITY
    y = np.zeros(1_000)
    y[:10] = 1
    few = fit_calibrator(p, y)
    assert len(few.x) == 1
    assert 0.01 < few(p)[0] < 0.02, "between the evidence and the model, for ten clicks"


def test_probabilities_stay_inside_and_the_order_strict() -> None:
    p = np.linspace(0.0, 1.0, 2_001)
    y = np.random.default_rng(2).random(2_001) < p
    calibrated = fit_calibrator(p, y)(p)
    assert ((calibrated > 0) & (calibrated < 1)).all()
    assert (np.diff(calibrated[1:-1]) > 0).all()


def test_predictions_that_tell_nothing_are_flattened_but_keep_their_order() -> None:
    """Isotonic regression of a falling relation is flat; odds scaling alone would leave the spread."""
    rng = np.random.default_rng(4)
    p = rng.uniform(0.05, 0.6, 20_000)
    calibrated = fit_calibrator(p, rng.random(20_000) < 0.7 - p)(p)
    assert np.ptp(calibrated) < 0.2 * np.ptp(p)
    order = np.argsort(p)
    assert (np.diff(calibrated[order])[np.diff(p[order]) > 0] > 0).all()


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(InputError, match=r"row 1 has 1\.2"):
        fit_calibrator(np.array([0.5, 1.2]), np.array([0, 1]))


def test_saved_knots_are_the_calibrator() -> None:
    p = np.linspace(0.01, 0.9, 500)
    calibrator = fit_calibrator(p, np.random.default_rng(3).random(500) < p)
    again = Calibrator.from_arrays(calibrator.to_arrays())
    assert (again(p) == calibrator(p)).all()


def test_noise_is_not_kept_and_evidence_is() -> None:
    """Over many draws of a true model: level and deciles nearer to the truth; of a wrong one: what is found stays."""
    apart: dict[str, list[float]] = {"isotonic": [], "settled": []}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        p = sigmoid(rng.normal(-3.9, 0.8, 30_000))
        y = rng.random(30_000) < p
        fitted = fit_calibrator(p, y)
        for name, each in (("isotonic", fitted), ("settled", settle(fitted, p, y, 4.0 * y.sum()))):
            apart[name].append(float(np.mean((logit(each(p)) - logit(p)) ** 2)))
    assert np.mean(apart["settled"]) < 0.35 * np.mean(apart["isotonic"])
    rng = np.random.default_rng(0)
    p = sigmoid(rng.normal(-3.0, 1.0, 60_000))
    wrong = sigmoid(1.6 * logit(p) + 1.0)
    y = rng.random(60_000) < p
    fitted = fit_calibrator(wrong, y)
    settled = settle(fitted, wrong, y, 4.0 * y.sum())
    assert settled(wrong) == pytest.approx(fitted(wrong), rel=0.15)
    assert settled(wrong).sum() == pytest.approx(y.sum(), rel=0.02)
    assert (np.diff(settled.y) > 0).all()


def test_the_level_is_kept_as_far_as_chance_does_not_explain_it() -> None:
    """Some 2,000 clicks, odds 1.1 times as predicted: d = log 1.1, v = 1.25 / 2,000, kept 1 - v / d^2 = 0.93 of it."""
    p = np.tile([0.02, 0.03, 0.05, 0.08], 10_000) / 0.99
    y = np.zeros(len(p), dtype=bool)
    for rate in np.unique(p):
        rows = np.flatnonzero(p == rate)
        odds = 1.1 * rate / (1 - rate)
        y[rows[: round(len(rows) * odds / (1 + odds))]] = True
    fitted = fit_calibrator(p, y)
    settled = settle(fitted, p, y, 4.0 * y.sum())
    kept = 1.0 - 1.25 / y.sum() / np.log(1.1) ** 2
    assert logit(settled(p)) - logit(p) == pytest.approx(kept * np.log(1.1), rel=0.02)
    assert settle(IDENTITY, p, y) is IDENTITY
