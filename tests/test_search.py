"""The search: the default, the spread, then TPE; equal seeds, equal trials."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bidpilot.agents.space import TRIALS, Choice, Space, Span, spread
from bidpilot.ctr.errors import InputError
from bidpilot.experiments.search import best_of_trials, inside, search

if TYPE_CHECKING:
    from bidpilot.agents.base import BiddingPolicy, Past
    from bidpilot.ctr.types import FloatArray


class Untold:
    """Settings of a policy that is never built."""

    def build(self, past: Past) -> BiddingPolicy:
        """Build nothing."""
        raise AssertionError(past)


@dataclass(frozen=True, slots=True)
class Config(Untold):
    """A field of each kind; the default kind is none of the options."""

    gain: float = 0.5
    window: int = 8
    kind: tuple[str, int] = ("own", 0)

    @classmethod
    def space(cls) -> Space:
        """Return a field of each kind."""
        kinds = Choice((("plain", 1), ("bent", 2)))
        return {"gain": Span(0.01, 1.0), "window": Span(4, 48, whole=True), "kind": kinds}


@dataclass(frozen=True, slots=True)
class Fixed(Untold):
    """Nothing to tune."""

    @classmethod
    def space(cls) -> Space:
        """Return nothing."""
        return {}


@dataclass(frozen=True, slots=True)
class Few(Untold):
    """Two settings in all."""

    kind: str = "plain"

    @classmethod
    def space(cls) -> Space:
        """Return two options."""
        return {"kind": Choice(("plain", "bent"))}


def hill(config: Any) -> FloatArray:  # noqa: ANN401 - one of the above
    """Score highest, 0, at gain 0.03, window 20, bent."""
    miss = np.log(config.gain / 0.03) ** 2 + (config.window / 20 - 1) ** 2 + (config.kind[0] != "bent")
    return np.array([-miss, -miss])


def test_the_default_then_the_spread_then_so_many_more() -> None:
    trials = search(Config, hill, 40, seed=3)
    assert len(trials) == 40
    assert tuple(trial.config for trial in trials[:TRIALS]) == spread(Config)
    for trial in trials[TRIALS:]:
        assert isinstance(trial.config, Config)
        assert all(inside(field, getattr(trial.config, name)) for name, field in Config.space().items())
        assert trial.score == hill(trial.config).mean()
    assert [trial.config for trial in search(Config, hill, 4, seed=3)] == list(spread(Config, 4))


def test_it_learns_where_to_look() -> None:
    """On a hill it ends nearer the top than the spread, and than as many points of the spread."""
    for seed in range(5):
        found = best_of_trials(search(Config, hill, 60, seed))
        assert found.score > -0.05
        assert found.score > max(hill(config).mean() for config in spread(Config, 60))


def test_equal_seeds_give_equal_trials_and_others_do_not() -> None:
    first, second, other = ([trial.config for trial in search(Config, hill, 20, seed)] for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_the_first_of_equal_trials_is_the_best_one() -> None:
    trials = search(Config, lambda _: np.zeros(3), 12, seed=0)
    assert best_of_trials(trials).config == Config()


def test_equal_settings_are_judged_once() -> None:
    seen = []

    def judge(config: Any) -> FloatArray:  # noqa: ANN401 - Few
        seen.append(config)
        return np.array([float(config.kind == "bent")])

    trials = search(Few, judge, 15, seed=0)
    assert len(trials) == 15
    assert len(seen) == len(set(seen)) == 2
    assert best_of_trials(trials).config == Few("bent")


def test_without_a_space_the_default_is_the_only_trial() -> None:
    assert [trial.config for trial in search(Fixed, lambda _: np.zeros(1), 40, seed=0)] == [Fixed()]


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'bidpilot\[tune\]'"):
        search(Config, hill, 20, seed=0)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        (Span(0.1, 1.0), 0.1, True),
        (Span(0.1, 1.0), 1.1, False),
        (Span(0.1, 1.0), "0.5", False),
        (Span(0.1, 1.0), True, False),
        (Span(0.1, 1.0), float("nan"), False),
        (Span(1, 9, whole=True), 3.0, False),
        (Span(1, 9, whole=True), 3, True),
        (Choice(("a", "b")), "b", True),
        (Choice(("a", "b")), "c", False),
    ],
)
def test_what_a_field_allows(field: Span | Choice, value: object, *, allowed: bool) -> None:
    assert inside(field, value) is allowed
