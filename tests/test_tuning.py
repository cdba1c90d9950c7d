"""Trials: every candidate is judged on the same days by the same draws."""

import numpy as np

from bidpilot.agents import random_bids
from bidpilot.agents.base import Past
from bidpilot.envs.day import Day
from bidpilot.envs.forecast import Forecast
from bidpilot.experiments.tuning import campaign_for, scores


def test_a_policy_that_draws_scores_the_same_in_every_trial(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    policy = random_bids.Config().build(Past(past_days[:3], forecast))
    campaign = campaign_for(past_days, 0.2, "second_price")
    first, second = (scores(policy, past_days, campaign) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(set(first)) == len(past_days)
