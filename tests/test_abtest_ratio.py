"""Ratios of sums: by hand, against the bootstrap, and how often intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, ttest_ind

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.estimate import Estimate
from bidpilot.experiments.abtest.ratio import difference, lift, ratio, sum_by_unit


def users(rng: np.random.Generator, count: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw clicks and impressions (count,) of users who see many or few, and click by their own rates."""
    shown = rng.geometric(0.1, count)
    return rng.binomial(shown, rng.beta(5 * rate, 5 * (1 - rate), count)).astype(float), shown.astype(float)


def test_estimates_are_the_oracles() -> None:
    found = Estimate(1.5, 0.7)
    assert found.p_value == pytest.approx(2 * norm.sf(1.5 / 0.7), rel=1e-12)
    assert found.interval(0.1) == pytest.approx(norm.interval(0.9, 1.5, 0.7), rel=1e-12)
    assert np.isnan(Estimate(1.0, 0.0).p_value)
    assert Estimate(30.0, 1.0).p_value > 0.0, "far out it is tiny, not 0"


def test_by_hand() -> None:
    # R = 3 / 6; (a - R b) = 1 - .5, 2 - 2 / 2, 0 - 3 / 2 = .5, 1, -1.5: over 6, times 3 / 2
    found = ratio([1.0, 2.0, 0.0], [1.0, 2.0, 3.0])
    assert found.value == 0.5
    assert found.error == pytest.approx(np.sqrt(1.5 * (0.25 + 1.0 + 2.25)) / 6)
    assert found.influence.sum() == pytest.approx(0.0, abs=1e-15)


def test_a_mean_is_a_ratio_to_ones() -> None:
    rng = np.random.default_rng(0)
    y, arm = rng.gamma(1.0, 2.0, 300), rng.random(300) < 0.4
    found = difference(ratio(y, np.ones(300), arm), ratio(y, np.ones(300), ~arm))
    oracle = ttest_ind(y[arm], y[~arm], equal_var=False)
    assert found.value / found.error == pytest.approx(oracle.statistic, rel=1e-12)


def test_difference_and_lift_agree_with_the_bootstrap_of_users() -> None:
    rng = np.random.default_rng(0)
    (a1, b1), (a0, b0) = users(rng, 1500, 0.15), users(rng, 2500, 0.1)
    arm = np.arange(4000) < 1500
    above, below = np.concatenate([a1, a0]), np.concatenate([b1, b0])
    pair = ratio(above, below, arm), ratio(above, below, ~arm)
    draws = []
    for numerator, denominator in ((a1, b1), (a0, b0)):
        weight = rng.multinomial(len(numerator), np.full(len(numerator), 1 / len(numerator)), 1500)
        draws.append((weight @ numerator) / (weight @ denominator))
    for found, copies in ((difference(*pair), draws[0] - draws[1]), (lift(*pair), draws[0] / draws[1] - 1)):
        assert found.error == pytest.approx(copies.std(), rel=0.06)
        np.testing.assert_allclose(found.interval(), np.quantile(copies, [0.025, 0.975]), atol=0.2 * found.error)


def test_intervals_hold_the_truth_and_rows_taken_for_units_do_not() -> None:
    """A user's clicks hang together: with each impression as a unit the interval is too short."""
    rng, worlds = np.random.default_rng(1), 1500
    held = held_lift = held_rows = 0
    for _ in range(worlds):
        (a1, b1), (a0, b0) = users(rng, 400, 0.12), users(rng, 400, 0.1)
        above, below, arm = np.concatenate([a1, a0]), np.concatenate([b1, b0]), np.arange(800) < 400
        pair = ratio(above, below, arm), ratio(above, below, ~arm)
        low, high = difference(*pair).interval()
        held += low <= 0.02 <= high
        low, high = lift(*pair).interval()
        held_lift += low <= 0.2 <= high
        rates = [a1.sum() / b1.sum(), a0.sum() / b0.sum()]
        noise = np.sqrt(sum(p * (1 - p) / b.sum() for p, b in zip(rates, (b1, b0), strict=True)))
        held_rows += abs(rates[0] - rates[1] - 0.02) <= 1.96 * noise
    assert 0.92 <= held / worlds <= 0.97
    assert 0.92 <= held_lift / worlds <= 0.97
    assert held_rows / worlds < 0.8


