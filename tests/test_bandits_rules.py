"""The rules by which bandits choose, on arms of known means: regrets of the literature, and what must not happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents.bandits.bwk import Purse, next_price, priced_arm
from bidpilot.agents.bandits.epsilon_greedy import exploration, greedy_arm
from bidpilot.agents.bandits.kl_ucb import bernoulli_kl, kl_arm, kl_bound
from bidpilot.agents.bandits.normal_thompson import Prior, normal_draws, posterior
from bidpilot.agents.bandits.propensities import mixed, shares
from bidpilot.agents.bandits.statistics import Statistics, Window
from bidpilot.agents.bandits.thompson import thompson_arm
from bidpilot.agents.bandits.ucb1 import upper_bound_arm
from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import FloatArray

HORIZON = 5_000
MEANS = np.array([0.1, 0.12, 0.15, 0.2, 0.3])
SWITCHED = np.tile(MEANS, (HORIZON, 1))
SWITCHED[HORIZON // 2 :, [1, 4]] = SWITCHED[HORIZON // 2 :, [4, 1]]


def regret(
    choose: Callable[[Statistics, int, np.random.Generator], int],
    means: FloatArray,
    seeds: int,
    blank: Callable[[], Statistics] = lambda: Statistics(len(MEANS)),
) -> float:
    """Return the mean regret over seeds on Bernoulli arms of means (rounds, arms)."""
    lost = []
    for seed in range(seeds):
        rng, known, total = np.random.default_rng(seed), blank(), 0.0
        for time, row in enumerate(means, start=1):
            arm = choose(known, time, rng)
            known.add(arm, float(rng.random() < row[arm]))
            total += row.max() - row[arm]
        lost.append(total)
    return float(np.mean(lost))


def epsilon(known: Statistics, time: int, rng: np.random.Generator) -> int:
    return greedy_arm(known.pulls, known.sums, exploration(time, len(MEANS), 0.2, 0.1), rng)


def thompson(known: Statistics, _time: int, rng: np.random.Generator) -> int:
    return thompson_arm(known.pulls, known.sums, rng)


def test_regret_of_decaying_epsilon_greedy_is_that_of_the_literature() -> None:
    assert regret(epsilon, np.tile(MEANS, (HORIZON, 1)), 10) == pytest.approx(66, abs=8)


def test_kl_ucb_loses_less_than_ucb1() -> None:
    still = np.tile(MEANS, (1_500, 1))
    kl = regret(lambda known, _t, _r: kl_arm(known.pulls, known.sums), still, 2)
    assert kl < 0.6 * regret(lambda known, _t, _r: upper_bound_arm(known.pulls, known.sums), still, 2)


def test_discounted_ucb_follows_a_switch_of_the_best_arm() -> None:
    lost = regret(
        lambda known, _t, _r: upper_bound_arm(known.pulls, known.sums, 0.3),
        SWITCHED,
        4,
        lambda: Statistics(len(MEANS), 0.999),
    )
    assert lost == pytest.approx(142, abs=20)


def test_a_window_and_fading_follow_a_switch_that_plain_thompson_misses() -> None:
    plain = regret(thompson, SWITCHED, 4)
    faded = regret(thompson, SWITCHED, 4, lambda: Statistics(len(MEANS), 0.999))
    window = regret(thompson, SWITCHED, 4, lambda: Window(len(MEANS), 1_000))
    assert max(faded, window) < 0.8 * plain


@pytest.mark.parametrize(("time", "expected"), [(1, 1.0), (25, 1.0), (100, 0.25), (1_000, 0.025)])
def test_exploration_decays_as_one_over_time(time: float, expected: float) -> None:
    assert exploration(time, arms=5, c=0.05, d=0.1) == pytest.approx(expected)


def test_kl_bounds_are_where_the_divergence_meets_the_level() -> None:
    means, levels = np.array([0.001, 0.2, 0.5, 0.99, 0.3]), np.array([0.01, 0.1, 0.5, 0.001, 0.02])
    bounds = kl_bound(means, levels)
    assert bernoulli_kl(means, bounds) == pytest.approx(levels, rel=1e-5)
    assert (bounds > means).all()
    assert kl_bound(np.array([1.0]), np.array([0.5]))[0] == pytest.approx(1.0)
    assert kl_bound(np.array([0.0]), np.array([0.5]))[0] == pytest.approx(1.0 - np.exp(-0.5), rel=1e-6)


def test_kl_ucb_drops_a_rare_click_that_ucb1_goes_on_exploring() -> None:
    pulls, sums = np.array([5_000.0, 20_000.0]), np.array([5.0, 100.0])  # 0.001 against 0.005
    assert kl_arm(pulls, sums) == 1
    assert upper_bound_arm(pulls, sums) == 0


@pytest.mark.parametrize("reward", [-0.01, 1.01, np.nan, np.inf])
def test_rewards_outside_0_to_1_are_refused(reward: float) -> None:
    for known in (Statistics(2), Window(2, 3)):
        with pytest.raises(InputError, match=r"0\.\.1"):
            known.add(0, reward)


def test_statistics_refuse_settings_that_remember_nothing() -> None:
    with pytest.raises(InputError, match="decay"):
        Statistics(2, 0.0)
    with pytest.raises(InputError, match="window"):
        Window(2, 0)


def test_fading_leaves_the_mean_of_a_steady_arm_alone() -> None:
    known = Statistics(2, 0.9)
    for _ in range(200):
        known.add(0, 0.25)
    assert known.pulls[0] == pytest.approx(10.0)
    assert known.sums[0] / known.pulls[0] == pytest.approx(0.25)
    assert known.squares[0] / known.pulls[0] == pytest.approx(0.25**2)


def test_a_window_holds_the_last_pulls_alone() -> None:
    rng, known, played = np.random.default_rng(0), Window(3, 7), []
    for _ in range(40):
        played.append((int(rng.integers(3)), float(rng.random())))
        known.add(*played[-1])
        last = Statistics(3)
        for arm, reward in played[-7:]:
            last.add(arm, reward)
        assert (known.pulls == last.pulls).all()
        assert known.sums == pytest.approx(last.sums)


def test_a_batch_without_feedback_gets_one_arm_from_a_bound_and_many_from_thompson() -> None:
    pulls, sums, rng = np.full(4, 20.0), np.array([4.0, 5.0, 5.0, 6.0]), np.random.default_rng(0)
    assert len({upper_bound_arm(pulls, sums) for _ in range(200)}) == 1
    assert len({thompson_arm(pulls, sums, rng) for _ in range(200)}) == 4


def test_the_normal_posterior_is_the_conjugate_one() -> None:
    known, prior, rewards = Statistics(2), Prior(0.5, 2.0, 1.5, 0.2), [0.1, 0.4, 0.9, 0.3]
    for reward in rewards:
        known.add(0, reward)
    mean, kappa, alpha, beta = posterior(known, prior)
    average = np.mean(rewards)
    assert mean[0] == pytest.approx((2 * 0.5 + 4 * average) / 6)
    assert (kappa[0], alpha[0]) == (6.0, 3.5)
    inside = 0.5 * np.sum((np.array(rewards) - average) ** 2)
    assert beta[0] == pytest.approx(1.5 * 0.04 + inside + 2 * 4 / 6 * (average - 0.5) ** 2 / 2)
    assert (mean[1], kappa[1], alpha[1], beta[1]) == pytest.approx((0.5, 2.0, 1.5, 1.5 * 0.04))


def test_normal_draws_have_the_posteriors_mean_and_variance() -> None:
    known, prior, rng = Statistics(2), Prior(shape=4.0), np.random.default_rng(0)
    for reward in rng.random(20):
        known.add(0, float(reward))
    mean, kappa, alpha, beta = posterior(known, prior)
    draws = normal_draws(known, prior, 200_000, rng)
    assert draws.mean(axis=0) == pytest.approx(mean, abs=0.002)
    assert draws.var(axis=0) == pytest.approx(beta / (alpha - 1.0) / kappa, rel=0.04)


# --- bandits with knapsacks ---------------------------------------------------------------------------------------

REWARDS, COSTS, ALLOWANCE = np.array([0.3, 0.6, 0.8]), np.array([0.1, 0.35, 0.8]), 0.25
BEST = 0.3 + (0.25 - 0.1) / (0.35 - 0.1) * (0.6 - 0.3)
"""What the best mix of two arms brings a round."""


def knapsack(rounds: int, rewards: FloatArray, costs: FloatArray, seed: int, allowance: float) -> tuple[float, int]:
    """Play until a round cannot be paid any more, that round included; return reward and number of null pulls."""
    rng, purse, price = np.random.default_rng(seed), Purse(len(rewards)), 0.0
    left, earned, idle = allowance * rounds, 0.0, 0
    for _ in range(rounds):
        arm = priced_arm(purse.pulls, purse.rewards, purse.costs, price, 0.1)
        cost = 0.0
        if arm == len(rewards):
            idle += 1
        else:
            reward, cost = (float(rng.random() < chances[arm]) for chances in (rewards, costs))
            if cost > left:
                break
            purse.add(arm, reward, cost)
            earned += reward
        left -= cost
        price = next_price(price, cost, allowance, 0.02)
    assert left >= 0.0
    return earned, idle


def test_primal_dual_mixes_arms_better_than_any_single_one() -> None:
    rounds = 20_000
    share = np.mean([knapsack(rounds, REWARDS, COSTS, seed, ALLOWANCE)[0] / (BEST * rounds) for seed in range(2)])
    assert max(REWARDS * np.minimum(1.0, ALLOWANCE / COSTS)) / BEST == pytest.approx(0.893, abs=0.001)
    assert share == pytest.approx(0.999, abs=0.012)


def test_the_null_arm_saves_budget_where_every_arm_is_too_dear() -> None:
    rounds, allowance = 20_000, 0.1
    earned, idle = knapsack(rounds, np.array([0.9]), np.array([0.5]), 0, allowance)
    assert idle / rounds == pytest.approx(1.0 - allowance / 0.5, abs=0.06)
    assert earned / rounds == pytest.approx(0.9 * allowance / 0.5, abs=0.02)


def test_the_index_is_optimistic_on_both_sides() -> None:
    pulls, rewards, costs = np.array([10.0, 1_000.0]), np.array([2.0, 210.0]), np.array([3.0, 290.0])
    assert priced_arm(pulls, rewards, costs, 0.5, 1.0) == 0  # little known: maybe better and cheaper
    assert priced_arm(pulls, rewards, costs, 0.5, 1e-6) == 1
    assert priced_arm(pulls, rewards, costs, 5.0, 1e-6) == 2  # the null arm


def test_the_price_never_falls_below_zero() -> None:
    assert next_price(0.1, 0.0, 0.5, 1.0) == 0.0
    assert next_price(0.1, 0.7, 0.5, 1.0) == pytest.approx(0.3)


# --- propensities -------------------------------------------------------------------------------------------------


def test_exact_probabilities_are_the_frequencies_of_epsilon_greedy() -> None:
    pulls, sums, rng = np.array([3.0, 4.0, 2.0]), np.array([1.0, 3.0, 1.0]), np.random.default_rng(0)
    chosen = np.bincount([greedy_arm(pulls, sums, 0.3, rng) for _ in range(20_000)]) / 20_000
    assert chosen == pytest.approx(mixed(1, 0.3, 3), abs=0.015)


def test_estimated_probabilities_are_floored_and_sum_to_one() -> None:
    found = shares(np.tile([0.0, 1.0, 0.5], (1_000, 1)))
    assert found.sum() == pytest.approx(1.0)
    assert found.min() == pytest.approx(1e-3, rel=0.01)
