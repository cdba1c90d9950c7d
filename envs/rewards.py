"""Rewards as sums of named terms, each logged in info.

A term is a function and its line in REWARDS. Train on "expected": the law's own expectation of what was won, free of
the luck of clicks. Evaluate on "realised". All are scaled by one amount per episode (see Scenario.scale), so that
days and budgets weigh alike. Terms run in floats or arrays (N,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bidpilot.ctr.errors import unknown
from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

EXPECTED, REVENUE, SPEND = (COLUMNS.index(name) for name in ("expected", "revenue", "spend"))
LEAST = 1e-9
"""Currency: what a reward's scale is at least, where nothing could have been won."""


class Tick(NamedTuple):
    """What a reward may look at, in currency: what the tick brought, and what the episode is measured by.

    expected, realised: worth won. spend. excess: how much further the episode's spend is above what its cost limit
    allows for the worth won, expected or realised as the limit's term says. controller: expected worth that the
    controller alone wins in this tick, less the price of its own excess where there is a limit. scale: 1 in them.
    """

    expected: Any
    realised: Any
    excess_expected: Any
    excess_realised: Any
    controller: Any
    scale: Any


def expected(tick: Tick) -> Any:  # noqa: ANN401 - float or array
    """Return the expected worth won."""
    return tick.expected / tick.scale


def realised(tick: Tick) -> Any:  # noqa: ANN401 - float or array
    """Return the worth that clicks and conversions really brought (whenever they are reported)."""
    return tick.realised / tick.scale


def controller(tick: Tick) -> Any:  # noqa: ANN401 - float or array
    """Return minus what the controller alone earned in this tick, the price of its own excess included.

    It does not depend on the actions, so the optimum is kept, and most of a day's luck cancels.
    """
    return -tick.controller / tick.scale


def limit(tick: Tick) -> Any:  # noqa: ANN401 - float or array
    """Return minus the growth of the spend above the cost limit, reckoned with expected worth.

    The terms of an episode add up to minus its final excess (differences of a potential, Ng et al. 1999), times
    the worth that the limit prices it at and the scenario's penalty p: what costs more than (1 + 1 / p) times the limit
    never pays.
    """
    return -tick.excess_expected / tick.scale


def realised_limit(tick: Tick) -> Any:  # noqa: ANN401 - float or array
    """Return the same, reckoned with realised worth."""
    return -tick.excess_realised / tick.scale


REWARDS: dict[str, Callable[[Tick], Any]] = {
    "expected": expected,
    "realised": realised,
    "controller": controller,
    "limit": limit,
    "realised_limit": realised_limit,
}


def reward_term(name: str) -> Callable[[Tick], Any]:
    """Return a term by name. Raises InputError listing the known names."""
    if name not in REWARDS:
        raise unknown("reward term", name, list(REWARDS))
    return REWARDS[name]