def test_few_conversions_the_interval_of_the_lift_is_not_symmetric_and_holds() -> None:
    """Around 20 conversions in the control: where the symmetric one misses, it is nearly always on one side."""
    rng, arm, worlds = np.random.default_rng(2), np.arange(2000) < 1000, 1500
    held, sides = 0, np.zeros(2)
    for _ in range(worlds):
        above = (rng.random(2000) < np.where(arm, 0.03, 0.02)).astype(float)
        found = lift(ratio(above, np.ones(2000), arm), ratio(above, np.ones(2000), ~arm))
        low, high = found.interval()
        held += low <= 0.5 <= high
        sides += np.abs(found.value - 0.5) > 1.96 * found.error and [found.value < 0.5, found.value > 0.5]
    assert 0.935 <= held / worlds <= 0.97
    assert sides.max() > 3 * sides.min()


@given(st.integers(0, 10**4), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_interval_of_the_lift_leaves_out_0_when_the_difference_is_significant(seed: int, alpha: float) -> None:
    rng, arm = np.random.default_rng(seed), np.arange(200) < 90
    above = rng.gamma(np.where(arm, 1.4, 1.0))
    pair = ratio(above, np.ones(200), arm), ratio(above, np.ones(200), ~arm)
    low, high = lift(*pair).interval(alpha)
    assert (low <= 0.0 <= high) == (difference(*pair).p_value >= alpha)
    assert low < lift(*pair).value < high


def test_any_lift_is_possible_over_a_control_that_may_be_0() -> None:
    above, arm = np.array([1.0, 2.0, 3.0, -1.0, 1.0, 0.1]), np.array([True, True, True, False, False, False])
    assert lift(ratio(above, np.ones(6), arm), ratio(above, np.ones(6), ~arm)).interval() == (-np.inf, np.inf)


@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0), st.integers(0, 1000))
def test_units_of_money_do_not_matter(money: float, views: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    above, below, arm = rng.gamma(1.0, 1.0, 60), rng.gamma(2.0, 1.0, 60), np.arange(60) % 2 == 0
    plain = [ratio(above, below, arm), ratio(above, below, ~arm)]
    scaled = [ratio(above * money, below * views, arm), ratio(above * money, below * views, ~arm)]
    assert lift(*scaled).value == pytest.approx(lift(*plain).value, abs=1e-9)
    assert lift(*scaled).error == pytest.approx(lift(*plain).error, rel=1e-9)
    assert difference(*scaled).p_value == pytest.approx(difference(*plain).p_value, rel=1e-7)


def test_rows_are_summed_by_unit() -> None:
    clicks, shown = sum_by_unit(["b", "a", "b"], [1, 0, 1], [1, 1, 1])
    assert clicks.tolist() == [0.0, 2.0]
    assert shown.tolist() == [1.0, 2.0]


def test_undefined_ratios_are_nan_and_bad_ones_errors() -> None:
    none = ratio([0.0, 0.0], [0.0, 0.0])
    assert np.isnan(none.value)
    assert np.isnan(difference(none, none).p_value)
    zero = ratio([0.0, 0.0, 1.0, 2.0], np.ones(4), np.array([True, True, False, False]))
    one = ratio([0.0, 0.0, 1.0, 2.0], np.ones(4), np.array([False, False, True, True]))
    assert np.isnan(lift(one, zero).value)
    assert difference(one, zero).value == 1.5
    for bad in (([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([[1.0], [2.0]], [[1.0], [2.0]])):
        with pytest.raises(InputError, match="at least 2 units"):
            ratio(*bad)
