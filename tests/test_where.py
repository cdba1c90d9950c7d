"""Where the money went: the replay is the comparison once more, and its tables add up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents import linear
from bidpilot.agents.learned import silent_policy
from bidpilot.envs.scenarios import find_scenario
from bidpilot.envs.timeline import split, timeline_of
from bidpilot.envs.types import Campaign
from bidpilot.experiments import prepare as preparing
from bidpilot.experiments import where as replaying
from bidpilot.experiments.compare import judge
from bidpilot.experiments.config import load_settings
from bidpilot.experiments.evaluate import Contender
from bidpilot.experiments.prepare import Arena, prepare
from bidpilot.experiments.report import write_report
from bidpilot.experiments.report_input import ANSWERS, LANDSCAPE, LIMITS, MONEY, MOVES, read_table
from bidpilot.experiments.run import Run
from bidpilot.experiments.source import Source
from bidpilot.experiments.watched import Watched
from bidpilot.experiments.where import LEVELS, SEGMENTS, where

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.envs.beliefs import Beliefs

TICKS = 24
DAYS = ("days.train=4", "days.validate=2", "days.tune=2", "days.resampled=2", "days.opportunities=200")


@pytest.fixture(scope="module")
def played(
    tmp_path_factory: pytest.TempPathFactory,
    visits: Callable[..., AuctionLog],
    believe: Callable[..., Beliefs],
) -> tuple[Run, pd.DataFrame, dict[str, pd.DataFrame]]:
    """Give a run with stand-in models, its comparison of a controller with a baseline, and what where makes of it."""
    log = visits(3)
    train, held_out = split(log, 0.6)
    beliefs = believe(train, timeline_of(log, held_out, TICKS))
    settings = load_settings(None, {"budgets": ["1/4", "1/8"], "ticks_per_day": TICKS}, DAYS)
    run, source = Run.create(tmp_path_factory.mktemp("where") / "run", settings), Source(log, train, held_out)
    with pytest.MonkeyPatch.context() as patch:
        for module in (preparing, replaying):
            patch.setattr(module, "load_beliefs", lambda _run: beliefs)
        arena = prepare(run, source)
        agent = silent_policy(find_scenario("bidpilot/Targeting-v0"), arena.past.forecast, arena.segments)
        run.finish("train")
        patch.setattr(replaying, "load_trained", lambda _run: (agent, None, None))
        results = judge(run, source, [_learner(agent), _baseline(arena)], arena)
        tables = where(run, source, arena, results)
    return run, results, tables


def _learner(agent: object) -> Contender:
    return Contender("ppo", "learner", lambda *_: agent, lambda _share: "{}")  # type: ignore[arg-type]


def _baseline(arena: Arena) -> Contender:
    config = linear.Config()
    record = json.dumps({"factor": config.factor, "trials": 1})
    return Contender("linear", "baseline", lambda *_: config.build(arena.past), lambda _share: record)


def test_money_by_segment_and_hour_adds_up_to_the_comparison(
    played: tuple[Run, pd.DataFrame, dict[str, pd.DataFrame]],
) -> None:
    """Both policies at both budgets: spend, wins and expected worth are those of results.csv, to the micro."""
    _, results, tables = played
    sums = tables["money.csv"].groupby(["policy", "budget"])[["spend", "wins", "expected", "revenue"]].sum()
    assert len(sums) == 4
    for _, row in sums.reset_index().iterrows():
        own = results[(results["policy"] == row["policy"]) & (results["budget"] == row["budget"])].iloc[0]
        assert row["spend"] == pytest.approx(own["spend"], rel=1e-9)
        assert row["wins"] == pytest.approx(own["wins"], rel=1e-9)
        assert row["expected"] == pytest.approx(own["expected_value"], rel=1e-9)
        assert row["revenue"] == pytest.approx(own["value"], rel=1e-9)


def test_tables_are_what_the_report_reads(played: tuple[Run, pd.DataFrame, dict[str, pd.DataFrame]]) -> None:
    run, _, tables = played
    for table in (MONEY, MOVES, ANSWERS, LIMITS, LANDSCAPE):
        assert len(read_table(run.folder / table.file, table)) == len(tables[table.file])
    html = write_report(run.folder).read_text()
    assert all(f'id="{name}"' in html for name in ("segments", "hours", "moves", "answers", "landscape", "limits"))


def test_only_the_learner_is_asked_and_its_answers_cover_the_day(
    played: tuple[Run, pd.DataFrame, dict[str, pd.DataFrame]],
) -> None:
    """A controller that is behind its plan raises the bid, one that is ahead lowers it."""
    answers = played[2]["answers.csv"]
    assert set(answers["policy"]) == {"ppo"}
    assert len(answers) == 2 * TICKS * len(LEVELS)
    late = answers[answers["hour"] == TICKS // 2].groupby("left")["change"].mean()
    assert late.iloc[-1] >= late.iloc[0]


def test_the_budget_is_never_broken_and_the_moves_are_played(
    played: tuple[Run, pd.DataFrame, dict[str, pd.DataFrame]],
) -> None:
    limits, moves = played[2]["limits.csv"], played[2]["moves.csv"]
    assert (limits["broken"] == 0).all()
    assert (limits["most"] <= 1.0).all()
    assert (moves.loc[moves["tick"] == 0, "left"] == 1.0).all()
    assert (np.diff(moves["left"].to_numpy().reshape(-1, TICKS)) <= 0).all()


def test_a_bid_wins_as_often_as_prices_lie_below_it(
    played: tuple[Run, pd.DataFrame, dict[str, pd.DataFrame]],
) -> None:
    """The stand-in law is the law that the stand-in days were drawn from, so that both chances agree."""
    land = played[2]["landscape.csv"]
    assert land["chance"].is_monotonic_increasing
    assert (land["cost"] <= land["bid"] + 1e-12).all()
    np.testing.assert_allclose(land["chance"], land["believed"], atol=0.05)


def test_a_broken_cost_limit_is_counted() -> None:
    """Spending 6 for a worth of 4 breaks a limit of 1, by half; spending 3 keeps it."""
    table = np.zeros((1, 1, 8))
    table[0, 0, [1, 7]] = 6_000_000, 4.0
    cheap = table.copy()
    cheap[0, 0, 1] = 3_000_000
    none, left = np.zeros((1, 1)), np.array([1.0, 0.4])
    seen = [Watched(t, none, none, left, (), np.zeros((0, 0))) for t in (table, cheap)]
    ground = replaying.Ground((), np.zeros(0, int), ("all",), np.zeros(1, int), np.zeros(1, int), np.array([24.0]), {})
    found = replaying._limits(seen, Campaign(10.0, 1, 20.0, cost_limit=1.0), ground)
    budget, cost = found.to_dict("records")
    assert (budget["limit"], budget["broken"], budget["most"]) == ("budget", 0, pytest.approx(0.6))
    assert (cost["limit"], cost["days"], cost["broken"], cost["most"]) == ("cost per worth", 2, 1, pytest.approx(1.5))


def test_most_segments_are_told_apart_and_the_rest_is_one() -> None:
    """Fifteen segments: the eleven with most traffic keep their names, four are the others."""
    names, groups = replaying._groups([f"s{i}" for i in range(15)], np.arange(15))
    assert names == (*(f"s{i}" for i in range(14, 3, -1)), "4 others")
    assert len(names) == SEGMENTS
    assert groups[:4].tolist() == [11] * 4
    assert replaying._groups(["a", "b"], np.array([1, 5]))[0] == ("b", "a")
