"""A multiplier becomes bids: one for all, or one per segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.envs.day import Opportunities
from bidpilot.envs.types import Campaign, CampaignState, Feedback

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray


class Fixed(MultiplierPolicy):
    """Always the same multipliers."""

    def __init__(self, *multipliers: float) -> None:
        """Keep the multipliers."""
        self.groups, self._multipliers = len(multipliers), np.array(multipliers)

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return them, times the number of the tick from 1 on."""
        return self._multipliers * (state.tick + 1)


def opportunities() -> Opportunities:
    value = np.array([1.0, 2.0, 4.0, 0.0])
    return Opportunities(value, value, value, value, np.array([0, 2, 1, 2]), np.zeros(4, np.int64))


def state(tick: int) -> CampaignState:
    nothing = Feedback(*np.zeros((8, 1)))
    return CampaignState(tick, 0.0, 1.0, nothing, nothing)


def test_one_multiplier_goes_to_all() -> None:
    assert Fixed(0.5).bid(state(0), opportunities()).tolist() == [0.5, 1.0, 2.0, 0.0]
    assert Fixed(0.5).bid(state(1), opportunities()).tolist() == [1.0, 2.0, 4.0, 0.0]


def test_each_segment_gets_its_own_multiplier() -> None:
    assert Fixed(1.0, 10.0, 100.0).bid(state(0), opportunities()).tolist() == [1.0, 200.0, 40.0, 0.0]


def test_a_policy_without_multipliers_cannot_be_made() -> None:
    class Half(MultiplierPolicy):
        def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
            """Nothing to forget."""

    with pytest.raises(TypeError, match="multipliers"):
        Half()  # type: ignore[abstract]
