"""The common ground of policies that split one purse: every segment is a campaign with its own share and pacing.

Pacing is envs/allocation.Split: a campaign bids with the multiplier at which its own forecast spends its share of what
is left, corrected by what it spent so far. A policy says only how the purse is split. What one campaign leaves, the
others spend, each by its share.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.envs.allocation import Split
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.agents.base import Past
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import Campaign, CampaignState

UNKNOWN = 1e-6
"""Share of the whole that a campaign is taken to be whose past holds nothing that could be won."""


class SharedPurse(MultiplierPolicy):
    """A multiplier per segment, by the shares that a policy decides on each tick."""

    def __init__(self, past: Past, gain: float) -> None:
        """Keep the past: what a campaign's money buys depends on the auction, which reset tells."""
        self.groups = past.days[0].segments
        self._past = past
        self._known: dict[str, Forecast] = {}
        self._scenario = Scenario("allocation", gain=gain)
        self._split: _Steered | None = None

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Start the campaigns' pacing."""
        auction = campaign.rules.auction
        if auction not in self._known:
            self._known[auction] = _measured(self._past, auction)
        self._split = _Steered(campaign, self._known[auction], self.groups, self._scenario, self.shares)

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multipliers (segments,)."""
        if self._split is None:
            raise RuntimeError("reset the policy before its first tick")
        self._split.take(state.lifted())
        return np.ravel(self._split.multipliers(self._split.zero))

    @abstractmethod
    def shares(self, state: CampaignState, forecast: Forecast, budget: float) -> FloatArray:
        """Return the shares (segments,) of what is left. forecast: with parts. budget: currency, see Split."""


class _Steered(Split):
    """A split that is told its shares."""

    def __init__(
        self,
        campaign: Campaign,
        forecast: Forecast,
        groups: int,
        scenario: Scenario,
        shares: Callable[[CampaignState, Forecast, float], FloatArray],
    ) -> None:
        super().__init__([campaign], forecast, groups, scenario)
        self._shares = shares

    def _even_split(self, state: CampaignState) -> FloatArray:
        return self._shares(state, self.forecast, float(np.ravel(self._to_spend())[0])).reshape(1, self.groups)


def _measured(past: Past, auction: str) -> Forecast:
    """Return what the past says of the whole and of each segment, also where one had nothing that could be won."""
    whole = Forecast.of(past.days, auction)
    alone = [[day.only(segment) for day in past.days] for segment in range(past.days[0].segments)]
    rare = replace(whole, full_cost=UNKNOWN * whole.full_cost, full_value=UNKNOWN * whole.full_value)
    parts = (Forecast.of(each, auction) if any(day.full_cost > 0 for day in each) else rare for each in alone)
    return replace(whole, parts=tuple(parts))
