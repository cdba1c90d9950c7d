"""One purse split so that the last unit of money returns as much in every campaign, anew on every tick.

The greedy on the concave hulls of what each campaign's past says its money buys, with worth corrected by the clicks
that have come so far, as agents/recalibrate does. At second price with true predictions this is one multiplier for all.
At first price it is not: there returns bend, and the hull tells where money stops to pay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.shared_purse import SharedPurse
from bidpilot.agents.space import Span
from bidpilot.agents.split import marginal
from bidpilot.envs.controller import GAIN
from bidpilot.envs.curves import Curves

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """prior: clicks' worth of trust in the predictions, k. gain: of each campaign's pacing."""

    prior: float = 20.0
    gain: float = GAIN

    def build(self, past: Past) -> SplitMarginal:
        """Build the policy."""
        return SplitMarginal(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"prior": Span(5.0, 80.0), "gain": Span(0.03, 0.4)}


class SplitMarginal(SharedPurse):
    """Equal marginal returns on corrected forecasts."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the trust in the predictions."""
        super().__init__(past, config.gain)
        self.prior = config.prior
        self._curves: Curves | None = None

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start anew: returns depend on the auction."""
        super().reset(campaign, rng)
        self._curves = None

    def shares(self, state: CampaignState, forecast: Forecast, budget: float) -> FloatArray:
        """Return the shares (segments,)."""
        if self._curves is None:
            self._curves = curves_of(forecast)
        factor = (state.total.clicks + self.prior) / (state.total.predicted_clicks + self.prior)
        return marginal(self._curves, budget / forecast.full_cost, np.ravel(factor))


def curves_of(forecast: Forecast) -> Curves:
    """Return what each part's money buys, as shares of the whole's full cost and worth: free of the unit of money."""
    cost = [part.spend.sum(axis=1) * (part.full_cost / forecast.full_cost) for part in forecast.parts]
    worth = [part.value.sum(axis=1) * (part.full_value / forecast.full_value) for part in forecast.parts]
    group = np.repeat(np.arange(len(cost)), [len(each) for each in cost])
    return Curves.of(group, np.concatenate(cost), np.concatenate(worth), len(cost))
