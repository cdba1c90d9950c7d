"""The click rate times what a click has cost (Zhang et al. 2014, arXiv 1407.7073: Mcpc, the max eCPC rule).

What a click cost: of the past impressions that the forecast's multiplier for the budget would have won, prices over
predicted clicks (realised ones are too few to divide by). It is an average, so below what the last click may cost:
the rule leaves some of the budget unspent; factor makes up for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.space import Span
from bidpilot.ctr.types import MICROS

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Opportunities
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """factor: the most to pay for a click, as a multiple of what a click has cost."""

    factor: float = 1.0

    def build(self, past: Past) -> Mcpc:
        """Build the policy."""
        return Mcpc(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"factor": Span(0.5, 4.0)}


class Mcpc:
    """One cost per click for all; what a conversion is worth plays no part."""

    groups = 1

    def __init__(self, config: Config, past: Past) -> None:
        """Sum cost and clicks of the past from the cheapest impression per worth on."""
        self.config, self.forecast = config, past.forecast
        ratio = np.concatenate([day.ratio for day in past.days])
        order = np.argsort(ratio, kind="stable")
        order = order[: np.count_nonzero(np.isfinite(ratio))]
        self._ratio: FloatArray = ratio[order]
        self._cost: FloatArray = np.cumsum(np.concatenate([day.payable for day in past.days])[order]) / MICROS
        self._clicks: FloatArray = np.cumsum(np.concatenate([day.seen.pctr for day in past.days])[order])
        self.per_click = 0.0

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Look up what a click cost at the budget."""
        multiplier = self.forecast.multiplier(campaign.scarcity)
        last = max(int(np.searchsorted(self._ratio, multiplier, side="right")) - 1, 0)
        clicks = float(self._clicks[last])
        self.per_click = self.config.factor * float(self._cost[last]) / clicks if clicks > 0.0 else 0.0

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:  # noqa: ARG002 - never looks
        """Return the bids (n,)."""
        return self.per_click * seen.pctr
