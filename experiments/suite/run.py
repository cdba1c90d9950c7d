"""`bidpilot suite`: train what is missing, play every family, judge the claims, and say in words what came out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from bidpilot.agents.oracle import Oracle
from bidpilot.agents.registry import find_policy
from bidpilot.ctr.files import write_atomically
from bidpilot.experiments.suite.contenders import Learner
from bidpilot.experiments.suite.days import Sizes, campaign_of, days_of, past_of
from bidpilot.experiments.suite.families import BUDGETS, MarketFamily
from bidpilot.experiments.suite.kept import policy_folder
from bidpilot.experiments.suite.learners import load_policy
from bidpilot.experiments.suite.marketplace import play_market
from bidpilot.experiments.suite.marketplace_learner import load_seat
from bidpilot.experiments.suite.play import Entry, always, play
from bidpilot.experiments.suite.verdicts import Draws, claim_rows, profile_table, score_table, together
from bidpilot.experiments.tuning import tune

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bidpilot.agents.base import Past
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign
    from bidpilot.experiments.suite.families import AnyFamily, Family

ORACLE = "oracle"
BOOTSTRAP = (106,)
"""Key of the stream of the bootstrap."""


@dataclass(frozen=True, slots=True)
class SuiteConfig:
    """What is evaluated. seeds: training seeds of the learner. budgets: shares. sizes: days by role."""

    seeds: int = 5
    budgets: tuple[float, ...] = BUDGETS
    sizes: Sizes = field(default_factory=Sizes)

    @classmethod
    def quick(cls) -> SuiteConfig:
        """Return a small suite, to see that all of it works: its intervals are wide."""
        return cls(seeds=1, budgets=(1 / 4, 1 / 16), sizes=Sizes(train=40, tune=4, validate=4, test=10))


def run_suite(root: Path, families: Sequence[AnyFamily], config: SuiteConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Play the families with the policies trained under root; write and return scores and claims.

    Writes suite.csv, claims.csv and profile.csv. Raises InputError where a trained policy is missing.
    """
    scores, claims, profiles = [], [], []
    for family in tqdm(families, desc="suite", unit="family", disable=None):
        roles, records = play_family(root, family, config)
        draws = Draws(records, np.random.default_rng(np.random.SeedSequence(0, spawn_key=BOOTSTRAP)))
        budgets = () if isinstance(family, MarketFamily) else config.budgets  # a seat has its own
        scores.append(score_table(family, roles, budgets, draws))
        claims.append(claim_rows(family, family.learner, draws))
        profiles.append(profile_table(family, draws))
    tables = pd.concat(scores, ignore_index=True), together(claims)
    written = {"suite.csv": tables[0], "claims.csv": tables[1], "profile.csv": pd.concat(profiles, ignore_index=True)}
    for name, table in written.items():
        write_atomically(root / name, table.to_csv(index=False))
    return tables


def play_family(root: Path, family: AnyFamily, config: SuiteConfig) -> tuple[dict[str, str], dict[str, FloatArray]]:
    """Return the role and the records of every policy of a family, by name."""
    if isinstance(family, MarketFamily):
        folders = [policy_folder(root, family, seed) for seed in range(config.seeds)]
        trained = [Learner(load_seat(folder, family.config)) for folder in folders]
        return play_market(family, family.learner, trained, config.sizes.tune, config.sizes.test)
    train, tuned_on = (days_of(family, role, getattr(config.sizes, role)) for role in ("train", "tune"))
    past = past_of(family, train)
    plain = replace(family, strictness=1.0)
    campaigns = [campaign_of(family, past.forecast, share) for share in config.budgets]
    tuning = {share: campaign_of(plain, past.forecast, share) for share in config.budgets}
    entries = [*_baselines(family, past, tuned_on, tuning), _learner(root, family, config)]
    if family.limit is None:
        entries.append(Entry(ORACLE, ORACLE, (tuple([Oracle] * len(campaigns)),)))
    seen = (*train, *tuned_on, *days_of(family, "validate", config.sizes.validate))
    test = days_of(family, "test", config.sizes.test, seen)
    bar = tqdm(entries, desc=family.name, unit="policy", disable=None, leave=False)
    return {entry.name: entry.role for entry in entries}, {entry.name: play(entry, test, campaigns) for entry in bar}


def _baselines(family: Family, past: Past, days: tuple[Day, ...], campaigns: dict[float, Campaign]) -> list[Entry]:
    configs = {name: find_policy(name) for name in family.baselines}
    chosen = tune(configs, past, days, campaigns)
    return [
        Entry(name, "baseline", (tuple(always(chosen[name, share].build(past)) for share in campaigns),))
        for name in configs
    ]


def _learner(root: Path, family: Family, config: SuiteConfig) -> Entry:
    trained = [always(load_policy(root, family, seed)) for seed in range(config.seeds)]
    return Entry(family.learner, "learner", tuple((one,) * len(config.budgets) for one in trained))
