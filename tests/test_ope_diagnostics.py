"""What is told of the weights, and when no number is given."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.experiments.ope.diagnostics import Refusal, diagnose, of_weights, shown
from bidpilot.experiments.ope.logged import LoggedBandit


def uniform_log(n: int = 3_000, arms: int = 3) -> LoggedBandit:
    rng = np.random.default_rng(0)
    return LoggedBandit(rng.integers(arms, size=n), np.ones(n), np.full(n, 1.0 / arms), arms)


def test_four_weights_by_hand() -> None:
    found = of_weights(np.array([0.0, 1.0, 1.0, 12.0]))
    assert found.mean == 3.5
    assert found.ess == pytest.approx(14.0**2 / 146.0)
    assert found.largest == pytest.approx(12.0 / 14.0)
    assert found.large == 0.25
    assert found.error == pytest.approx(np.std([0.0, 1.0, 1.0, 12.0]) / 2.0)


def test_equal_weights_are_worth_all_rows() -> None:
    found = of_weights(np.ones(500))
    assert found.ess == pytest.approx(500.0)
    assert found.mean_is_one
    assert found.refusal() is None


def test_a_wrong_propensity_shows_in_the_mean_weight() -> None:
    log = uniform_log()
    target = np.tile([0.2, 0.3, 0.5], (len(log), 1))
    assert diagnose(log, target).mean_is_one
    wrong = LoggedBandit(log.actions, log.rewards, np.full(len(log), 0.4), 3)
    found = diagnose(wrong, target)
    assert not found.mean_is_one
    assert any("NOT 1" in line for line in found.sentences())


def test_few_effective_rows_are_refused_in_words() -> None:
    weight = np.full(10_000, 1e-6)
    weight[:3] = 3_000.0
    refused = of_weights(weight).refusal()
    assert isinstance(refused, Refusal)
    assert "these weights say nothing: ESS 3 of 10,000" in refused.sentence
    assert of_weights(np.zeros(10)).refusal() is not None


def test_the_threshold_is_thirty_effective_rows() -> None:
    assert of_weights(np.ones(29)).refusal() is not None
    assert of_weights(np.ones(31)).refusal() is None


def test_mass_on_actions_never_shown_is_refused() -> None:
    log = uniform_log()
    wider = LoggedBandit(log.actions, log.rewards, log.propensity, 4)
    for mass, refuses in ((0.005, False), (0.2, True)):
        target = np.tile([0.3, 0.3, 0.4 - mass, mass], (len(log), 1))
        found = diagnose(wider, target)
        assert found.unsupported == pytest.approx(mass)
        assert (found.refusal() is not None) is refuses
    assert "20.0% of the target's decisions" in str(found.refusal())


def test_support_is_by_position_and_by_the_logged_distribution_where_it_is_known() -> None:
    place, action = np.array([1, 1, 2, 2]), np.array([0, 1, 0, 0])
    log = LoggedBandit(action, np.ones(4), np.full(4, 0.5), 2, position=place)
    assert shown(log).tolist() == [[True, True], [True, True], [True, False], [True, False]]
    known = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0], [0.9, 0.1]])
    told = LoggedBandit(action, np.ones(4), known[np.arange(4), action], 2, position=place, behaviour=known)
    assert shown(told).tolist() == [[True, True], [True, True], [True, False], [True, True]]


def test_sentences_leave_out_what_was_not_reckoned() -> None:
    text = " ".join(of_weights(np.ones(40)).sentences())
    assert "nan" not in text
    assert "effective sample size 40 of 40 rows (100.0%)" in text
