"""What the controller alone earns on a day: the reference of the reward's "controller" term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.controller import Campaigns, Controller
from bidpilot.envs.fleet import fleet_of
from bidpilot.envs.rewards import EXPECTED
from bidpilot.envs.solo import episode_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.bank import Bank
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign


def controller_alone(day: Day, campaign: Campaign, forecast: Forecast, scenario: Scenario, groups: int) -> FloatArray:
    """Return the expected worth (ticks,) that the zero action wins in each tick."""
    rows = groups if scenario.prior is not None else 1  # without a prior all groups get one multiplier
    earned = np.zeros(day.ticks)
    episode = episode_of(day, campaign, rows)
    controller = Controller(Campaigns.of([campaign], rows), forecast, rows, scenario.gain, scenario.prior)
    while not episode.over:
        tick = episode.tick
        earned[tick] = episode.advance(controller.observe(episode.glance()))[EXPECTED]
    return earned


def controllers_alone(
    days: Sequence[Day],
    campaigns: Sequence[Campaign],
    forecast: Forecast,
    scenario: Scenario,
    groups: int,
    bank: Bank | None,
) -> FloatArray:
    """Return the same of N episodes in lockstep, (ticks, N). bank: see Fleet."""
    rows = groups if scenario.prior is not None else 1
    fleet = fleet_of(days, campaigns, rows, bank)
    many = Campaigns.of(campaigns, rows, floats=False)
    controller = Controller(many, forecast, rows, scenario.gain, scenario.prior)
    earned = np.zeros((fleet.ticks, len(days)))
    for tick in range(fleet.ticks):
        earned[tick] = fleet.advance(controller.observe(fleet.glance()))[:, EXPECTED]
    return earned
