"""Logs of decisions and of episodes: what is refused, and how bandits' own propensities become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bidpilot.agents.bandits import epsilon_greedy, thompson, ucb1
from bidpilot.agents.bandits.arms import FACTORS, Ladder
from bidpilot.agents.base import Past
from bidpilot.ctr.errors import InputError
from bidpilot.envs.episode import Episode
from bidpilot.envs.types import Campaign
from bidpilot.experiments.ope import bandit
from bidpilot.experiments.ope.diagnostics import diagnose
from bidpilot.experiments.ope.logged import LoggedBandit, LoggedEpisodes

if TYPE_CHECKING:
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast


@pytest.fixture(scope="module")
def past(past_days: tuple[Day, ...], forecast: Forecast) -> Past:
    return Past(past_days, forecast)


@pytest.fixture(scope="module")
def campaign(past: Past) -> Campaign:
    return Campaign(0.2 * past.forecast.full_cost, past.forecast.ticks, past.forecast.full_cost)


def rows(**changed: Any) -> LoggedBandit:  # noqa: ANN401 - each test breaks another column
    given: dict[str, Any] = {
        "actions": np.array([0, 1, 1]),
        "rewards": np.array([1.0, 0.0, 2.0]),
        "propensity": np.array([0.5, 1.0, 1e-6]),
        "arms": 2,
    }
    return LoggedBandit(**given | changed)


def episodes(**changed: Any) -> LoggedEpisodes:  # noqa: ANN401 - each test breaks another column
    given: dict[str, Any] = {
        "episode": np.array([7, 7, 3, 3, 3]),
        "states": np.arange(5),
        "actions": np.array([0, 1, 1, 0, 1]),
        "rewards": np.ones(5),
        "propensity": np.full(5, 0.5),
        "terminal": np.array([False, True, False, False, False]),
        "arms": 2,
    }
    return LoggedEpisodes(**given | changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"propensity": np.array([0.5, 0.0, 0.5])}, "row 1 is 0; expected a probability above 0"),
        ({"propensity": np.array([0.5, 1.5, 0.5])}, "row 1 is 1.5"),
        ({"propensity": np.array([0.5, np.nan, 0.5])}, "row 1 is nan"),
        ({"rewards": np.array([1.0, 2.0])}, r"rewards: expected shape \(3,\)"),
        ({"rewards": np.array([1.0, 2.0, np.inf])}, "rewards: row 2 is not a finite number"),
        ({"actions": np.array([0, 2, 1])}, "row 1 is 2; expected 0 to 1"),
        ({"actions": np.array([0.0, 1.0, 1.0])}, "whole number"),
        ({"features": np.ones((2, 4))}, "features"),
        ({"features": np.full((3, 1), np.nan)}, "features: row 0"),
        ({"position": np.array([1])}, "position"),
        ({"group": np.array([1])}, "group"),
        ({"behaviour": np.full((3, 2), 0.5)}, "propensity is not behaviour"),
        ({"behaviour": np.full((3, 2), 0.4)}, "row 0 sums to 0.8"),
    ],
)
def test_a_bandit_log_that_cannot_be_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rows(**changed)


def test_weights_are_target_over_logged_probability() -> None:
    target = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    np.testing.assert_array_equal(rows().weights(target), [0.5, 0.5, 0.0])
    for wrong, message in ((target[:2], "expected shape"), (target + 0.1, "must sum to 1"), (target - 1.0, "negative")):
        with pytest.raises(InputError, match=message):
            rows().weights(wrong)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"episode": np.array([7, 3, 7, 3, 3])}, "must follow each other"),
        ({"terminal": np.array([True, True, False, False, False])}, "step 0 ends episode 7, but more"),
        ({"states": np.arange(4)}, "states: expected 5 rows"),
        ({"states": np.full((5, 2), np.nan)}, "states: row 0"),
        ({"propensity": np.zeros(5)}, "above 0"),
        ({"actions": np.full(5, 2)}, "expected 0 to 1"),
    ],
)
def test_episodes_that_cannot_be_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        episodes(**changed)


def test_steps_know_their_episode_and_their_time() -> None:
    log = episodes()
    row, time = log.places()
    assert log.count == 2
    assert row.tolist() == [0, 0, 1, 1, 1]
    assert time.tolist() == [0, 1, 0, 1, 2]
    assert log.last.tolist() == [False, True, False, False, True]


def played(config: Any, past: Past, campaign: Campaign, day: Day) -> LoggedBandit:  # noqa: ANN401 - any bandit's
    """Play a day with a bandit that writes its arms and their probabilities down."""
    policy, episode = config.build(past), Episode(day, campaign)
    assert isinstance(policy, Ladder)
    policy.reset(campaign, np.random.default_rng(0))
    arms, told, rewards = [], [], []
    while not episode.over:
        multiplier = policy.multipliers(episode.state())
        assert policy._arm is not None
        arms.append(policy._arm)
        told.append(policy.propensities())
        episode.bid_multipliers(multiplier)
        rewards.append(policy.reward(episode.state()))
    return LoggedBandit.from_distributions(arms, rewards, np.stack(told))


def test_the_propensities_of_bidding_bandits_make_a_log(
    past: Past, campaign: Campaign, past_days: tuple[Day, ...]
) -> None:
    for config in (epsilon_greedy.Config(c=0.5), thompson.Config()):
        log = played(config, past, campaign, past_days[0])
        assert log.behaviour is not None
        assert log.arms == len(FACTORS)
        own = bandit.ips(log.weights(log.behaviour), log.rewards)
        assert own.estimate == pytest.approx(log.rewards.mean())
        assert diagnose(log, log.behaviour).unsupported == 0.0


def test_a_bandit_that_never_draws_says_nothing_of_others(
    past: Past, campaign: Campaign, past_days: tuple[Day, ...]
) -> None:
    log = played(ucb1.Config(), past, campaign, past_days[0])
    found = diagnose(log, np.full((len(log), log.arms), 1.0 / log.arms))
    assert found.unsupported == pytest.approx(1.0 - 1.0 / log.arms)
    assert found.support_refusal() is not None


def test_an_action_of_probability_zero_cannot_have_been_logged() -> None:
    with pytest.raises(InputError, match="row 1 is 0"):
        LoggedBandit.from_distributions([0, 1], [1.0, 1.0], np.array([[0.5, 0.5], [1.0, 0.0]]))
