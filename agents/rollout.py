"""Play a policy on a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.envs.episode import Episode
from bidpilot.envs.simulator import seen_at

if TYPE_CHECKING:
    import numpy as np

    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign, EpisodeResult


def run_episode(policy: BiddingPolicy, day: Day, campaign: Campaign, rng: np.random.Generator) -> EpisodeResult:
    """Play one campaign on one day; rng is the policy's own stream. Spend never exceeds the budget."""
    policy.reset(campaign, rng)
    episode = Episode(day, campaign, policy.groups)
    while not episode.over:
        if isinstance(policy, MultiplierPolicy):
            episode.bid_multipliers(policy.multipliers(episode.state()))
        else:
            episode.bid_amounts(policy.bid(episode.state(), seen_at(day, episode.tick)))
    return episode.result()
