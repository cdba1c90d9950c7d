"""What every policy is to the evaluator: baselines, learners, bundles and oracles alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day, Opportunities
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.types import Campaign, CampaignState


class BiddingPolicy(Protocol):
    """Decides bids from what may be seen. groups: rows of feedback it wants, 1 or the number of segments."""

    groups: int

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Forget the last episode and start one."""

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:
        """Return the bids (n,), currency per impression, for the tick's opportunities; 0 = no bid."""


class MultiplierPolicy(ABC):
    """A policy whose bid is multiplier x value: it is played through the ladder."""

    groups: int = 1

    @abstractmethod
    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Forget the last episode and start one."""

    @abstractmethod
    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the multipliers (groups,) of the coming tick. Called once per tick, in order."""

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:
        """Return the bids (n,): the multiplier of each opportunity's group times its predicted worth."""
        multipliers = self.multipliers(state)
        return seen.value * (multipliers[seen.segment] if self.groups > 1 else multipliers[0])


@dataclass(frozen=True)
class Past:
    """What a policy may learn from before the campaign starts: past days, prices included, and their forecast."""

    days: tuple[Day, ...]
    forecast: Forecast


class PolicyConfig(Protocol):
    """A policy's frozen settings; they sit beside the class that they build."""

    def build(self, past: Past) -> BiddingPolicy:
        """Build the policy, with the past at hand."""

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try of the fields; empty where there is nothing to tune."""
