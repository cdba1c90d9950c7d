"""Calibration by name: straight lines recover known laws, agree with scipy, and are saved as every calibrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.optimize import minimize

from bidpilot.ctr.calibration import IDENTITY, TOTAL_PRIOR, Calibrator, fit_calibrator, logit, sigmoid
from bidpilot.ctr.calibrators import CALIBRATORS, find_calibrator, fit_platt, fit_temperature
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.metrics import log_loss

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray


def drawn(slope: float, intercept: float, rows: int, seed: int = 0) -> tuple[FloatArray, BoolArray]:
    """Draw predictions and outcomes whose true log-odds are slope x predicted + intercept."""
    rng = np.random.default_rng(seed)
    score = rng.normal(-3.0, 1.0, rows)
    return sigmoid(score), rng.random(rows) < sigmoid(slope * score + intercept)


def line(calibrator: Calibrator) -> tuple[float, float]:
    """Return slope and intercept between two predictions."""
    low, high = logit(calibrator(sigmoid(np.array([-3.0, -2.0]))))
    return high - low, high + 2.0 * (high - low)


def test_platt_recovers_slope_and_intercept() -> None:
    p, y = drawn(0.6, -0.8, 200_000)
    slope, intercept = line(fit_platt(p, y))
    assert slope == pytest.approx(0.6, abs=0.03)
    assert intercept == pytest.approx(-0.8, abs=0.1)


def test_temperature_recovers_the_slope_and_has_no_intercept() -> None:
    p, y = drawn(1.4, 0.0, 200_000, seed=1)
    slope, intercept = line(fit_temperature(p, y))
    assert slope == pytest.approx(1.4, abs=0.02)
    assert intercept == pytest.approx(0.0, abs=1e-9)


def test_platt_is_the_penalised_maximum_that_scipy_finds() -> None:
    p, y = drawn(0.5, 0.3, 400, seed=2)
    score = logit(p)
    middle = score[y].mean()

    def loss(at: FloatArray) -> float:
        raw = (1.0 + at[0]) * (score - middle) + middle + at[1]
        return float((np.logaddexp(0.0, raw) - y * raw).sum() + 0.5 * TOTAL_PRIOR * at @ at)

    slope, level = minimize(loss, np.zeros(2), tol=1e-12).x
    found = line(fit_platt(p, y))
    assert found == pytest.approx((1.0 + slope, level - slope * middle), abs=1e-4)


@pytest.mark.parametrize("name", ["platt", "temperature"])
def test_a_line_beats_isotonic_where_a_line_is_true_and_clicks_are_few(name: str) -> None:
    """Averaged over samples: isotonic regression spends its few clicks on a shape that is not there."""
    gains = []
    for seed in range(20):
        p, y = drawn(0.5, 0.0, 3_000, seed)
        test, truth = drawn(0.5, 0.0, 20_000, seed + 1_000)
        fits = [find_calibrator(method)(p, y)(test) for method in (name, "isotonic")]
        gains.append(log_loss(truth, fits[1]) - log_loss(truth, fits[0]))
    assert np.mean(gains) > 0.0


@pytest.mark.parametrize("name", ["platt", "temperature"])
def test_three_clicks_do_nothing_drastic(name: str) -> None:
    """All clicks above all misses: without a prior the slope would be infinite."""
    p = np.linspace(0.01, 0.05, 500)
    y = np.arange(500) >= 497
    slope, _ = line(find_calibrator(name)(p, y))
    assert 0.5 < slope < 2.0


@pytest.mark.parametrize("name", sorted(CALIBRATORS))
def test_every_way_keeps_the_order_and_is_saved_alike(name: str) -> None:
    p, y = drawn(-0.5, -4.0, 5_000, seed=3)
    calibrator = find_calibrator(name)(p, y)
    order = np.argsort(p)
    assert (np.diff(calibrator(p)[order]) >= 0).all()
    assert (Calibrator.from_arrays(calibrator.to_arrays())(p) == calibrator(p)).all()


@pytest.mark.parametrize("name", sorted(CALIBRATORS))
def test_without_clicks_nothing_changes_and_what_is_no_probability_is_refused(name: str) -> None:
    assert find_calibrator(name)(np.full(100, 0.02), np.zeros(100)) is IDENTITY
    with pytest.raises(InputError, match="row 0 has -1"):
        find_calibrator(name)(np.array([-1.0, 0.5]), np.array([0, 1]))


def test_the_default_is_the_one_fit_response_has() -> None:
    assert find_calibrator("isotonic") is fit_calibrator


def test_odds_is_one_factor_however_many_clicks() -> None:
    p, y = drawn(1.0, 0.7, 50_000, seed=4)
    calibrator = find_calibrator("odds")(p, y)
    assert calibrator.kind.startswith("odds x")
    assert line(calibrator) == pytest.approx((1.0, 0.7), abs=0.05)


def test_a_line_says_what_it_is() -> None:
    p, y = drawn(0.6, -0.8, 50_000)
    slope, intercept = line(fit_platt(p, y))
    assert fit_platt(p, y).kind == f"log-odds x {slope:.3f} {intercept:+.3f}"


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"unknown calibration 'plat'; known: isotonic, none, odds, platt"):
        find_calibrator("plat")
