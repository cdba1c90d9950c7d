"""What the controller alone earns on a day: the reference of the reward's "controller" term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.controller import Campaigns, Controller
from bidpilot.envs.rewards import EXPECTED
from bidpilot.envs.solo import episode_of

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign


def controller_alone(day: Day, campaign: Campaign, forecast: Forecast, scenario: Scenario, groups: int) -> FloatArray:
    """Return the expected worth (ticks,) that the zero action wins in each tick."""
    earned = np.zeros(day.ticks)
    episode = episode_of(day, campaign, groups)
    controller = Controller(Campaigns.of([campaign], groups), forecast, groups, scenario.gain, scenario.prior)
    while not episode.over:
        tick = episode.tick
        earned[tick] = episode.advance(controller.observe(episode.glance()))[EXPECTED]
    return earned
