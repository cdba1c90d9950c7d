"""Combinatorial Thompson sampling of a budget split (Nuara et al. 2022): draw every campaign's curve, then optimise.

A campaign is a segment of the traffic. What it earns at a spending level is the forecast's curve times an unknown
ratio of true to predicted clicks (posterior as segment_thompson). Each tick the ratios are drawn and the
multiple-choice knapsack over all campaigns' levels is solved for the day's budget; the pacer corrects for days that
are cheaper or dearer than forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.bandits.knapsack import greedy, hull
from bidpilot.agents.bandits.segment_thompson import ratio_draws
from bidpilot.agents.base import MultiplierPolicy
from bidpilot.agents.space import Span
from bidpilot.envs.controller import GAIN, Campaigns, Pacer
from bidpilot.envs.forecast import Forecast

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import Campaign, CampaignState


@dataclass(frozen=True, slots=True)
class Config:
    """prior, sharpness: of the ratios, as segment_thompson. gain: the pacer's."""

    prior: float = 12.0
    sharpness: float = 30.0
    gain: float = GAIN

    def build(self, past: Past) -> CombinatorialThompson:
        """Build the policy."""
        return CombinatorialThompson(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"prior": Span(5.0, 80.0), "sharpness": Span(1.0, 100.0)}


class Curve:
    """What a campaign's levels cost and earn on an average day: the concave hull of its forecast.

    cost, value: (h,) currency, rising. multipliers: (h + 1,) that bring them, the first one bringing nothing.
    """

    def __init__(self, forecast: Forecast) -> None:
        """Find the hull."""
        cost = forecast.spend.sum(axis=1) * forecast.full_cost
        value = forecast.value.sum(axis=1) * forecast.full_value
        kept = hull(cost, value)
        self.cost, self.value = cost[kept], value[kept]
        below = forecast.multipliers[max(int(kept[0]) - 1, 0)] if len(kept) else forecast.multipliers[0]
        self.multipliers = np.append(below, forecast.multipliers[kept])

    def at(self, steps: float) -> float:
        """Return the multiplier a number of steps up the hull, between two of them the geometric mean."""
        return float(np.exp(np.interp(steps, np.arange(len(self.multipliers)), np.log(self.multipliers))))


class CombinatorialThompson(MultiplierPolicy):
    """A multiplier per campaign."""

    def __init__(self, config: Config, past: Past) -> None:
        """Keep the past: curves are measured once for each auction, unless the forecast has parts."""
        self.config, self.forecast, self._past = config, past.forecast, past
        self.groups = past.days[0].segments
        self._curves: dict[str, list[Curve | None]] = {}

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start a new pacer and forget the ratios."""
        auction = campaign.rules.auction
        if auction not in self._curves:
            self._curves[auction] = curves_of(self._past, auction)
        self._known = self._curves[auction]
        self._budget = campaign.scarcity * self.forecast.full_cost
        self._pacer = Pacer(Campaigns.of([campaign], self.groups), self.forecast, self.config.gain)
        self._rng = rng

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multipliers (campaigns,); a campaign of which the past says nothing bids as all together."""
        common, start = (float(np.ravel(m)[0]) for m in (self._pacer.observe(state.lifted()), self._pacer.start))
        told, config = state.total, self.config
        ratio = ratio_draws(told.clicks, told.predicted_clicks, config.prior, config.sharpness, self._rng)
        wanted = common * ratio
        known = [k for k, curve in enumerate(self._known) if curve is not None]
        wanted[known] = np.array(self._solve(ratio)) * common / start
        return wanted

    def _solve(self, ratio: FloatArray) -> list[float]:
        """Return the multiplier of each known campaign when the curves are worth this much of what was forecast."""
        known = [(curve, r) for curve, r in zip(self._known, ratio.tolist(), strict=True) if curve is not None]
        steps = greedy([curve.cost for curve, _ in known], [r * curve.value for curve, r in known], self._budget)
        return [curve.at(step) for (curve, _), step in zip(known, steps.tolist(), strict=True)]


def curves_of(past: Past, auction: str) -> list[Curve | None]:
    """Return each segment's curve; None where the past days hold nothing of it that can be won."""
    if past.forecast.parts:
        return [Curve(part) for part in past.forecast.parts]
    curves: list[Curve | None] = []
    for segment in range(past.days[0].segments):
        alone = [day.only(segment) for day in past.days]
        some = any((np.isfinite(day.ratio) & (day.ratio > 0)).any() for day in alone)
        curves.append(Curve(Forecast.of(alone, auction)) if some else None)
    return curves
