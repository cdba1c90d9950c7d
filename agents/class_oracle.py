"""The best constant multipliers per segment, or per tick and segment, in hindsight: it knows prices and true worths.

What a targeting policy could reach at most with multipliers that stay, or at first price with any multipliers. The gap
to agents/oracle is what one multiplier per segment is worth; that to R* is what better predictions would bring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.envs.policy_class import best_of_class

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign, CampaignState


class ClassOracle(MultiplierPolicy):
    """Gets the day through its constructor, as the oracle of one multiplier does.

    by: "day", "segment" or "cell", see envs/policy_class. A campaign's cost limit is not looked at. Raises InputError
    on reset for an unknown grouping, or an auction other than second and first price.
    """

    def __init__(self, day: Day, by: str = "segment") -> None:
        """Look at the day."""
        self.groups = day.segments
        self._day, self._by = day, by
        self._plan = np.zeros((day.ticks, day.segments))

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Solve the day for the budget."""
        self._plan = best_of_class(self._day, campaign.budget, self._by, campaign.rules.auction).multipliers

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multipliers (segments,) of the tick."""
        return np.asarray(self._plan[state.tick])
