"""The learner's hands: 0 is the controller, 1 is exp(reach) times its bid."""

import numpy as np
import pytest

from bidpilot.envs.controller import Campaigns, Controller, Pacer
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.features import names
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.observations import FEATURES
from bidpilot.envs.residual import OFF, Residual
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.types import Campaign, CampaignState, Feedback


@pytest.fixture
def campaign(forecast: Forecast) -> Campaign:
    return Campaign(0.25 * forecast.full_cost, forecast.ticks, forecast.full_cost)


@pytest.mark.parametrize("groups", [1, 8])
def test_zero_is_the_controller_to_the_bit(
    campaign: Campaign, forecast: Forecast, past_days: tuple[Day, ...], groups: int
) -> None:
    residual, pacer = Residual([campaign], forecast, groups, Scenario()), Pacer(Campaigns.of([campaign]), forecast)
    learner, alone = Episode(past_days[0], campaign, groups), Episode(past_days[0], campaign)
    while not learner.over:
        residual.observe(learner.glance())
        multipliers = np.ravel(residual.multipliers(0.0 if groups == 1 else np.zeros((1, groups))))
        assert len(multipliers) == groups
        assert set(multipliers.tolist()) == {pacer.observe(alone.glance())}
        learner.bid_multipliers(multipliers)
        alone.bid_multipliers(multipliers[:1])
    assert learner.result().table.tobytes() == alone.result().table.tobytes()


@pytest.mark.parametrize("groups", [1, 8])
def test_zero_is_the_recalibrating_controller_to_the_bit(
    campaign: Campaign, forecast: Forecast, past_days: tuple[Day, ...], groups: int
) -> None:
    residual = Residual([campaign], forecast, groups, Scenario(prior=20.0))
    controller = Controller(Campaigns.of([campaign], groups), forecast, groups, prior=20.0)
    episode = Episode(past_days[0], campaign, groups)
    while not episode.over:
        state = episode.glance()
        residual.observe(state)
        multipliers = np.ravel(residual.multipliers(0.0 if groups == 1 else np.zeros((1, groups))))
        assert multipliers.tobytes() == np.ravel(controller.observe(state)).tobytes()
        episode.bid_multipliers(multipliers)
    assert len(set(multipliers.tolist())) == groups  # each has seen clicks of its own


@pytest.mark.parametrize(("action", "factor"), [(1.0, np.exp(0.7)), (-0.5, np.exp(-0.35)), (9.0, np.exp(0.7))])
def test_the_reach(campaign: Campaign, forecast: Forecast, action: float, factor: float) -> None:
    residual = Residual([campaign], forecast, 3, Scenario(reach=0.7))
    residual.observe(CampaignState.start(campaign, 3).lifted())
    start = residual.controller.pacer.start
    multipliers = residual.multipliers(np.array([[action, 0.0, -9.0]]))
    np.testing.assert_allclose(multipliers, start * np.array([[factor, 1, np.exp(-0.7)]]))


def test_the_last_action_is_observed_as_it_was_taken(campaign: Campaign, forecast: Forecast) -> None:
    residual, state = Residual([campaign], forecast, 3, Scenario()), CampaignState.start(campaign, 3).lifted()
    place = [names(FEATURES, 3).index(f"action[{group}]") for group in range(3)]
    assert residual.observe(state)[0, place].tolist() == [0, 0, 0]
    residual.multipliers(np.array([[0.25, -0.5, 7.0]]))
    assert residual.observe(state)[0, place].tolist() == [0.25, -0.5, 1.0]


def test_the_gain_is_the_controllers(campaign: Campaign, forecast: Forecast, past_days: tuple[Day, ...]) -> None:
    still = Residual([campaign], forecast, 1, Scenario(gain=0.0))
    episode = Episode(past_days[0], campaign)
    for _ in range(5):
        still.observe(episode.glance())
        episode.advance(still.multipliers(0.0))
    assert still.controller.pacer.multiplier == still.controller.pacer.start


def test_a_segment_is_switched_off_by_the_lowest_actions_where_segments_are_chosen(
    campaign: Campaign, forecast: Forecast
) -> None:
    action = np.array([[-1.0, OFF, np.nextafter(OFF, 0.0), 0.0]])
    for environment in ("targeting", "pacing"):
        residual = Residual([campaign], forecast, 4, Scenario(environment, reach=0.7))
        residual.observe(CampaignState.start(campaign, 4).lifted())
        off = environment == "targeting"
        wanted = residual.pacer.start * np.exp(0.7 * action) * np.where(off, [0, 0, 1, 1], 1)
        np.testing.assert_allclose(residual.multipliers(action), wanted, rtol=1e-12)


def test_in_lockstep_each_plays_as_alone(forecast: Forecast, past_days: tuple[Day, ...]) -> None:
    campaigns = [Campaign(share * forecast.full_cost, forecast.ticks, forecast.full_cost) for share in (0.02, 0.3, 2.0)]
    rng = np.random.default_rng(0)
    for groups in (1, 8):
        scenario = Scenario("targeting", prior=20.0)
        together = Residual(campaigns, forecast, groups, scenario)
        alone = [Residual([campaign], forecast, groups, scenario) for campaign in campaigns]
        played = [Episode(day, campaign, groups) for day, campaign in zip(past_days, campaigns, strict=False)]
        while not played[0].over:
            states = [episode.glance() for episode in played]
            rows = [residual.observe(state) for residual, state in zip(alone, states, strict=True)]
            assert together.observe(stacked(states)).tobytes() == np.vstack(rows).tobytes()
            action = rng.uniform(-1, 1, (3, groups))
            at = together.multipliers(action)
            for number, (residual, episode) in enumerate(zip(alone, played, strict=True)):
                one = residual.multipliers(float(action[number, 0]) if groups == 1 else action[number : number + 1])
                assert np.ravel(one).tobytes() == at[number].tobytes()
                episode.advance(one)


def stacked(states: list[CampaignState]) -> CampaignState:
    """Join the states of episodes in lockstep, in the form of arrays."""
    spent, left = (np.array([[np.ravel(part)[0]] for part in parts]) for parts in list(zip(*states, strict=True))[1:3])
    told = [
        Feedback(*(np.array([np.ravel(column) for column in columns]) for columns in zip(*parts, strict=True)))
        for parts in list(zip(*states, strict=True))[3:]
    ]
    return CampaignState(states[0].tick, spent, left, *told)
