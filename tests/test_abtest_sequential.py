"""Looking at any time: the formula, its inverse, and how often a look deceives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.sequential import best_tau, half_width, p_value, watch


def test_the_ratio_is_the_handbooks_formula_for_one_stream() -> None:
    mean, sigma, tau, n = 0.12, 1.3, 0.4, 250
    below = sigma**2 + n * tau**2
    ratio = np.sqrt(sigma**2 / below) * np.exp(n**2 * tau**2 * mean**2 / (2 * sigma**2 * below))
    assert ratio < 1
    assert float(p_value(mean, sigma**2 / n, tau)) == 1.0
    mean = 0.3
    ratio = np.sqrt(sigma**2 / below) * np.exp(n**2 * tau**2 * mean**2 / (2 * sigma**2 * below))
    assert float(p_value(mean, sigma**2 / n, tau)) == pytest.approx(1 / ratio, rel=1e-12)


def test_the_ratio_is_the_mixture_over_effects() -> None:
    d, v, tau = 0.5, 0.02, 0.3
    mixed, _ = quad(lambda e: norm.pdf(d, e, np.sqrt(v)) * norm.pdf(e, 0, tau), -3, 3, epsabs=1e-13, points=[0.0, d])
    assert float(p_value(d, v, tau)) == pytest.approx(norm.pdf(d, 0, np.sqrt(v)) / mixed, rel=1e-7)


@given(st.floats(1e-4, 10.0), st.floats(1e-2, 10.0), st.floats(0.001, 0.3))
def test_the_interval_ends_where_p_is_alpha(noise: float, tau: float, alpha: float) -> None:
    assert float(p_value(half_width(noise, tau, alpha), noise, tau)) == pytest.approx(alpha, rel=1e-9)


@given(st.floats(1e-4, 10.0), st.floats(0.001, 0.3))
def test_the_best_tau_is_the_oracles(noise: float, alpha: float) -> None:
    found = minimize_scalar(lambda log: float(half_width(noise, np.exp(log), alpha)), (np.log(noise) / 2, 3.0))
    assert best_tau(noise, alpha) == pytest.approx(np.exp(found.x), rel=1e-3)


def test_4000_looks_deceive_a_z_test_half_of_the_time_and_not_this() -> None:
    """Handbook: .038 against .49."""
    rng, n, worlds = np.random.default_rng(0), np.arange(1, 4001), 1000
    ours = plain = 0
    for _ in range(worlds):
        mean = np.cumsum(rng.standard_normal(4000)) / n
        ours += bool((p_value(mean, 1 / n, 0.5) <= 0.05).any())
        plain += bool((np.abs(mean * np.sqrt(n)) > 1.96)[29:].any())  # from 30 units on, as people do
    assert 0.02 < ours / worlds < 0.05
    assert 0.45 < plain / worlds < 0.54


def test_two_streams_with_estimated_noise_keep_alpha() -> None:
    rng, wrong, missed, worlds = np.random.default_rng(1), 0, 0, 400
    for _ in range(worlds):
        treated = rng.random(4000) < 0.3
        metric = rng.gamma(0.5, 2.0, 4000)
        wrong += watch(metric, treated, 0.2).p[-1] <= 0.05
        looks = watch(metric + 0.3 * treated, treated, 0.2)
        missed += not ((looks.low <= 0.3) & (looks.high >= 0.3)).all()
    assert wrong / worlds < 0.06
    assert missed / worlds < 0.06


def test_each_look_is_what_the_units_so_far_say() -> None:
    rng = np.random.default_rng(2)
    metric, treated = rng.gamma(2.0, 1.0, 600) + 1e6, rng.random(600) < 0.5
    looks = watch(metric, treated, 0.3, first=10)
    assert int(looks.units[-1]) == 600
    for place in (0, 57, -1):
        so_far = int(looks.units[place])
        one, other = metric[:so_far][treated[:so_far]], metric[:so_far][~treated[:so_far]]
        assert looks.difference[place] == pytest.approx(one.mean() - other.mean(), abs=1e-8)
    noise = metric[treated].var(ddof=1) / treated.sum() + metric[~treated].var(ddof=1) / (~treated).sum()
    last = float(p_value(looks.difference[-1], noise, 0.3))
    assert looks.p[-1] <= last * (1 + 1e-6)
    first = min(treated[: int(looks.units[0])].sum(), (~treated[: int(looks.units[0])]).sum())
    assert first == 10


def test_what_is_known_is_never_unknown_again() -> None:
    rng = np.random.default_rng(3)
    treated = np.arange(3000) % 2 == 0
    looks = watch(rng.standard_normal(3000) + 0.4 * treated, treated, 0.3)
    assert (np.diff(looks.p) <= 0).all()
    assert (np.diff(looks.low) >= 0).all()
    assert (np.diff(looks.high) <= 0).all()
    np.testing.assert_array_equal(looks.p <= 0.05, (looks.low >= 0) | (looks.high <= 0))
    assert looks.p[-1] < 0.05


def test_no_look_before_there_is_noise_to_measure() -> None:
    assert not len(watch(np.zeros(500), np.arange(500) % 2 == 0, 0.1).p)
    assert not len(watch(np.arange(150.0), np.arange(150) % 2 == 0, 0.1).p)


def test_what_cannot_be_watched_is_refused() -> None:
    arm = np.array([True, False])
    for metric, tau, first in (([1.0, np.nan], 1.0, 2), ([1.0], 1.0, 2), ([1.0, 2.0], 1.0, 1), ([1.0, 2.0], 0.0, 2)):
        with pytest.raises(InputError, match=r"expected numbers|tau must be"):
            watch(metric, arm, tau, first=first)
    with pytest.raises(InputError, match="alpha"):
        watch([1.0, 2.0], arm, 1.0, alpha=1.0)
    with pytest.raises(InputError, match="planned end"):
        best_tau(0.0)
