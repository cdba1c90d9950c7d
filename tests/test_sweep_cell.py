"""One cell: a pure function, the same days for every policy, and campaigns as the environment draws them."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bidpilot.agents.oracle import Oracle
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import PAST_DAYS, SCENARIOS
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.experiments.sweep import cell as module
from bidpilot.experiments.sweep.cell import Cell, play_cell
from bidpilot.experiments.sweep.grid import PLAYABLE, SweepConfig, cells_of

SMALL: dict[str, Any] = {"policies": ("pid", "dual"), "budgets": (1 / 8,), "seeds": (0,), "days": 3}
SMALL |= {"opportunities": 800.0}


def cells(**given: Any) -> list[Cell]:  # noqa: ANN401 - fields of SweepConfig
    return cells_of(SweepConfig(**(SMALL | given)), Path("nowhere"))


def rows(cell: Cell) -> list[dict[str, Any]]:
    return list(json.loads(play_cell(cell))["rows"])


def test_a_cell_is_a_pure_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text again, from a copy, and after another cell has taken its place in the cache."""
    one, other = cells()
    told = play_cell(one)
    play_cell(cells(seeds=(1,))[1])
    assert play_cell(copy.deepcopy(one)) == told
    assert play_cell(other) != told
    assert json.loads(told)["cell"] == one.told
    monkeypatch.setattr(module, "_code", lambda: "other")
    with pytest.raises(InputError, match=r"the worker has other versions .*code other for"):
        play_cell(one)


def test_policies_and_budgets_meet_the_same_days_and_seeds_do_not() -> None:
    found = {
        (cell.policy, cell.budget, cell.seed): [row["traffic_hash"] for row in rows(cell)]
        for cell in cells(budgets=(1 / 8, 1 / 4), seeds=(0, 1))
    }
    for (_, _, seed), hashes in found.items():
        assert hashes == found["pid", 1 / 8, seed]
    assert len({hash_ for hashes in found.values() for hash_ in hashes}) == 6


def test_a_day_does_not_depend_on_how_many_there_are() -> None:
    assert rows(cells(days=2)[0]) == rows(cells(days=3)[0])[:2]


def test_the_budget_is_a_share_of_what_past_days_cost() -> None:
    """The past comes from the first of the cell's streams, by the scenario's own law."""
    (cell, _) = cells()
    past = draw_days(TrafficMarket(cell.scenario.traffic), PAST_DAYS, module._streams(cell.name, 0)[0])
    expected = np.mean([day.full_cost for day in past]) / 1e6 / 8
    for row in rows(cell):
        assert row["budget_currency"] == pytest.approx(expected, rel=1e-12)
        assert 0 < row["spend"] <= row["budget_currency"]
        assert row["score"] == row["earned"] / row["best"]
        assert 0.5 < row["score"] <= 1.0


@pytest.mark.parametrize("name", PLAYABLE)
def test_every_scenario_is_played_under_its_own_rules(name: str) -> None:
    """Nobody beats the best possible, but where a cost limit may be broken a little for much more."""
    cell = cells(scenarios=(name,), policies=("incremental",), days=2)[0]
    played = rows(cell)
    assert cell.scenario.rules == SCENARIOS[name].rules
    limited = cell.scenario.limit is not None
    for row in played:
        assert row["wins"] > 0
        assert (row["excess"] > 0) == limited
        assert row["spend"] <= row["budget_currency"] + 1e-6
        assert limited or row["score"] <= 1.0 + 1e-9


def test_the_oracle_of_a_day_scores_at_least_as_much() -> None:
    """What is scored against is the best of exactly these days: the hindsight multiplier nearly reaches it."""
    (cell, _) = cells()
    _, episodes = module._episodes(cell.name, cell.scenario, cell.budget, cell.seed, cell.days)
    for row, (day, campaign) in zip(rows(cell), episodes, strict=True):
        assert day.traffic_hash == row["traffic_hash"]
        result = run_episode(Oracle(day), day, campaign, np.random.default_rng(0))
        assert row["earned"] - 1e-9 <= result.total("expected") <= row["best"] + 1e-9


def test_settings_of_the_scenario_and_the_policy_change_the_rows() -> None:
    (cell, _) = cells()
    dearer = replace(cell.scenario, traffic=replace(cell.scenario.traffic, price=0.008))
    assert rows(replace(cell, scenario=dearer)) != rows(cell)
    assert rows(cells(settings={"pid": {"kp": 0.1}})[0]) != rows(cell)
