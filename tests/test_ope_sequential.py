"""Episode estimators on a Markov decision process with two states, eight steps and a value known by recursion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.ope.fqe import Transitions, fit_table, start_value, transitions
from bidpilot.experiments.ope.logged import LoggedEpisodes
from bidpilot.experiments.ope.sequential import cumulative, diagnose_episodes, pdis, sequential_dr, tis, wpdis

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.ope.contributions import Contributions

HORIZON = 8
STAY = np.array([[0.9, 0.3], [0.2, 0.6]])
"""P(next state is 0 | state, action), in tenths."""
REWARD = np.array([[1.0, 0.5], [0.0, 2.0]])
LOGGED, TARGET = np.array([[0.6, 0.4], [0.5, 0.5]]), np.array([[0.4, 0.6], [0.3, 0.7]])


def by_recursion(policy: FloatArray) -> FloatArray:
    """Return Q (HORIZON * 2, 2) of a policy; state = 2 * time + place."""
    q, value = np.zeros((HORIZON, 2, 2)), np.zeros(2)
    for time in reversed(range(HORIZON)):
        q[time] = REWARD + STAY * value[0] + (1.0 - STAY) * value[1]
        value = (policy * q[time]).sum(axis=1)
    return q.reshape(-1, 2)


TRUTH = by_recursion(TARGET)
VALUE = float(TARGET[0] @ TRUTH[0])
"""Episodes start in place 0."""


def simulate(count: int, seed: int) -> LoggedEpisodes:
    rng = np.random.default_rng(seed)
    place, steps = np.zeros(count, dtype=np.int64), []
    for time in range(HORIZON):
        action = (rng.random(count) < LOGGED[place, 1]).astype(np.int64)
        steps.append((2 * time + place, action, REWARD[place, action], LOGGED[place, action]))
        place = (rng.random(count) >= STAY[place, action]).astype(np.int64)
    states, actions, rewards, propensity = (np.stack(each, axis=1).reshape(-1) for each in zip(*steps, strict=True))
    terminal = np.tile(np.arange(HORIZON) == HORIZON - 1, count)
    return LoggedEpisodes(np.repeat(np.arange(count), HORIZON), states, actions, rewards, propensity, terminal, 2)


LOG = simulate(20_000, 0)
LIKELY = TARGET[LOG.states % 2, LOG.actions]


def error(found: Contributions) -> float:
    """Return the standard error of an estimate that is a mean over episodes."""
    return float(found.correction.sum(axis=1).std() / len(found.direct) ** 0.5)


def test_weighted_returns_hold_the_value_of_the_recursion() -> None:
    for found in (tis(LOG, LIKELY), pdis(LOG, LIKELY)):
        assert abs(found.estimate - VALUE) < 3 * error(found)
    assert error(pdis(LOG, LIKELY)) < error(tis(LOG, LIKELY))
    assert abs(wpdis(LOG, LIKELY).estimate - VALUE) < 3 * error(pdis(LOG, LIKELY))
    assert abs(VALUE - float(LOGGED[0] @ by_recursion(LOGGED)[0])) > 0.9  # else the test could not fail


def test_the_flipped_ratio_is_found_out() -> None:
    table = LOG.propensity, LIKELY
    flipped = LoggedEpisodes(LOG.episode, LOG.states, LOG.actions, LOG.rewards, table[1], LOG.terminal, 2)
    found = pdis(flipped, table[0])
    assert abs(found.estimate - VALUE) > 10 * error(found)


def test_the_true_q_makes_dr_steadier_and_a_false_one_does_no_harm_to_its_mean() -> None:
    for q, steadier in ((TRUTH, True), (TRUTH + 0.5, False)):
        fitted, value = q[LOG.states, LOG.actions], (TARGET[LOG.states % 2] * q[LOG.states]).sum(axis=1)
        found = sequential_dr(LOG, LIKELY, fitted, value)
        assert abs(found.estimate - VALUE) < 3 * error(found)
        if steadier:
            assert error(found) < 0.6 * error(pdis(LOG, LIKELY))


def test_the_logged_policy_is_worth_its_mean_return() -> None:
    mean = LOG.rewards.sum() / LOG.count
    for estimator in (tis, pdis, wpdis):
        assert estimator(LOG, LOG.propensity).estimate == pytest.approx(mean)


def test_episodes_of_unequal_length_by_hand() -> None:
    log = LoggedEpisodes(
        episode=np.array([0, 0, 1]),
        states=np.zeros(3, dtype=np.int64),
        actions=np.array([0, 1, 1]),
        rewards=np.array([1.0, 2.0, 4.0]),
        propensity=np.array([0.5, 0.5, 0.25]),
        terminal=np.array([False, True, True]),
        arms=2,
    )
    target = np.array([0.25, 1.0, 0.5])
    np.testing.assert_allclose(cumulative(log, target), [[0.5, 1.0], [2.0, 2.0]])
    assert tis(log, target, 0.5).estimate == pytest.approx((1.0 * 2.0 + 2.0 * 4.0) / 2)
    assert pdis(log, target, 0.5).estimate == pytest.approx((0.5 * 1.0 + 1.0 * 1.0 + 2.0 * 4.0) / 2)
    assert wpdis(log, target, 0.5).estimate == pytest.approx((0.5 + 8.0) / 2.5 + 1.0 / 3.0)
    fitted, value = np.array([1.0, 1.0, 3.0]), np.array([2.0, 1.0, 5.0])
    first = 0.5 * 0.0 + 2.0 + 0.5 * (1.0 * 1.0 + 0.5 * 1.0)
    second = 2.0 * 1.0 + 5.0
    assert sequential_dr(log, target, fitted, value, 0.5).estimate == pytest.approx((first + second) / 2)


def test_long_episodes_have_no_effective_size() -> None:
    assert diagnose_episodes(LOG, LIKELY).refusal() is None
    assert diagnose_episodes(LOG, LOG.propensity).ess == pytest.approx(LOG.count)
    with pytest.raises(InputError, match="expected 160,000 probabilities"):
        pdis(LOG, LIKELY[:5])


# --- fitted Q evaluation on the same process ----------------------------------------------------------------------


def whole_law() -> Transitions:
    """Return ten steps of every state and action, whose successors have exactly the frequencies of the law."""
    steps = []
    for state in range(2 * HORIZON):
        time, place = divmod(state, 2)
        for action in range(2):
            stays = round(10 * STAY[place, action])
            after = 2 * (time + 1) + np.repeat([0, 1], [stays, 10 - stays])
            steps.append((np.full(10, state), np.full(10, action), np.full(10, REWARD[place, action]), after))
    states, actions, rewards, after = (np.concatenate(each) for each in zip(*steps, strict=True))
    return Transitions(states, actions, rewards, after, after >= 2 * HORIZON)


def test_fitted_q_evaluation_equals_the_recursion() -> None:
    q = fit_table(whole_law(), np.tile(TARGET, (HORIZON, 1)))
    np.testing.assert_allclose(q, TRUTH, atol=1e-8)
    assert abs(float(TARGET[0] @ q[0]) - VALUE) < 1e-3


def test_fitted_q_evaluation_of_a_sample_is_near_and_needs_the_targets_next_action() -> None:
    q = fit_table(transitions(LOG), np.tile(TARGET, (HORIZON, 1)))
    value = (TARGET[LOG.states % 2] * q[LOG.states]).sum(axis=1)
    assert abs(float(start_value(LOG, value).mean()) - VALUE) < 0.05
    of_logged = fit_table(transitions(LOG), np.tile(LOGGED, (HORIZON, 1)))
    assert abs(float(TARGET[0] @ of_logged[0]) - VALUE) > 0.5


def test_a_discount_makes_endless_steps_finite_and_without_one_they_are_refused() -> None:
    none = np.zeros(1, np.int64)
    loop = Transitions(none, none, np.ones(1), none, np.array([False]))
    assert fit_table(loop, np.ones((1, 1)), discount=0.9)[0, 0] == pytest.approx(10.0)
    with pytest.raises(InputError, match="discount be below 1"):
        fit_table(loop, np.ones((1, 1)))


def test_a_step_that_was_cut_off_is_left_out() -> None:
    log = LoggedEpisodes(
        np.array([0, 0, 1]), np.array([3, 4, 5]), np.zeros(3, np.int64), np.ones(3), np.ones(3),
        np.array([False, False, True]), 1,
    )  # fmt: skip
    found = transitions(log)
    assert found.states.tolist() == [3, 5]
    assert found.next_states[0] == 4
    assert found.terminal.tolist() == [False, True]
