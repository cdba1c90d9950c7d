"""Stage 3: play policies on the evaluation days, all on the same people and the same draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from bidpilot.agents.rollout import run_episode
from bidpilot.envs.replay import resampled
from bidpilot.experiments.metrics import RECORD, Ideal, cumulative_spend, episode_record, metric
from bidpilot.experiments.statistics import day_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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
    """The episodes of a comparison, and how its intervals are drawn.

    days: the episodes themselves. streams: of the bootstrap copies of them, where they are few; a copy is made when
    its turn comes. point: (1, e) and draws: (replicates, e), how often each of the episodes and copies counts in
    the estimate and in each replicate.
    """

    days: tuple[Day, ...]
    streams: tuple[np.random.Generator, ...]
    point: FloatArray
    draws: FloatArray

    @classmethod
    def of(cls, days: Sequence[Day], replicates: int, fewest: int, rng: np.random.Generator) -> Field:
        """Resample whole days if there are at least `fewest`, else the impressions within each day."""
        count = len(days)
        if count >= fewest:
            return cls(tuple(days), (), np.ones((1, count)), day_weights(count, WHOLE_DAYS * replicates, rng))
        streams = tuple(rng.spawn(replicates * count))
        point = np.concatenate([np.ones((1, count)), np.zeros((1, len(streams)))], axis=1)
        draws = np.concatenate([np.zeros((replicates, count)), np.repeat(np.eye(replicates), count, axis=1)], axis=1)
        return cls(tuple(days), streams, point, draws)

    def __len__(self) -> int:
        """Return the number of episodes, copies included."""
        return len(self.days) + len(self.streams)

    def __iter__(self) -> Iterator[Day]:
        """Yield the episodes, then the copies: replicate by replicate, each of all days."""
        yield from self.days
        for i, stream in enumerate(self.streams):
            yield resampled(self.days[i % len(self.days)], stream)

    @property
    def resampled_within(self) -> bool:
        """Tell whether intervals come from resampling impressions within the episodes."""
        return bool(self.streams)

    def draws_of(self, records: FloatArray, name: str) -> FloatArray:
        """Return a metric's estimate, then its bootstrap replicates, (1 + replicates,), of records (e, len(RECORD))."""
        return np.concatenate([metric(name, records, self.point), metric(name, records, self.draws)])

    def shares_of(self, values: FloatArray) -> FloatArray:
        """Return the mean over episodes, then its replicates, (1 + replicates, ...), of values (e, ...)."""
        weights = np.concatenate([self.point, self.draws])
        return np.asarray(weights @ values / weights.sum(axis=1).reshape(-1, *[1] * (values.ndim - 1)))


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
    contenders: Sequence[Contender], field: Field, campaigns: Mapping[float, Campaign], rng: np.random.Generator
) -> Played:
    """Play every contender with every campaign (by budget share) on every episode.

    The policies' own random streams are paired too.
    """
    real, ticks = len(field.days), field.days[0].ticks
    pairs = [(contender.name, share) for contender in contenders for share in campaigns]
    records = {pair: np.empty((len(field), len(RECORD))) for pair in pairs}
    spent, plans = {pair: np.zeros(ticks) for pair in pairs}, {share: np.zeros(ticks) for share in campaigns}
    seeds = rng.integers(2**63, size=len(field))
    for i, day in enumerate(tqdm(field, desc="compare", unit="episode", total=len(field), disable=None)):
        for share, campaign in campaigns.items():
            ideal = Ideal(day, campaign)
            plans[share] += ideal.plan / real if i < real else 0.0
            for contender in contenders:
                policy = contender.make(day, share)
                result = run_episode(policy, day, campaign, np.random.default_rng(int(seeds[i])))
                records[contender.name, share][i] = episode_record(result, day, ideal)
                spent[contender.name, share] += cumulative_spend(result) / real if i < real else 0.0
    return Played(records, spent, plans, dict(campaigns))


if __name__ == "__main__":
    from bidpilot.experiments.cli import main

    main("evaluate")
