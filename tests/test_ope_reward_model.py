"""The reward model: right where it can be, shrunk where clicks are few, blind to the rows it is asked about."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.experiments.ope.logged import LoggedBandit
from bidpilot.experiments.ope.reward_model import PULLS, cross_fitted, design, fit


def log_of(n: int, rate: float, arms: int = 4, seed: int = 0) -> LoggedBandit:
    """Return a log whose rewards are clicks of one rate, features that mean nothing, two positions."""
    rng = np.random.default_rng(seed)
    return LoggedBandit(
        rng.integers(arms, size=n),
        (rng.random(n) < rate).astype(np.float64),
        np.full(n, 1.0 / arms),
        arms,
        features=rng.normal(size=(n, 3)),
        position=rng.integers(1, 3, size=n),
    )


def test_a_linear_truth_is_found() -> None:
    rng = np.random.default_rng(1)
    x, slopes = rng.normal(size=(4_000, 2)), rng.normal(size=(3, 2))
    action, offsets = rng.integers(3, size=4_000), np.array([0.0, 1.0, -2.0])
    truth = offsets + x @ slopes.T
    reward = truth[np.arange(4_000), action] + rng.normal(0.0, 0.5, 4_000)
    model = fit(x, action, reward, 3, rng)
    assert np.abs(model.predict(x) - truth).mean() < 0.05


def test_rates_of_few_clicks_are_pulled_to_the_mean() -> None:
    log = log_of(4_000, 0.01, arms=40)
    q = cross_fitted(log, np.random.default_rng(0))
    raw = np.bincount(log.actions, log.rewards, 40) / np.bincount(log.actions, minlength=40)
    assert np.abs(q - 0.01).mean() < 0.4 * np.abs(raw - 0.01).mean()


def test_predictions_are_calibrated_and_in_range() -> None:
    log = log_of(6_000, 0.02)
    q = cross_fitted(log, np.random.default_rng(0))
    assert q.min() >= 0.0
    assert q.max() <= 1.0
    assert log.at_action(q).mean() == pytest.approx(log.rewards.mean(), rel=0.1)


def test_a_row_does_not_see_its_own_reward() -> None:
    log = log_of(500, 0.1)
    before = cross_fitted(log, np.random.default_rng(3))
    changed = log.rewards.copy()
    changed[17] = 1.0 - changed[17]
    other = LoggedBandit(log.actions, changed, log.propensity, log.arms, log.features, log.position)
    after = cross_fitted(other, np.random.default_rng(3))
    np.testing.assert_array_equal(after[17], before[17])
    assert not np.array_equal(after, before)


def test_rows_of_a_group_share_a_fold() -> None:
    day = np.repeat(np.arange(10), 50)
    log = log_of(500, 0.1)
    grouped = LoggedBandit(log.actions, log.rewards, log.propensity, log.arms, log.features, log.position, day)
    before = cross_fitted(grouped, np.random.default_rng(3))
    changed = np.where(day == 4, 1.0, log.rewards)
    other = LoggedBandit(log.actions, changed, log.propensity, log.arms, log.features, log.position, day)
    np.testing.assert_array_equal(cross_fitted(other, np.random.default_rng(3))[day == 4], before[day == 4])


def test_positions_are_columns_and_features_are_standardised() -> None:
    x = design(log_of(1_000, 0.1))
    assert x.shape == (1_000, 4)
    assert set(np.unique(x[:, 0])) == {0.0, 1.0}
    np.testing.assert_allclose(x[:, 1:].std(axis=0), 1.0)


def test_a_model_of_one_row_is_that_row() -> None:
    model = fit(np.empty((1, 0)), np.array([0]), np.array([0.7]), 2, np.random.default_rng(0))
    np.testing.assert_allclose(model.predict(np.empty((2, 0))), 0.7)
    assert min(PULLS) > 0
