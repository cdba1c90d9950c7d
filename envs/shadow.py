"""What the controller alone earns on a day: the reference of the reward's "controller" term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.fleet import fleet_of
from bidpilot.envs.rewards import EXPECTED
from bidpilot.envs.solo import episode_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bank import Bank
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.residual import Residual
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign


def controller_alone(
    steering: type[Residual], day: Day, campaign: Campaign, forecast: Forecast, groups: int, scenario: Scenario
) -> FloatArray:
    """Return the expected worth (ticks,) that the zero action wins in each tick. steering: the environment's."""
    earned = np.zeros(day.ticks)
    episode = episode_of(day, campaign, groups)
    steers = steering([campaign], forecast, groups, scenario)
    while not episode.over:
        tick = episode.tick
        steers.take(episode.glance())
        earned[tick] = episode.advance(steers.multipliers(steers.zero))[EXPECTED]
    return earned


def controllers_alone(
    steering: type[Residual],
    days: Sequence[Day],
    campaigns: Sequence[Campaign],
    forecast: Forecast,
    groups: int,
    scenario: Scenario,
    bank: Bank | None,
) -> FloatArray:
    """Return the same of N episodes in lockstep, (ticks, N). bank: see Fleet."""
    fleet = fleet_of(days, campaigns, groups, bank)
    steers = steering(campaigns, forecast, groups, scenario, floats=False)
    earned = np.zeros((fleet.ticks, len(days)))
    for tick in range(fleet.ticks):
        steers.take(fleet.glance())
        earned[tick] = fleet.advance(steers.multipliers(steers.zero))[:, EXPECTED]
    return earned
