"""What the controller alone earns on a day, and pays: the reference of the reward's "controller" term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS
from bidpilot.envs.fleet import fleet_of
from bidpilot.envs.rewards import EXPECTED, SPEND
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
    """Return what the zero action does in each tick: (2, ticks), expected worth won and by how much its excess grows.

    steering: the environment's. The excess is spend / limit - worth so far where above 0 (no limit: 0).
    """
    rows = np.zeros((2, day.ticks))
    episode = episode_of(day, campaign, groups)
    steers = steering([campaign], forecast, groups, scenario)
    while not episode.over:
        tick = episode.tick
        steers.take(episode.glance())
        row = episode.advance(steers.multipliers(steers.zero))
        rows[:, tick] = row[EXPECTED], row[SPEND] / MICROS
    return _with_excess(rows[..., None], np.array([campaign.cost_limit]))[..., 0]


def controllers_alone(
    steering: type[Residual],
    days: Sequence[Day],
    campaigns: Sequence[Campaign],
    forecast: Forecast,
    groups: int,
    scenario: Scenario,
    bank: Bank | None,
) -> FloatArray:
    """Return the same of N episodes in lockstep, (2, ticks, N). bank: see Fleet."""
    fleet = fleet_of(days, campaigns, groups, bank)
    steers = steering(campaigns, forecast, groups, scenario, floats=False)
    rows = np.zeros((2, fleet.ticks, len(days)))
    for tick in range(fleet.ticks):
        steers.take(fleet.glance())
        row = fleet.advance(steers.multipliers(steers.zero))
        rows[:, tick] = row[:, EXPECTED], row[:, SPEND] / MICROS
    return _with_excess(rows, np.array([campaign.cost_limit for campaign in campaigns]))


def _with_excess(rows: FloatArray, limit: FloatArray) -> FloatArray:
    """Replace the spend in (worth, spend) (2, ticks, N) by the growth of the excess above limits (N,)."""
    worth, spend = rows
    excess = np.maximum(0.0, np.cumsum(spend, axis=0) / limit - np.cumsum(worth, axis=0))
    return np.stack([worth, np.diff(excess, axis=0, prepend=0.0)])
