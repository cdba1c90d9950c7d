"""The one bootstrap of all estimators: its variance, its groups, and how often its interval holds the truth."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.experiments.ope import bandit
from bidpilot.experiments.ope.contributions import UNITS, Contributions, interval_of, units


def test_sums_by_unit_leave_the_estimate_as_it_is() -> None:
    rng = np.random.default_rng(0)
    found = Contributions.mean(rng.normal(size=60)).corrected(rng.normal(size=(60, 3)), rng.uniform(1, 2, (60, 3)))
    expected = found.direct.mean() + (found.correction.sum(axis=0) / found.norm.sum(axis=0)).sum()
    assert found.estimate == pytest.approx(expected)
    assert found.by_unit(rng.integers(7, size=60)).estimate == pytest.approx(expected)


def test_the_bootstrap_has_the_standard_error_of_the_mean() -> None:
    amounts = np.random.default_rng(1).normal(size=10_000)
    found = Contributions.mean(amounts)
    unit = units(len(amounts), None, np.random.default_rng(2))
    assert unit.max() + 1 == UNITS
    spread = found.bootstrap(unit, 1_000, np.random.default_rng(3)).std()
    assert spread == pytest.approx(amounts.std() / 100, rel=0.1)


def test_rows_that_hang_together_are_drawn_together() -> None:
    rng = np.random.default_rng(4)
    day = np.repeat(np.arange(30) + 5, 50)
    amounts = rng.normal(size=30)[day - 5] + 0.1 * rng.normal(size=1_500)
    found = Contributions.mean(amounts)
    by_day = interval_of(found, units(1_500, day, rng), 500, 0)
    by_row = interval_of(found, units(1_500, None, rng), 500, 0)
    assert by_day[1] - by_day[0] > 4 * (by_row[1] - by_row[0])


def test_one_group_is_no_sample() -> None:
    assert units(5, np.zeros(5, np.int64), np.random.default_rng(0)).tolist() == [0, 1, 2, 3, 4]


def test_all_weights_zero_is_no_number() -> None:
    found = bandit.snips(np.zeros(3), np.ones(3))
    assert np.isnan(found.estimate)
    assert np.isnan(interval_of(found, np.arange(3), 100, 0)).all()


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """95 % nominal: three actions, logged 0.5, 0.3, 0.2, the target 0.2, 0.2, 0.6."""
    logged, target, rate = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6]), np.array([0.1, 0.2, 0.3])
    guess, rng = np.array([0.2, 0.2, 0.2]), np.random.default_rng(5)
    truth, repeats, covered = float(target @ rate), 500, np.zeros(4)
    for seed in range(repeats):
        action = rng.choice(3, 400, p=logged)
        reward = (rng.random(400) < rate[action]).astype(np.float64)
        weight = target[action] / logged[action]
        rows = weight, reward, np.full(400, target @ guess), guess[action]
        parts = (bandit.ips(*rows[:2]), bandit.snips(*rows[:2]), bandit.dr(*rows), bandit.sndr(*rows))
        for place, part in enumerate(parts):
            low, high = interval_of(part, np.arange(400), 300, seed)
            covered[place] += low <= truth <= high
    assert (covered / repeats >= 0.92).all(), covered
    assert (covered / repeats <= 0.98).all(), covered
