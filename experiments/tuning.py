"""Every baseline gets the same number of trials on the same training days, in each campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
from tqdm import tqdm

from bidpilot.agents.rollout import run_episode
from bidpilot.agents.space import spread
from bidpilot.ctr.types import MICROS
from bidpilot.envs.hindsight import best_of, best_value
from bidpilot.envs.types import COLUMNS, Campaign, Rules
from bidpilot.experiments.sealed import sealing

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from bidpilot.agents.base import BiddingPolicy, Past, PolicyConfig
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day

    Score: TypeAlias = Callable[[BiddingPolicy, Sequence[Day], Campaign], FloatArray]
    Key = TypeVar("Key", bound=Hashable)

EXPECTED, SPEND = COLUMNS.index("expected"), COLUMNS.index("spend")
NOTHING = 1e-12
TRIALS = (103,)
"""Key of the stream of the policies' own draws in trials: the same for all candidates, shared with no role of a run."""


def campaign_for(days: Sequence[Day], share: float, auction: str, expected: float) -> Campaign:
    """Return the campaign whose budget is a share of the days' mean full cost.

    expected: currency, what the past says that winning everything in an episode will cost. That is what policies are
    told (Campaign.full_cost): the cost of the days that they are about to play is not known beforehand.
    """
    full_cost = float(np.mean([day.full_cost for day in days])) / MICROS
    return Campaign(share * full_cost, days[0].ticks, expected, Rules(auction))


def scores(policy: BiddingPolicy, days: Sequence[Day], campaign: Campaign) -> FloatArray:
    """Return R / R* (days,): expected worth against the most that the budget could have bought."""
    worth, _ = _won(policy, days, campaign)
    best = [best_value(day, np.array([campaign.budget]))[0] for day in days]
    return worth / np.maximum(best, NOTHING)


def penalised(policy: BiddingPolicy, days: Sequence[Day], campaign: Campaign) -> FloatArray:
    """Return R / R* (days,), times the penalty where the campaign's limit on the cost of worth was broken.

    R* keeps the limit. A score above 1 is possible where a little more cost buys much more worth.
    """
    if campaign.cost_limit == np.inf:
        return scores(policy, days, campaign)
    worth, spend = _won(policy, days, campaign)
    best = np.array([best_of(day, campaign.budget, campaign.cost_limit) for day in days])
    shares = np.divide(worth, best, out=np.zeros(len(days)), where=best > NOTHING)
    return np.asarray(penalty(spend, worth, campaign.cost_limit) * shares)


def penalty(spend: FloatArray, worth: FloatArray, cost_limit: float) -> FloatArray:
    """Return min(1, (C / CPA)^2), with C / CPA = cost_limit x worth / spend, elementwise; 1 where nothing was spent.

    The score of AuctionNet (NeurIPS 2024): one that costs twice what it may counts a quarter.
    """
    if cost_limit == np.inf:
        return np.ones_like(spend)
    allowed = np.divide(cost_limit * worth, spend, out=np.ones_like(spend), where=spend > 0)
    return np.asarray(np.minimum(1.0, allowed**2))


def _won(policy: BiddingPolicy, days: Sequence[Day], campaign: Campaign) -> tuple[FloatArray, FloatArray]:
    """Play the days; return the expected worth won and what was paid, (days,) each, in currency."""
    streams = np.random.default_rng(np.random.SeedSequence(0, spawn_key=TRIALS)).spawn(len(days))
    tables = [run_episode(policy, day, campaign, rng).table for day, rng in zip(days, streams, strict=True)]
    worth, spend = (np.array([table[:, column].sum() for table in tables]) for column in (EXPECTED, SPEND))
    return worth, spend / MICROS


@sealing("tuning")
def tune(
    configs: Mapping[str, type[PolicyConfig]],
    past: Past,
    days: Sequence[Day],
    campaigns: Mapping[Key, Campaign],
    score: Score = penalised,
) -> dict[tuple[str, Key], PolicyConfig]:
    """Return, for each policy and campaign, the candidate with the highest mean score on these days.

    The quick way: the candidates are agents.space.spread, as many for every policy. campaigns: by budget share, or
    by any other key. The first of equal candidates wins, so the default if it is among them.
    """
    chosen: dict[tuple[str, Key], PolicyConfig] = {}
    work = [(name, key) for name in configs for key in campaigns]
    for name, key in tqdm(work, desc="tune baselines", unit="policy x budget", disable=None):
        trials = [(c, score(c.build(past), days, campaigns[key]).mean()) for c in spread(configs[name])]
        chosen[name, key] = max(trials, key=lambda trial: trial[1])[0]
    return chosen
