"""Test days stay shut while anything is trained or tuned, whoever asks, and are never days that were learnt from."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents import incremental
from bidpilot.agents.base import Past
from bidpilot.experiments import prepare as preparing
from bidpilot.experiments import search as searching
from bidpilot.experiments import train as training
from bidpilot.experiments.prepare import Arena, evaluation_days
from bidpilot.experiments.run import Run
from bidpilot.experiments.sealed import SealedError, opened, refuse, sealing
from bidpilot.experiments.source import Source
from bidpilot.experiments.suite import learners, marketplace_learner
from bidpilot.experiments.suite.days import Sizes, days_of
from bidpilot.experiments.suite.families import MARKETS, Family, find_families
from bidpilot.experiments.suite.marketplace import arena_of
from bidpilot.experiments.tuning import campaign_for, tune

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bidpilot.agents.base import PolicyConfig
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast


def asked_for(family: Family) -> Callable[..., None]:
    """Return a function that opens the family's test days, whatever it is called with."""

    def peek(*_: object, **__: object) -> None:
        days_of(family, "test", 1)

    return peek


def small() -> Family:
    family = find_families(["budget"])[0]
    assert isinstance(family, Family)
    return replace(
        family, scenario=replace(family.scenario, traffic=replace(family.scenario.traffic, opportunities=500.0))
    )


def test_days_open_once_the_stage_is_over_even_if_it_failed(past_days: tuple[Day, ...]) -> None:
    with pytest.raises(ZeroDivisionError), sealing("training"):
        1 / 0  # noqa: B018 - a stage that breaks
    with (
        sealing("training"),
        sealing("tuning"),
        pytest.raises(SealedError, match="test days were asked for during tuning"),
    ):
        opened("test days", lambda: past_days)
    with sealing("training"):
        with sealing("tuning"):
            pass
        with pytest.raises(SealedError, match="during training"):
            refuse("test days")
    assert opened("test days", lambda: past_days) == past_days


def test_nothing_is_drawn_behind_the_seal() -> None:
    def draw() -> tuple[Day, ...]:
        raise AssertionError

    with sealing("training"), pytest.raises(SealedError):
        opened("test days", draw)


def test_the_seal_holds_in_threads_that_training_starts() -> None:
    caught: list[Exception] = []

    def work() -> None:
        try:
            refuse("test days")
        except SealedError as error:
            caught.append(error)

    with sealing("training"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(caught) == 1


def test_a_day_that_was_learnt_from_is_no_test_day(past_days: tuple[Day, ...]) -> None:
    with pytest.raises(SealedError, match=r"1 of 2 test days \(the first is number 1\) were trained or tuned on"):
        opened("test days", lambda: past_days[:2], seen=past_days[1:])
    assert opened("test days", lambda: past_days[:2], seen=past_days[2:]) == past_days[:2]


def test_the_suites_training_cannot_open_test_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer is replaced by one that looks; the same look is allowed before and after."""
    family = small()
    peek = asked_for(family)
    peek()
    monkeypatch.setattr(learners, "_by_ppo", peek)
    with pytest.raises(SealedError, match="test days were asked for during training"):
        learners.train_policy(tmp_path, family, 0, Sizes(train=2, tune=1, validate=1, test=1))
    peek()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_marketplaces_training_cannot_open_test_arenas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def peek(*_: object) -> None:
        arena_of(MARKETS[0], "test", 0)

    peek()
    monkeypatch.setattr(marketplace_learner, "play_arenas", peek)
    with pytest.raises(SealedError, match="test arenas were asked for during training"):
        marketplace_learner.train_seat(tmp_path, MARKETS[0], 0, Sizes(validate=1))


def test_tuning_cannot_open_test_days(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    """Neither the quick way nor the search: here a policy looks when it is built."""
    peek, past = asked_for(small()), Past(past_days, forecast)

    @dataclass(frozen=True, slots=True)
    class Config(incremental.Config):
        def build(self, past: Past) -> incremental.Incremental:
            peek()
            return incremental.Config().build(past)

    Config().build(past)
    campaigns = {1: campaign_for(past_days, 0.2, "second_price", forecast.full_cost)}
    configs: dict[str, type[PolicyConfig]] = {"nosy": Config}
    with pytest.raises(SealedError, match="during tuning"):
        tune(configs, past, past_days, campaigns)
    with pytest.raises(SealedError, match="during tuning"):
        searching.search(Config, lambda config: np.zeros(len(config.build(past).groups * [0])), 2, 0)


def test_a_runs_training_cannot_open_its_evaluation_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, past_days: tuple[Day, ...], forecast: Forecast
) -> None:
    """What trains is handed the run and the log, so that it could; nothing of the log is read."""
    from bidpilot.experiments.config import Settings

    run, source = Run.create(tmp_path / "run", Settings(budgets=(1 / 4,))), object.__new__(Source)
    arena = Arena(Past(past_days, forecast), past_days[:1], past_days[1:2])
    looked: list[int] = []

    def held_out(*_: object) -> tuple[Day, ...]:
        looked.append(1)
        return past_days

    monkeypatch.setattr(preparing, "_held_out", held_out)
    monkeypatch.setattr(training, "prepare", lambda *_: arena)
    monkeypatch.setattr(training, "learn", lambda *_: evaluation_days(run, source))
    with pytest.raises(SealedError, match="evaluation days were asked for during training"):
        training.train(run, source)
    assert not looked
    evaluation_days(run, source)
    assert looked
    with pytest.raises(SealedError, match="were trained or tuned on"):
        evaluation_days(run, source, arena.seen)
