"""Re-solve the allocation on what is left at a tracked level of spend: a Kalman filter of how today compares with past.

The level s is today's spend as a multiple of the forecast's at the same multiplier, a random walk (Kalman 1960). A
tick that the forecast says costs e costs s e on average, and varies for two reasons: impressions come one by one
(compound Poisson, variance s e x unit, where unit = E[price^2] / E[price] of what is won) and ticks differ (variance
(noise s e)^2). So a few dear wins move the level little, hundreds of wins much: agents/resolve, whose window counts
ticks, cannot tell these apart. The multiplier is then the one at which the ticks to come cost what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.planned import PlannedPolicy
from bidpilot.agents.space import Span
from bidpilot.ctr.types import MICROS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign, CampaignState

LOWEST = 0.05
"""The level stays above this: an episode without any spend so far may still have some."""


@dataclass(frozen=True, slots=True)
class Config:
    """All are standard deviations relative to the level.

    surprise: of a day's level at its start. drift: by which the level wanders over a whole episode. noise: of a tick's
    spend around the level, besides what chance wins cause. It is large because real ticks differ for reasons
    that pass; on clean synthetic traffic 0.6 does a little better.
    """

    surprise: float = 0.3
    drift: float = 0.3
    noise: float = 1.0

    def build(self, past: Past) -> Tracked:
        """Build the policy."""
        return Tracked(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"surprise": Span(0.1, 0.8), "drift": Span(0.1, 1.0), "noise": Span(0.3, 2.0)}


class Tracked(PlannedPolicy):
    """The threshold of the remaining problem at the tracked level."""

    def __init__(self, config: Config, past: Past) -> None:
        """Sum the forecast's spend over the ticks to come, and measure the lumps that spend comes in, once."""
        super().__init__(past.forecast)
        self.config = config
        spend = past.forecast.spend
        to_come = np.cumsum(spend[:, ::-1], axis=1)[:, ::-1]
        self._to_come: FloatArray = np.maximum.accumulate(to_come, axis=0)
        self._units = units(past.days, past.forecast.multipliers)
        self.level = 1.0
        self._variance = 0.0

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start at the forecast's level."""
        super().reset(campaign, rng)
        self.level, self._variance = 1.0, self.config.surprise**2

    def react(self, state: CampaignState) -> None:
        """Take in the last tick and solve for what is left; a tick without offers says nothing."""
        if not state.last.offered.any():
            return
        expected = float(self.forecast.spend_at(self.multiplier)[state.tick - 1]) * self.campaign.full_cost
        if expected > 0.0:
            self._track(float(state.last.spend.sum()), expected)
        if state.tick < self.campaign.horizon:
            curve = self._to_come[:, state.tick] * self.campaign.full_cost * self.level
            self.multiplier = float(np.interp(state.left, curve, self.forecast.multipliers))

    def _track(self, paid: float, expected: float) -> None:
        """Predict the level and its variance, then correct both by what was paid."""
        config, level = self.config, self.level
        variance = self._variance + (config.drift * level) ** 2 / self.campaign.horizon
        unit = float(np.interp(self.multiplier, self.forecast.multipliers, self._units))
        chance = level * unit / expected + (config.noise * level) ** 2
        gain = variance / (variance + chance)
        self.level = max(level + gain * (paid / expected - level), LOWEST)
        self._variance = (1.0 - gain) * variance


def units(days: Sequence[Day], multipliers: FloatArray) -> FloatArray:
    """Return E[price^2] / E[price] (A,), currency, of what multipliers (A,), rising, win on days."""
    ratio = np.concatenate([day.ratio for day in days])
    price = np.concatenate([day.payable for day in days]) / MICROS
    order = np.argsort(ratio, kind="stable")
    first, second = (np.cumsum(each[order]) for each in (price, price**2))
    wins = np.maximum(np.searchsorted(ratio[order], multipliers, side="right") - 1, 0)
    return np.divide(second[wins], first[wins], out=np.zeros(len(multipliers)), where=first[wins] > 0)
