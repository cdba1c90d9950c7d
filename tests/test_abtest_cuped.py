"""CUPED: theta, what it leaves of the variance, and that the effect itself stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.cuped import cuped


@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(-1e3, 1e3))
def test_theta_is_cov_over_var_and_the_variance_falls_by_one_minus_rho_squared(
    seed: int, slope: float, far: float
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, 3.0, 500) + far
    y = slope * x + rng.standard_normal(500)
    found = cuped(y, x)
    adjusted = y - found.shift
    rho = np.corrcoef(x, y)[0, 1]
    assert found.theta[0] == pytest.approx(np.cov(x, y)[0, 1] / np.var(x, ddof=1), rel=1e-9, abs=1e-10)
    assert adjusted.mean() == pytest.approx(y.mean(), rel=1e-9, abs=1e-9)
    assert adjusted.var() / y.var() == pytest.approx(1 - rho**2, abs=1e-12)
    assert found.factor == pytest.approx(1 - rho**2, abs=1e-12)


def test_by_hand() -> None:
    # x - 2 = -1 0 1, y - 3 = -2 1 1: theta = 3 / 2
    found = cuped([1.0, 4.0, 4.0], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(found.theta, [1.5])
    np.testing.assert_allclose(found.shift, [-1.5, 0.0, 1.5], atol=1e-12)
    assert found.factor == pytest.approx(1 - 9 / 12)


def test_several_covariates_are_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 3)) @ rng.standard_normal((3, 3)) * [1.0, 1e-6, 1e6]
    y = x @ [1.0, 3e5, -2e-6] + rng.standard_normal(300)
    table = np.column_stack([np.ones(300), x])
    expected = np.linalg.solve(table.T @ table, table.T @ y)[1:]
    np.testing.assert_allclose(cuped(y, x).theta, expected, rtol=1e-6)


def test_theta_does_not_know_the_effect() -> None:
    """However large the effect and however unlucky the split, theta is what it was without them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(200)
    arm = x + rng.standard_normal(200) > 0
    y = 2.0 * x + rng.standard_normal(200)
    plain, moved = cuped(y, x, arm), cuped(y + 100.0 * arm, x, arm)
    np.testing.assert_allclose(moved.theta, plain.theta, rtol=1e-9)
    assert moved.factor == pytest.approx(plain.factor, abs=1e-9)
    assert abs(cuped(y + 100.0 * arm, x).theta[0] - plain.theta[0]) > 10.0, "without the arms it would"


def test_the_difference_of_adjusted_means_is_that_of_the_regression() -> None:
    rng = np.random.default_rng(3)
    x, arm = rng.standard_normal(400), rng.random(400) < 0.3
    y = 1.0 + 0.5 * arm + 2.0 * x + rng.standard_normal(400)
    table = np.column_stack([np.ones(400), arm, x])
    left = y - cuped(y, x, arm).shift
    assert left[arm].mean() - left[~arm].mean() == pytest.approx(np.linalg.lstsq(table, y, rcond=None)[0][1], abs=1e-10)


def test_constant_and_equal_covariates_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(100)
    y = x + rng.standard_normal(100)
    once = cuped(y, x)
    many = cuped(y, np.column_stack([x, np.full(100, 1e9 / 3), x]))
    np.testing.assert_allclose(many.shift, once.shift, atol=1e-9)
    assert many.theta[1] == 0.0
    assert cuped(np.ones(5), np.arange(5.0)).factor == 1.0


@pytest.mark.parametrize(
    ("y", "x"), [([1.0, 2.0], [1.0]), ([], []), ([1.0, np.nan], [1.0, 2.0]), ([1.0, 2.0], [np.inf, 1.0])]
)
def test_what_does_not_fit_is_refused(y: list[float], x: list[float]) -> None:
    with pytest.raises(InputError, match=r"expected a metric|is missing"):
        cuped(y, x)
