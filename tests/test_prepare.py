"""What a comparison tells policies: the past's forecast of what an episode costs, never the held-out days' own cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents import linear
from bidpilot.ctr.types import MICROS
from bidpilot.envs.timeline import split, timeline_of
from bidpilot.experiments import prepare as preparing
from bidpilot.experiments.compare import judge
from bidpilot.experiments.config import load_settings
from bidpilot.experiments.evaluate import Contender
from bidpilot.experiments.prepare import evaluation_days, expected_cost, prepare
from bidpilot.experiments.run import Run
from bidpilot.experiments.source import Source
from bidpilot.experiments.tuning import campaign_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.envs.beliefs import Beliefs
    from bidpilot.envs.types import Campaign

SHARE, TICKS = 1 / 4, 24
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
    judge(
        run,
        source,
        [Contender("listener", "baseline", lambda *_: listener, lambda _share: '{"trials": 1}')],
        expected_cost(run, source),
    )
    true_cost = np.mean([day.full_cost for day in evaluation_days(run, source)]) / MICROS
    assert {campaign.full_cost for campaign in told} == {arena.full_cost}
    assert {campaign.budget for campaign in told} == {SHARE * true_cost}
    assert arena.full_cost == arena.volume * arena.past.forecast.full_cost
    assert arena.volume > 2
    assert arena.full_cost == pytest.approx(true_cost, rel=0.3)
    assert arena.full_cost != pytest.approx(true_cost, rel=1e-6)


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
