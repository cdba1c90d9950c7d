"""Bandits: regret on arms of known means, and the ladder of multipliers that they play on."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents.bandits import discounted_thompson, thompson, ucb1
from bidpilot.agents.bandits.arms import FACTORS, WARM_UP_DAYS, LadderBandit
from bidpilot.agents.bandits.statistics import Statistics
from bidpilot.agents.bandits.thompson import thompson_arm
from bidpilot.agents.bandits.ucb1 import upper_bound_arm
from bidpilot.agents.base import Past
from bidpilot.agents.rollout import run_episode
from bidpilot.envs.controller import Campaigns, Pacer
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.types import Campaign, Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import FloatArray

    AnyConfig = ucb1.Config | thompson.Config | discounted_thompson.Config

TICKS = 24
HORIZON = 5_000
MEANS = np.array([0.1, 0.12, 0.15, 0.2, 0.3])
AUCTIONS = ("second_price", "first_price")
CONFIGS = (ucb1.Config(), thompson.Config(), discounted_thompson.Config())


def upper_bound(pulls: FloatArray, sums: FloatArray, _rng: np.random.Generator) -> int:
    return upper_bound_arm(pulls, sums, 1.0)


def regret(
    choose: Callable[[FloatArray, FloatArray, np.random.Generator], int],
    means: FloatArray,
    seeds: int,
    decay: float = 1.0,
) -> float:
    """Return the mean regret over seeds on Bernoulli arms of means (rounds, arms), pulls and sums both decayed."""
    lost = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        pulls, sums = np.zeros(means.shape[1]), np.zeros(means.shape[1])
        total = 0.0
        for row in means:
            arm = choose(pulls, sums, rng)
            pulls, sums = decay * pulls, decay * sums
            pulls[arm] += 1
            sums[arm] += rng.random() < row[arm]
            total += row.max() - row[arm]
        lost.append(total)
    return float(np.mean(lost))


def test_regret_is_that_of_the_handbook() -> None:
    still = np.tile(MEANS, (HORIZON, 1))
    assert regret(upper_bound, still, 6) == pytest.approx(215, abs=15)
    assert regret(thompson_arm, still, 8) == pytest.approx(43, abs=10)


def test_forgetting_pays_when_the_best_arm_changes() -> None:
    switched = np.tile(MEANS, (HORIZON, 1))
    switched[HORIZON // 2 :, [1, 4]] = switched[HORIZON // 2 :, [4, 1]]
    assert regret(thompson_arm, switched, 6, decay=0.999) < 0.7 * regret(thompson_arm, switched, 6)


def test_regret_grows_more_slowly_than_time() -> None:
    short, long = (regret(thompson_arm, np.tile(MEANS, (rounds, 1)), 6) for rounds in (1_000, 4_000))
    assert long < 2.5 * short


def test_upper_bound_known_answers() -> None:
    pulls, sums = np.array([10.0, 100.0]), np.array([2.0, 30.0])
    bound = sums / pulls + np.sqrt(2 * np.log(110.0) / pulls)
    assert bound[0] > bound[1]
    assert upper_bound_arm(pulls, sums, 1.0) == 0
    assert upper_bound_arm(pulls, sums, 0.01) == 1
    assert upper_bound_arm(np.array([3.0, 0.0, 0.0]), np.array([3.0, 0.0, 0.0])) == 1


def test_thompson_draws_from_the_beta_posterior() -> None:
    rng = np.random.default_rng(0)
    pulls, sums = np.array([3.0, 2.0]), np.array([1.0, 1.0])
    chosen = np.mean([thompson_arm(pulls, sums, rng) for _ in range(20_000)])
    draws = np.random.default_rng(1).beta([2.0, 2.0], [3.0, 2.0], (200_000, 2))
    assert chosen == pytest.approx((draws[:, 1] > draws[:, 0]).mean(), abs=0.015)


def test_statistics_forget_pulls_and_sums_alike() -> None:
    statistics = Statistics(4, 0.5)
    for arm, reward in ((0, 1.0), (0, 0.5), (3, 0.25)):
        statistics.add(arm, reward)
    assert statistics.pulls[[0, 3]].tolist() == [0.75, 1.0]
    assert statistics.sums[[0, 3]].tolist() == [0.5, 0.25]


@pytest.fixture(scope="module")
def days() -> tuple[Day, ...]:
    return draw_days(default_market(3_000, TICKS), 9, np.random.default_rng(3))


@pytest.fixture(scope="module")
def pasts(days: tuple[Day, ...]) -> dict[str, Past]:
    return {auction: Past(days[:7], Forecast.of(days[:7], auction)) for auction in AUCTIONS}


def campaign_of(past: Past, auction: str = "second_price") -> Campaign:
    return Campaign(0.2 * past.forecast.full_cost, TICKS, past.forecast.full_cost, Rules(auction))


@pytest.mark.parametrize("config", CONFIGS)
def test_playing_does_not_change_the_warm_posterior(
    config: AnyConfig, days: tuple[Day, ...], pasts: dict[str, Past]
) -> None:
    policy, campaign = config.build(pasts["second_price"]), campaign_of(pasts["second_price"])
    policy.reset(campaign, np.random.default_rng(0))
    warm = deepcopy(policy.statistics)
    run_episode(policy, days[7], campaign, np.random.default_rng(1))
    assert not (policy.statistics.pulls == warm.pulls).all()
    policy.reset(campaign, np.random.default_rng(2))
    assert (policy.statistics.pulls == warm.pulls).all()
    assert (policy.statistics.sums == warm.sums).all()


def test_the_warm_up_plays_the_first_past_days_once(pasts: dict[str, Past]) -> None:
    policy = ucb1.Config().build(pasts["second_price"])
    policy.reset(campaign_of(pasts["second_price"]), np.random.default_rng(0))
    played = policy.statistics.pulls.sum()
    assert played == WARM_UP_DAYS * (TICKS - 1)  # the last tick of a day has no successor that could report it


@pytest.mark.parametrize("auction", AUCTIONS)
def test_rewards_tell_arms_apart(auction: str, pasts: dict[str, Past]) -> None:
    policy = ucb1.Config(width=100.0).build(pasts[auction])  # so wide that all arms are pulled alike
    policy.reset(campaign_of(pasts[auction], auction), np.random.default_rng(0))
    means = policy.statistics.sums / policy.statistics.pulls
    assert np.ptp(means) > 0.15
    assert means.argmax() not in {0, len(FACTORS) - 1}
    assert ((means >= 0) & (means <= 1)).all()


@pytest.mark.parametrize("auction", AUCTIONS)
def test_the_controllers_own_multiplier_earns_a_half(auction: str, pasts: dict[str, Past]) -> None:
    policy = Always(pasts[auction], arm=len(FACTORS) // 2)
    policy.reset(campaign_of(pasts[auction], auction), np.random.default_rng(0))
    assert policy.statistics.sums.sum() / policy.statistics.pulls.sum() == pytest.approx(0.5, abs=0.05)


def test_the_warm_up_is_played_in_the_campaigns_auction(pasts: dict[str, Past]) -> None:
    past = pasts["second_price"]
    policy = ucb1.Config().build(past)
    sums = []
    for auction in AUCTIONS:
        policy.reset(campaign_of(past, auction), np.random.default_rng(0))
        sums.append(policy.statistics.sums)
    assert not (sums[0] == sums[1]).all()


def test_an_arm_is_a_factor_on_the_controllers_multiplier(days: tuple[Day, ...], pasts: dict[str, Past]) -> None:
    past, campaign = pasts["second_price"], campaign_of(pasts["second_price"])
    policy, episode = thompson.Config().build(past), Episode(days[7], campaign)
    pacer = Pacer(Campaigns.of([campaign]), past.forecast)
    policy.reset(campaign, np.random.default_rng(0))
    while not episode.over:
        state = episode.state()
        multiplier = policy.multipliers(state)
        assert np.isclose(multiplier / pacer.observe(state.lifted()), FACTORS, rtol=1e-12).sum() == 1
        episode.bid_multipliers(multiplier)


def test_ticks_without_offers_are_not_held_against_an_arm(days: tuple[Day, ...], pasts: dict[str, Past]) -> None:
    past, campaign = pasts["second_price"], campaign_of(pasts["second_price"])
    rows = np.flatnonzero(days[7].seen.tick >= 10)
    late = Day.build(days[7].seen.rows(rows), days[7].hidden.rows(rows), TICKS, days[7].segments)
    policy = ucb1.Config().build(past)
    policy.reset(campaign, np.random.default_rng(0))
    before = policy.statistics.pulls.sum()
    run_episode(policy, late, campaign, np.random.default_rng(0))
    assert policy.statistics.pulls.sum() - before == TICKS - 10 - 1


@pytest.mark.parametrize("config", CONFIGS)
def test_a_bandit_learns_to_stay_near_the_controller(
    config: AnyConfig, days: tuple[Day, ...], pasts: dict[str, Past]
) -> None:
    for auction in AUCTIONS:
        policy, campaign = config.build(pasts[auction]), campaign_of(pasts[auction], auction)
        earned = [
            sum(run_episode(p, day, campaign, np.random.default_rng(0)).total("expected") for day in days[7:])
            for p in (policy, Uniform(pasts[auction]))
        ]
        assert earned[0] > earned[1]


class Always(LadderBandit):
    """Pulls one arm."""

    def __init__(self, past: Past, arm: int) -> None:
        """Keep the arm."""
        super().__init__(past)
        self.arm = arm

    def choose(self, rng: np.random.Generator) -> int:  # noqa: ARG002 - no choice
        """Return the arm."""
        return self.arm


class Uniform(LadderBandit):
    """Pulls any arm: what a bandit that learns nothing does."""

    def choose(self, rng: np.random.Generator) -> int:
        """Return any arm."""
        return int(rng.integers(len(FACTORS)))
