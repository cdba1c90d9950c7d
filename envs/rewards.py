"""Rewards as sums of named terms, each logged in info.

A term is a function and its line in REWARDS. All are scaled by R*, the best expected worth that the episode's
budget could have bought, so that days and budgets weigh alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.ctr.errors import unknown
from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import FloatArray

EXPECTED = COLUMNS.index("expected")


@dataclass(frozen=True, slots=True)
class Tick:
    """What a reward may look at: the tick's table, R*, and what the controller alone earned in this tick."""

    table: FloatArray
    best: float
    controller: float


def value(tick: Tick) -> float:
    """Return the expected worth won, as a share of R*."""
    return float(tick.table[:, EXPECTED].sum()) / tick.best


def controller(tick: Tick) -> float:
    """Return minus what the controller alone earned in this tick, as a share of R*.

    It does not depend on the actions, so the optimum is kept, and most of a day's luck cancels.
    """
    return -tick.controller / tick.best


REWARDS: dict[str, Callable[[Tick], float]] = {"value": value, "controller": controller}


def reward_term(name: str) -> Callable[[Tick], float]:
    """Return a term by name. Raises InputError listing the known names."""
    if name not in REWARDS:
        raise unknown("reward term", name, list(REWARDS))
    return REWARDS[name]
