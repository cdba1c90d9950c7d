"""Play policies on a family's test days, all on the same people and draws, and keep what counts of each episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.hindsight import best_of
from bidpilot.experiments.tuning import penalty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign, EpisodeResult

    Maker: TypeAlias = Callable[[Day], BiddingPolicy]

RECORD = ("earned", "expected", "best", "spend", "budget", "excess", "value", "conversions")
"""What is kept of an episode. earned: the expected worth, less the penalty where the cost limit was broken; excess:
cost of worth as a multiple of the limit (0 without one); money in currency."""

DRAWS = (105,)
"""Key of the stream of the policies' own draws: day by day the same for all of them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy in the suite.

    role: baseline, learner or oracle. makers: (seeds, budgets), what is played on a day; only the oracle's looks at it.
    """

    name: str
    role: str
    makers: tuple[tuple[Maker, ...], ...]


def always(policy: BiddingPolicy) -> Maker:
    """Return the maker of a policy that is the same on every day."""
    return lambda _day: policy


def play(entry: Entry, days: Sequence[Day], campaigns: Sequence[Campaign]) -> FloatArray:
    """Return the records (seeds, budgets, days, len(RECORD)) of an entry."""
    return np.array(
        [
            [play_days(make, days, campaign) for make, campaign in zip(row, campaigns, strict=True)]
            for row in entry.makers
        ]
    )


def play_days(make: Maker, days: Sequence[Day], campaign: Campaign) -> FloatArray:
    """Return the records (days, len(RECORD)) of one policy with one campaign."""
    streams = np.random.default_rng(np.random.SeedSequence(0, spawn_key=DRAWS)).spawn(len(days))
    played = ((run_episode(make(day), day, campaign, rng), day) for day, rng in zip(days, streams, strict=True))
    return np.array([record(result, day) for result, day in played])


def record(result: EpisodeResult, day: Day) -> FloatArray:
    """Return what is kept of an episode, (len(RECORD),)."""
    campaign, expected = result.campaign, result.total("expected")
    spend = result.total("spend") / MICROS
    best = best_of(day, campaign.budget, campaign.cost_limit)
    earned = expected * float(penalty(np.array(spend), np.array(expected), campaign.cost_limit))
    limited = campaign.cost_limit < np.inf
    excess = spend / (campaign.cost_limit * expected) if expected > 0 else np.inf if limited and spend > 0 else 0.0
    value, conversions = result.total("revenue") / MICROS, result.total("conversions")
    return np.array([earned, expected, best, spend, campaign.budget, excess, value, conversions])
