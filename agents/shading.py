"""Bid shading: b* = argmax over b of (V - b) F(b | x), V = level x worth (Gligorijevic et al. 2020; Zhou et al. 2021).

F is the price law of past days (agents/price_law). The level, 1 / lambda, follows the plan on the remaining budget by
the rule of agents/incremental; plan and first level are those that shaded bids had on past days. What each auction
asks for: at first price b*, at second price V itself, so bids are linear; under a soft floor whichever of b* below the
floor and V above it leaves more. A floor is bid where b* lies below it and V above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.curve import CurvePolicy
from bidpilot.agents.price_law import PriceLaw
from bidpilot.agents.space import Span
from bidpilot.envs.controller import GAIN, Campaigns, Pacer

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Opportunities
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """gain: change of the log level at an error of 100 % of the target. depth: how much of V - b* to shade, 0..1."""

    gain: float = GAIN
    depth: float = 1.0

    def build(self, past: Past) -> Shading:
        """Build the policy."""
        return Shading(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"gain": Span(0.03, 0.45), "depth": Span(0.6, 1.0, log=False)}


class Shading(CurvePolicy):
    """Attributes: law, the price law of past days."""

    def __init__(self, config: Config, past: Past) -> None:
        """Fit the price law."""
        super().__init__(past)
        self.config, self.law = config, PriceLaw.of(past.days)
        self._pacer: Pacer

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start at the level for the budget."""
        super().reset(campaign, rng)
        self._pacer = Pacer(Campaigns.of([campaign]), self.forecast(), self.config.gain)

    def level(self, state: CampaignState) -> float:
        """Return the level, after reacting to the last tick."""
        return float(self._pacer.observe(state.lifted()))

    def curve(self, worth: FloatArray, seen: Opportunities) -> FloatArray:
        """Return the bids (n,)."""
        if self.auction == "second_price":
            return worth
        typical, shade = self.law.typical(seen), self.law.shade
        bid = worth - self.config.depth * (worth - typical * shade.best(worth / typical))
        bid = np.where(worth > seen.reserve, np.maximum(bid, seen.reserve), bid)
        if self.auction == "first_price" or seen.soft_floor is None:
            return bid
        floor = seen.soft_floor
        below = (worth - bid) * shade.wins(bid / typical)
        above = typical * (shade.integral(worth / typical) - shade.integral(floor / typical))
        return np.where((worth > floor) & ((bid >= floor) | (above >= below)), worth, bid)
