"""Intervals: coverage on data of known mean, and pairing that keeps only the difference's own noise."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.experiments.statistics import centred, day_weights, interval, p_value


def test_every_replicate_draws_as_many_days_as_there_are() -> None:
    weights = day_weights(12, 50, np.random.default_rng(0))
    assert weights.shape == (50, 12)
    assert (weights.sum(axis=1) == 12).all()


def test_the_interval_of_a_ratio_covers_the_truth_as_often_as_it_says() -> None:
    """95 % nominal; the percentile bootstrap of 40 days is a little short of it."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        spend = rng.gamma(5.0, 1.0, 40)
        value = 1.5 * spend * rng.lognormal(-0.02, 0.2, 40)
        weights = day_weights(40, 300, rng)
        low, high = interval(value.sum() / spend.sum(), (weights @ value) / (weights @ spend))
        covered += low <= 1.5 <= high
    assert 0.91 <= covered / 2000 <= 0.975


def test_undefined_replicates_are_left_out_unless_they_are_most() -> None:
    few = np.array([1.0, 2.0, 3.0, np.nan])
    assert interval(2.0, few)[0] >= 1.0
    assert np.isnan(interval(1.0, np.array([1.0, np.nan, np.nan]))).all()


def test_the_interval_lies_around_the_estimate_whatever_the_replicates_bias() -> None:
    replicates = np.random.default_rng(2).normal(3.0, 1.0, 4_000)
    low, high = interval(10.0, replicates)
    assert low < 10.0 < high
    np.testing.assert_allclose(high - low, 2 * 1.96, rtol=0.05)


def test_the_p_value_is_below_5_percent_just_where_the_interval_leaves_0_out() -> None:
    rng = np.random.default_rng(3)
    disagreed = 0
    for shift in np.linspace(0.0, 4.0, 200):
        replicates = centred(shift, rng.normal(shift, 1.0, 2_000))
        low, high = interval(shift, replicates)
        disagreed += (p_value(shift, replicates) < 0.05) is not (low > 0 or high < 0)
    assert disagreed <= 2  # the percentile lies between two replicates


def test_the_p_value_has_two_sides_and_counts() -> None:
    replicates = np.concatenate([np.full(30, -1.0), np.full(969, 1.0)])
    assert p_value(0.9, replicates) == pytest.approx(2 * 31 / 1000)
    assert p_value(-0.9, -replicates) == pytest.approx(2 * 31 / 1000)
    assert p_value(0.0, np.zeros(100)) == 1.0


def test_far_beyond_what_replicates_resolve_the_p_value_is_the_normal_laws() -> None:
    replicates = np.random.default_rng(4).normal(5.0, 1.0, 2_000)
    assert p_value(5.0, replicates) == pytest.approx(5.7e-7, rel=0.6)
    few = np.random.default_rng(4).normal(1.0, 1.0, 12)
    assert 0.1 < p_value(1.0, few) <= 1.0


def test_of_a_difference_that_is_mostly_undefined_there_is_no_p_value() -> None:
    assert np.isnan(p_value(1.0, np.array([1.0, np.nan, np.nan])))
    assert np.isnan(p_value(np.nan, np.ones(3)))
    assert p_value(1.0, np.array([1.0, 2.0, -1.0, np.nan])) <= 1.0
