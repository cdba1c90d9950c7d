"""M-PID: the bid of two prices, where they start, the signs of their moves, and PID as the case without a limit."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.agents.mpid import Config, Mpid
from bidpilot.agents.pid import Config as PidConfig
from bidpilot.agents.rollout import run_episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.types import Campaign, CampaignState, Feedback

DAYS = tuple(draw_days(default_market(2_000, 24), 4, np.random.default_rng(2)))
PAST = Past(DAYS[:3], Forecast.of(DAYS[:3]))
FULL = PAST.forecast.full_cost


def started(config: Config, tightness: float, share: float = 0.25) -> tuple[Mpid, Campaign]:
    """Return a policy whose limit is a multiple of the mean cost per worth at the budget's multiplier."""
    forecast = PAST.forecast
    at = forecast.multiplier(share)
    mean = float(forecast.spending(at) / forecast.earning(at)) * FULL / forecast.full_value
    campaign = Campaign(share * FULL, 24, FULL, cost_limit=tightness * mean)
    policy = config.build(PAST)
    policy.reset(campaign, np.random.default_rng(0))
    policy.multipliers(CampaignState.start(campaign))
    return policy, campaign


def after(campaign: Campaign, target: float, spend: float, worth: float) -> CampaignState:
    """Return the state after a tick that spent a multiple of its target and won worth, all of it reported."""
    told = Feedback(*np.full((8, 1), 1.0))
    earned = np.array([worth])
    told = told._replace(spend=np.array([spend * target]), predicted=earned, revenue=earned)
    return CampaignState.start(campaign).after(told)


def test_it_starts_at_the_lower_of_the_forecasts_two_multipliers() -> None:
    strict, campaign = started(Config(), 0.5)
    assert strict.multiplier == pytest.approx(PAST.forecast.affordable(campaign.cost_limit), rel=1e-6)
    loose, _ = started(Config(), 4.0)
    assert loose.multiplier == pytest.approx(loose.pacer.start, rel=0.1)
    assert started(Config(), np.inf)[0].multiplier == loose.pacer.start


@pytest.mark.parametrize("tightness", [0.5, 1.0, 2.0])
def test_spending_too_much_lowers_the_bid(tightness: float) -> None:
    moved = []
    for spend in (0.5, 1.5):
        policy, campaign = started(Config(), tightness)
        cost = spend * policy.target
        moved.append(policy.multipliers(after(campaign, policy.target, spend, cost / campaign.cost_limit))[0])
    assert moved[1] < moved[0]


@pytest.mark.parametrize("tightness", [0.5, 1.0, 2.0])
def test_worth_that_costs_more_than_the_limit_lowers_the_bid(tightness: float) -> None:
    moved = []
    for ratio in (0.5, 2.0):
        policy, campaign = started(Config(), tightness)
        worth = policy.target / campaign.cost_limit / ratio
        moved.append(policy.multipliers(after(campaign, policy.target, 1.0, worth))[0])
    assert moved[1] < moved[0]


def test_with_mix_each_error_moves_both_prices() -> None:
    tops = []
    for mix in (0.0, 0.2):
        policy, campaign = started(Config(mix=mix), 0.5)
        state = after(campaign, policy.target, 0.2, 0.2 * policy.target / campaign.cost_limit)
        tops.append(policy.multipliers(state)[0])
    assert tops[1] > tops[0]  # room in the budget now also eases the limit


def test_without_a_limit_it_is_pid() -> None:
    config = Config(kp=0.4, ki=0.05, reach=2.0, windup=10.0)
    campaign = Campaign(FULL / 8, 24, FULL)
    mine, pid = (
        run_episode(each.build(PAST), DAYS[3], campaign, np.random.default_rng(0)).table
        for each in (config, PidConfig())
    )
    assert mine == pytest.approx(pid)
