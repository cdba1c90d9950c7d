"""Stage 3: play policies on the evaluation days, all on the same people and the same draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from bidpilot.agents.rollout import run_episode
from bidpilot.envs.replay import resampled
from bidpilot.experiments.metrics import RECORD, Ideal, episode_record
from bidpilot.experiments.statistics import day_weights
from bidpilot.experiments.tuning import campaign_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign


WHOLE_DAYS = 10
"""Replicates are this many times cheaper, so as many more, where whole days are resampled: nothing is played again."""


@dataclass(frozen=True)
class Contender:
    """A policy in a comparison.

    role: baseline, learner or oracle. make: (day, budget share) -> the policy to play there (only the oracle
    looks at the day). settings: how it was set up, per budget share, for the record.
    """

    name: str
    role: str
    make: Callable[[Day, float], BiddingPolicy]
    settings: Callable[[float], str]


@dataclass(frozen=True)
class Field:
    """The days of a comparison, and how its intervals are drawn.

    days: the episodes themselves, then, where they are few, bootstrap replicates of them. point: (1, e) and
    draws: (replicates, e), how often each episode counts in the estimate and in each replicate.
    """

    days: tuple[Day, ...]
    episodes: int
    point: FloatArray
    draws: FloatArray

    @classmethod
    def of(cls, days: Sequence[Day], replicates: int, fewest: int, rng: np.random.Generator) -> Field:
        """Resample whole days if there are at least `fewest`, else the impressions within each day."""
        count = len(days)
        if count >= fewest:
            return cls(tuple(days), count, np.ones((1, count)), day_weights(count, WHOLE_DAYS * replicates, rng))
        copies = [resampled(day, r) for r in rng.spawn(replicates) for day in days]
        point = np.concatenate([np.ones((1, count)), np.zeros((1, len(copies)))], axis=1)
        draws = np.concatenate([np.zeros((replicates, count)), np.repeat(np.eye(replicates), count, axis=1)], axis=1)
        return cls((*days, *copies), count, point, draws)

    @property
    def resampled_within(self) -> bool:
        """Tell whether intervals come from resampling impressions within the episodes."""
        return len(self.days) > self.episodes


@dataclass(frozen=True)
class Played:
    """What contenders did, by (name, budget share).

    records: (e, len(RECORD)) of every episode. spent: (ticks,) mean cumulative spend over the real episodes, as a
    share of the budget. plans: (ticks,) the oracle's, by share. campaigns: by share.
    """

    records: dict[tuple[str, float], FloatArray]
    spent: dict[tuple[str, float], FloatArray]
    plans: dict[float, FloatArray]
    campaigns: dict[float, Campaign]


def play_all(
    contenders: Sequence[Contender], field: Field, shares: Sequence[float], auction: str, rng: np.random.Generator
) -> Played:
    """Play every contender at every budget on every episode. The policies' own random streams are paired too."""
    campaigns = {share: campaign_for(field.days[: field.episodes], share, auction) for share in shares}
    ideals = {share: [Ideal(day, campaigns[share]) for day in field.days] for share in shares}
    records, spent = {}, {}
    work = [(contender, share) for contender in contenders for share in shares]
    seeds = rng.integers(2**63, size=len(field.days))
    for contender, share in tqdm(work, desc="compare", unit="policy x budget", disable=None):
        rows, curves = np.empty((len(field.days), len(RECORD))), []
        for i, day in enumerate(field.days):
            policy = contender.make(day, share)
            result = run_episode(policy, day, campaigns[share], np.random.default_rng(int(seeds[i])))
            rows[i] = episode_record(result, day, ideals[share][i])
            if i < field.episodes:
                curves.append(np.cumsum(result.table[:, 1]) / 1e6 / campaigns[share].budget)
        records[contender.name, share], spent[contender.name, share] = rows, np.mean(curves, axis=0)
    plans = {share: np.mean([ideal.plan for ideal in ideals[share][: field.episodes]], axis=0) for share in shares}
    return Played(records, spent, plans, campaigns)


if __name__ == "__main__":
    from bidpilot.experiments.cli import main

    main("evaluate")
