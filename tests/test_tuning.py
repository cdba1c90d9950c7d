"""Trials: every candidate is judged on the same days by the same draws."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bidpilot.agents import incremental, pid, random_bids
from bidpilot.agents.base import BiddingPolicy, Past, PolicyConfig
from bidpilot.agents.rollout import run_episode
from bidpilot.agents.space import spread
from bidpilot.ctr.types import MICROS, FloatArray
from bidpilot.envs.day import Day
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_of
from bidpilot.envs.types import Campaign
from bidpilot.experiments.tuning import campaign_for, penalised, penalty, scores, tune


def test_a_policy_that_draws_scores_the_same_in_every_trial(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    policy = random_bids.Config().build(Past(past_days[:3], forecast))
    campaign = campaign_for(past_days, 0.2, "second_price", forecast.full_cost)
    first, second = (scores(policy, past_days, campaign) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(set(first)) == len(past_days)


def test_the_penalty_is_the_square_of_the_limit_over_the_cost() -> None:
    spend, worth = np.array([0.0, 1.0, 2.0, 4.0, 1.0]), np.array([0.0, 4.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(penalty(spend, worth, 2.0), [1.0, 1.0, 1.0, 0.25, 0.0])
    np.testing.assert_array_equal(penalty(spend, worth, np.inf), np.ones(5))


def test_a_limit_that_is_broken_costs_its_penalty(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    """By hand, day by day; without a limit, and with one that is never met, it is R / R*."""
    policy = incremental.Config().build(Past(past_days, forecast))
    free = campaign_for(past_days, 0.5, "second_price", forecast.full_cost)
    np.testing.assert_array_equal(penalised(policy, past_days, free), scores(policy, past_days, free))
    wide = replace(free, cost_limit=1e6)
    np.testing.assert_allclose(penalised(policy, past_days, wide), scores(policy, past_days, wide), rtol=1e-9)
    day, rng = past_days[0], np.random.default_rng(0)
    result = run_episode(policy, day, free, rng)
    worth, spend = result.total("expected"), result.total("spend") / MICROS
    half = replace(free, cost_limit=0.5 * spend / worth)
    by_hand = 0.25 * worth / best_of(day, half.budget, half.cost_limit)
    np.testing.assert_allclose(penalised(_Unlimited(policy, free), [day], half), [by_hand], rtol=1e-9)


class _Unlimited:
    """A policy that is told nothing of the limit, so that it breaks it."""

    groups = 1

    def __init__(self, policy: BiddingPolicy, campaign: Campaign) -> None:
        self.policy, self.campaign, self.bid = policy, campaign, policy.bid

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        assert campaign.budget == self.campaign.budget
        self.policy.reset(self.campaign, rng)


def test_the_best_of_the_spread_is_taken_in_every_campaign(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    past = Past(past_days[:3], forecast)
    plain = campaign_for(past_days, 0.2, "second_price", forecast.full_cost)
    campaigns = {("plain", 1): plain, ("first", 2): campaign_for(past_days, 0.2, "first_price", forecast.full_cost)}
    configs: dict[str, type[PolicyConfig]] = {"incremental": incremental.Config, "pid": pid.Config}
    chosen = tune(configs, past, past_days, campaigns)
    assert set(chosen) == {(name, key) for name in configs for key in campaigns}
    for (name, key), found in chosen.items():
        tried = [scores(c.build(past), past_days, campaigns[key]).mean() for c in spread(configs[name])]
        assert scores(found.build(past), past_days, campaigns[key]).mean() == max(tried)


def test_the_score_is_the_callers(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    """A score that likes high gains finds the highest; of equal scores the first, the default, is taken."""

    def gain(policy: BiddingPolicy, days: Sequence[Day], campaign: Campaign) -> FloatArray:
        assert campaign.budget > 0
        assert isinstance(policy, incremental.Incremental)
        return np.full(len(days), policy.config.gain)

    past, campaigns = Past(past_days, forecast), {1: campaign_for(past_days, 0.2, "second_price", forecast.full_cost)}
    configs = {"incremental": incremental.Config}
    highest = incremental.Config(max(config.gain for config in spread(incremental.Config)))
    assert tune(configs, past, past_days, campaigns, gain) == {("incremental", 1): highest}
    flat = tune(configs, past, past_days, campaigns, lambda *_: np.zeros(1))
    assert flat == {("incremental", 1): incremental.Config()}
