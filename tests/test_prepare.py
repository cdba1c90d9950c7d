"""What a comparison tells policies: the past's forecast of what an episode costs, never the held-out days' own cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.agents import linear
from bidpilot.ctr.types import MICROS
from bidpilot.envs.timeline import split, timeline_of
from bidpilot.experiments import prepare as preparing
from bidpilot.experiments.claims import PROFILE
from bidpilot.experiments.compare import judge
from bidpilot.experiments.config import load_settings
from bidpilot.experiments.evaluate import Contender
from bidpilot.experiments.prepare import evaluation_days, prepare
from bidpilot.experiments.run import Run
from bidpilot.experiments.source import Source
from bidpilot.experiments.tuning import campaign_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.envs.beliefs import Beliefs
    from bidpilot.envs.types import Campaign

SHARE, TICKS, FACTORS = 1 / 4, 24, (1.0, 0.5)
DAYS = ("days.train=4", "days.validate=2", "days.tune=2", "days.resampled=2", "days.opportunities=200")


@pytest.fixture
def opened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    visits: Callable[..., AuctionLog],
    believe: Callable[..., Beliefs],
) -> tuple[Run, Source]:
    """Give a run whose models are stand-ins, and its log: about 800 opportunities a day, the last two held out."""
    log = visits(3)
    train, held_out = split(log, 0.6)
    beliefs = believe(train, timeline_of(log, held_out, TICKS))
    monkeypatch.setattr(preparing, "load_beliefs", lambda _run: beliefs)
    settings = load_settings(None, {"budgets": ["1/4"], "ticks_per_day": TICKS}, DAYS)
    run = Run.create(tmp_path / "run", settings)
    return run, Source(log, train, held_out)


def player(name: str, role: str, policy: BiddingPolicy) -> Contender:
    return Contender(name, role, lambda *_: policy, lambda _share: '{"trials": 1}')


def test_policies_are_told_the_forecast_and_given_a_share_of_the_true_cost(opened: tuple[Run, Source]) -> None:
    """Simulated days of 200 opportunities speak for days of 800: the forecast grows with the traffic."""
    run, source = opened
    told: list[Campaign] = []
    arena = prepare(run, source)

    class Listener(linear.Linear):
        def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
            told.append(campaign)
            super().reset(campaign, rng)

    listener = Listener(linear.Config(), arena.past)
    judge(run, source, [player("listener", "baseline", listener)], arena)
    true_cost = np.mean([day.full_cost for day in evaluation_days(run, source, arena.seen)]) / MICROS
    assert {campaign.full_cost for campaign in told} == {arena.full_cost}
    assert {campaign.budget for campaign in told} == {SHARE * true_cost}
    assert arena.full_cost == arena.volume * arena.past.forecast.full_cost
    assert arena.volume > 2
    assert arena.full_cost == pytest.approx(true_cost, rel=0.3)
    assert arena.full_cost != pytest.approx(true_cost, rel=1e-6)


def test_every_row_says_what_made_it_and_claims_and_profiles_lie_beside(opened: tuple[Run, Source]) -> None:
    run, source = opened
    arena = prepare(run, source)
    high, low = (linear.Config(factor).build(arena.past) for factor in FACTORS)
    played = [player("ppo", "learner", high), player("linear", "baseline", low), player("same", "baseline", high)]
    results = judge(run, source, played, arena)
    made = ["traffic_hash", "seed", "git_commit", "versions", "config"]
    assert results[made].notna().all(axis=None)
    assert results["versions"].str.contains("numpy " + np.__version__, regex=False).all()
    assert (results["git_commit"] == run.facts.get("git_commit", "")).all()
    claims = pd.read_csv(run.folder / "comparison.csv").set_index("policy")
    assert set(claims.index) == {"linear", "same"}
    found = results.set_index("policy")["r_over_rstar"]
    assert claims.loc["linear", "difference"] == pytest.approx(found["ppo"] - found["linear"])
    assert claims.loc["same", "p_holm"] == 1.0
    assert run.facts["claims"]["ppo"]["claims"] == 2
    profile = pd.read_csv(run.folder / "profile.csv")
    assert tuple(profile.columns) == PROFILE
    assert set(profile["policy"]) == {"ppo", "linear", "same"}


def test_simulated_days_of_full_size_need_no_scaling(opened: tuple[Run, Source]) -> None:
    run, source = opened
    settings = run.settings.model_copy(update={"days": run.settings.days.model_copy(update={"opportunities": None})})
    arena = prepare(Run(run.folder, settings), source)
    assert arena.volume == 1.0
    assert np.mean([len(day) for day in arena.past.days]) == pytest.approx(800, rel=0.25)


def test_what_a_campaign_tells_does_not_depend_on_its_days(opened: tuple[Run, Source]) -> None:
    arena = prepare(*opened)
    tuning, validation = (campaign_for(days, SHARE, "second_price", 8.0) for days in (arena.tune, arena.validate))
    assert (tuning.full_cost, validation.full_cost) == (8.0, 8.0)
    assert tuning.budget != validation.budget
