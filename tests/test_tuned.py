"""What a comparison takes from tuned.json: what was tuned for it, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bidpilot.agents import incremental, pid
from bidpilot.agents.base import Past
from bidpilot.agents.space import Choice, Space, Span, spread
from bidpilot.ctr.errors import InputError
from bidpilot.envs.market import Market, draw_days
from bidpilot.experiments.compare import baselines
from bidpilot.experiments.config import Settings
from bidpilot.experiments.prepare import Arena
from bidpilot.experiments.run import Run
from bidpilot.experiments.tune import Task, tune_run
from bidpilot.experiments.tuned import fields_of, read_tuned, restore

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast

BUDGETS = (1 / 4, 1 / 8)
CONFIGS = {"incremental": incremental.Config, "pid": pid.Config}


@dataclass(frozen=True, slots=True)
class Config:
    """Settings with fields of every kind."""

    gain: float = 0.5
    window: int = 8
    pair: tuple[int, int] = (1, 2)
    fixed: float = 7.0

    def build(self, past: Past) -> BiddingPolicy:
        """Build nothing."""
        raise AssertionError(past)

    @classmethod
    def space(cls) -> Space:
        """Return a field of each kind."""
        return {"gain": Span(0.01, 1.0), "window": Span(4, 48, whole=True), "pair": Choice(((1, 2), (3, 4)))}


@pytest.fixture
def arena(market: Market, past_days: tuple[Day, ...], forecast: Forecast) -> Arena:
    """Give days of a small market."""
    validate, tune = (draw_days(market, 3, np.random.default_rng(seed)) for seed in (1, 2))
    return Arena(Past(past_days, forecast), validate, tune)


@pytest.fixture
def run(tmp_path: Path, arena: Arena) -> Run:
    """Give a run of two baselines, tuned at one of its budgets and, the first of them, at the other."""
    run = Run.create(tmp_path / "run", Settings(budgets=BUDGETS, baselines=tuple(CONFIGS)))
    tune_run(run, arena, Task(tuple(CONFIGS), BUDGETS[:1], trials=12), print)
    tune_run(run, arena, Task(("incremental",), BUDGETS, trials=12), print)
    return run


def told(run: Run) -> dict[str, Any]:
    return dict(json.loads((run.folder / "tuned.json").read_text()))


def records(run: Run, arena: Arena) -> tuple[dict[tuple[str, float], dict[str, Any]], list[str]]:
    """Return the settings of the baselines as results.csv has them, and what was said."""
    said: list[str] = []
    contenders = baselines(run, arena, say=said.append)
    return {(c.name, share): json.loads(c.settings(share)) for c in contenders for share in BUDGETS}, said


def test_a_comparison_takes_what_was_tuned_and_the_quick_way_for_the_rest(run: Run, arena: Arena) -> None:
    found, said = records(run, arena)
    chosen = {(row["policy"], row["budget"]): row["config"] | {"trials": 12} for row in told(run)["chosen"]}
    assert len(chosen) == 3
    assert found.items() >= chosen.items()
    left = found["pid", BUDGETS[1]]
    assert left["trials"] == len(spread(pid.Config))
    assert {name: left[name] for name in left if name != "trials"} in [fields_of(c) for c in spread(pid.Config)]
    assert said == ["not tuned at budget 1/8, so the best of a few settings is taken: pid"]


def test_untuned_means_defaults_whatever_was_tuned(run: Run, arena: Arena) -> None:
    plain = Run(run.folder, run.settings.model_copy(update={"tuned": False}))
    found, said = records(plain, arena)
    assert all(found[name, share] == fields_of(CONFIGS[name]()) | {"trials": 1} for name, share in found)
    assert not said


def test_without_the_file_all_is_tuned_the_quick_way(run: Run, arena: Arena) -> None:
    (run.folder / "tuned.json").unlink()
    found, said = records(run, arena)
    assert {row["trials"] for row in found.values()} == {9}
    assert not said


def test_another_auction_or_other_days_are_said_and_not_used(run: Run, arena: Arena, market: Market) -> None:
    first = Run(run.folder, run.settings.model_copy(update={"auction": "first_price"}))
    other = replace(arena, tune=draw_days(market, 3, np.random.default_rng(9)))
    past = replace(arena, past=replace(arena.past, days=arena.past.days[:2]))
    for at, where, word in ((first, arena, "auction"), (run, other, "log or seed"), (run, past, "log, fit or seed")):
        found, notes = read_tuned(at, where, CONFIGS)
        assert not found
        assert len(notes) == 1
        assert f"another {word} than this run's" in notes[0]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"gain": 0.1, "gone": 3}, "changed since (gone)"),
        ({}, "changed since (gain)"),
        ({"gain": 99.0}, "gain = 99.0 is nothing that tuning tries"),
        ({"gain": "0.1"}, "gain = '0.1' is nothing that tuning tries"),
    ],
)
def test_settings_that_are_none_fall_back_alone(run: Run, arena: Arena, config: dict[str, Any], said: str) -> None:
    content = told(run)
    row = next(r for r in content["chosen"] if (r["policy"], r["budget"]) == ("incremental", BUDGETS[0]))
    row["config"] = config
    (run.folder / "tuned.json").write_text(json.dumps(content))
    found, notes = read_tuned(run, arena, CONFIGS)
    assert set(found) == {("incremental", BUDGETS[1]), ("pid", BUDGETS[0])}
    assert said in notes[0]
    assert "incremental at budget 1/4" in notes[0]
    assert records(run, arena)[0]["incremental", BUDGETS[0]]["trials"] == 9


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 1, "chosen": [3]}', '{"format": 2, "chosen": []}'])
def test_a_damaged_file_is_refused(run: Run, arena: Arena, text: str) -> None:
    (run.folder / "tuned.json").write_text(text)
    with pytest.raises(InputError, match="bidpilot tune --run"):
        read_tuned(run, arena, CONFIGS)


def test_settings_come_back_as_they_were() -> None:
    for config in (Config(), Config(gain=0.123456789012345, window=31, pair=(3, 4))):
        back = restore(Config, json.loads(json.dumps(fields_of(config))))
        assert back == config
        assert isinstance(fields_of(back)["pair"], tuple)
    with pytest.raises(InputError, match="fixed"):
        restore(Config, fields_of(Config(fixed=8.0)))
    with pytest.raises(InputError, match="window"):
        restore(Config, fields_of(Config()) | {"window": 8.5})
    with pytest.raises(InputError, match="pair"):
        restore(Config, fields_of(Config()) | {"pair": [5, 6]})
