"""The learner's hands: 0 is the controller, 1 is exp(reach) times its bid."""

import numpy as np
import pytest

from bidpilot.envs.controller import Controller, Pacer
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.observations import names
from bidpilot.envs.residual import Residual
from bidpilot.envs.scenarios import Scenario
from bidpilot.envs.types import Campaign, CampaignState


@pytest.fixture
def campaign(forecast: Forecast) -> Campaign:
    return Campaign(0.25 * forecast.full_cost, forecast.ticks, forecast.full_cost)


@pytest.mark.parametrize("groups", [1, 8])
def test_zero_is_the_controller_to_the_bit(
    campaign: Campaign, forecast: Forecast, past_days: tuple[Day, ...], groups: int
) -> None:
    residual, pacer = Residual(campaign, forecast, groups, Scenario()), Pacer(campaign, forecast)
    learner, alone = Episode(past_days[0], campaign, groups), Episode(past_days[0], campaign)
    while not learner.over:
        residual.observe(learner.state())
        multipliers = residual.multipliers(np.zeros(groups))
        assert set(multipliers.tolist()) == {pacer.observe(alone.state())}
        learner.bid_multipliers(multipliers)
        alone.bid_multipliers(multipliers[:1])
    assert learner.result().table.tobytes() == alone.result().table.tobytes()


@pytest.mark.parametrize("groups", [1, 8])
def test_zero_is_the_recalibrating_controller_to_the_bit(
    campaign: Campaign, forecast: Forecast, past_days: tuple[Day, ...], groups: int
) -> None:
    residual = Residual(campaign, forecast, groups, Scenario(prior=20.0))
    controller, episode = Controller(campaign, forecast, groups, prior=20.0), Episode(past_days[0], campaign, groups)
    while not episode.over:
        state = episode.state()
        residual.observe(state)
        multipliers = residual.multipliers(np.zeros(groups))
        assert multipliers.tobytes() == controller.observe(state).tobytes()
        episode.bid_multipliers(multipliers)
    assert len(set(multipliers.tolist())) == groups  # each has seen clicks of its own


@pytest.mark.parametrize(("action", "factor"), [(1.0, np.exp(0.7)), (-0.5, np.exp(-0.35)), (9.0, np.exp(0.7))])
def test_the_reach(campaign: Campaign, forecast: Forecast, action: float, factor: float) -> None:
    residual = Residual(campaign, forecast, 3, Scenario(reach=0.7))
    residual.observe(CampaignState.start(campaign, 3))
    start = residual.controller.pacer.start
    multipliers = residual.multipliers(np.array([action, 0.0, -9.0]))
    np.testing.assert_allclose(multipliers, start * np.array([factor, 1, np.exp(-0.7)]))


def test_the_last_action_is_observed_as_it_was_taken(campaign: Campaign, forecast: Forecast) -> None:
    residual, state = Residual(campaign, forecast, 3, Scenario()), CampaignState.start(campaign, 3)
    place = [names(3).index(f"action[{group}]") for group in range(3)]
    assert residual.observe(state)[place].tolist() == [0, 0, 0]
    residual.multipliers(np.array([0.25, -0.5, 7.0]))
    assert residual.observe(state)[place].tolist() == [0.25, -0.5, 1.0]


def test_the_gain_is_the_controllers(campaign: Campaign, forecast: Forecast, past_days: tuple[Day, ...]) -> None:
    still = Residual(campaign, forecast, 1, Scenario(gain=0.0))
    episode = Episode(past_days[0], campaign)
    for _ in range(5):
        still.observe(episode.state())
        episode.bid_multipliers(still.multipliers(np.zeros(1)))
    assert still.controller.pacer.multiplier == still.controller.pacer.start
