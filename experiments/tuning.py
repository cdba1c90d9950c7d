"""Every baseline gets the same number of trials on the same training days, at each budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from bidpilot.agents.rollout import run_episode
from bidpilot.agents.space import spread
from bidpilot.ctr.types import MICROS
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.types import COLUMNS, Campaign, Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.agents.base import BiddingPolicy, Past, PolicyConfig
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day

EXPECTED = COLUMNS.index("expected")
TRIALS = (103,)
"""Key of the stream of the policies' own draws in trials: the same for all candidates, shared with no role of a run."""


def campaign_for(days: Sequence[Day], share: float, auction: str) -> Campaign:
    """Return the campaign whose budget is a share of the days' mean full cost."""
    full_cost = float(np.mean([day.full_cost for day in days])) / MICROS
    return Campaign(share * full_cost, days[0].ticks, full_cost, Rules(auction))


def scores(policy: BiddingPolicy, days: Sequence[Day], campaign: Campaign) -> FloatArray:
    """Return R / R* (days,): expected worth against the most that the budget could have bought."""
    streams = np.random.default_rng(np.random.SeedSequence(0, spawn_key=TRIALS)).spawn(len(days))
    earned = [
        run_episode(policy, day, campaign, rng).table[:, EXPECTED].sum() for day, rng in zip(days, streams, strict=True)
    ]
    best = [best_value(day, np.array([campaign.budget]))[0] for day in days]
    return np.array(earned) / np.maximum(best, 1e-12)


def tune(
    configs: dict[str, type[PolicyConfig]], past: Past, days: Sequence[Day], shares: Sequence[float], auction: str
) -> dict[tuple[str, float], PolicyConfig]:
    """Return, for each policy and budget share, the candidate with the highest mean R / R* on these days."""
    chosen: dict[tuple[str, float], PolicyConfig] = {}
    work = [(name, share) for name in configs for share in shares]
    for name, share in tqdm(work, desc="tune baselines", unit="policy x budget", disable=None):
        campaign = campaign_for(days, share, auction)
        trials = [(config, scores(config.build(past), days, campaign).mean()) for config in spread(configs[name])]
        chosen[name, share] = max(trials, key=lambda trial: trial[1])[0]
    return chosen
