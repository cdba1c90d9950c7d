"""What training and comparison share: simulated days from the training log, evaluation days from what is held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import Past
from bidpilot.ctr.types import MICROS
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import MiscalibratedMarket, SimulatedMarket, SyntheticMarket, day_size, draw_days
from bidpilot.envs.replay import coverage, replay_days
from bidpilot.envs.scenarios import find_scenario
from bidpilot.experiments.fit import load_beliefs
from bidpilot.experiments.sealed import opened
from bidpilot.experiments.source import LOGGED_DAYS
from bidpilot.experiments.streams import stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bidpilot.envs.day import Day
    from bidpilot.experiments.run import Run
    from bidpilot.experiments.source import Source


LARGEST = 20_000.0
"""Opportunities on a simulated day, at most: more make days slower, not different."""


@dataclass(frozen=True)
class Arena:
    """Days by role; none of them has seen the held-out part of the log.

    past: simulated days to train on, with their forecast. validate, tune: simulated days of their own streams, as
    misjudged by the bidder as the scenario has it. volume: opportunities that an episode ahead is expected to have, as
    a multiple of a simulated day's.
    """

    past: Past
    validate: tuple[Day, ...]
    tune: tuple[Day, ...]
    volume: float = 1.0

    @property
    def full_cost(self) -> float:
        """What winning everything in the next episode should cost, in currency; simulated days may be smaller."""
        return self.past.forecast.full_cost * self.volume

    @property
    def seen(self) -> tuple[Day, ...]:
        """All days that something is learnt or chosen from."""
        return (*self.past.days, *self.validate, *self.tune)

    @property
    def segments(self) -> int:
        """Number of user segments."""
        return self.past.days[0].segments


def prepare(run: Run, source: Source) -> Arena:
    """Simulate the days that learners and tuning may see, from the training part of the log."""
    settings = run.settings
    market, volume = _market(run, source)
    misjudged = MiscalibratedMarket(market, find_scenario(settings.scenario).miscalibration)
    past = _past(run, market)
    validate = draw_days(misjudged, settings.days.validate_, stream(settings.seed, "validate"))
    tune = draw_days(misjudged, settings.days.tune, stream(settings.seed, "tune"))
    return Arena(past, validate, tune, volume)


def _market(run: Run, source: Source) -> tuple[SimulatedMarket, float]:
    """Return the market of the training log, and its expected opportunities as a multiple of what it draws."""
    beliefs = load_beliefs(run)
    ahead = day_size(source.train, beliefs)
    size = run.settings.days.opportunities or min(LARGEST, ahead)
    return SimulatedMarket.of(source.train, beliefs, size), ahead / size


def _past(run: Run, market: SimulatedMarket) -> Past:
    days = draw_days(market, run.settings.days.train, stream(run.settings.seed, "train"))
    return Past(days, Forecast.of(days, run.settings.auction))


def evaluation_days(run: Run, source: Source, seen: Iterable[Day] = ()) -> tuple[Day, ...]:
    """Return the days to compare on: fresh ones of the true exchange, or the held-out part of the log replayed.

    seen: days that something was learnt or chosen from, see Arena.seen. Raises SealedError where the evaluation days
    may not be looked at: while something is trained or tuned, and where one of them is among those seen.
    """
    return opened("evaluation days", lambda: _held_out(run, source), seen)


def _held_out(run: Run, source: Source) -> tuple[Day, ...]:
    settings, beliefs = run.settings, load_beliefs(run)
    if source.exchange is not None:
        market = SyntheticMarket(
            source.exchange, beliefs.timeline, beliefs.segments, beliefs.goal, beliefs.response, LOGGED_DAYS
        )
        return draw_days(market, settings.days.evaluate, stream(settings.seed, "evaluate"))
    return replay_days(source.held_out, beliefs, stream(settings.seed, "replay"))


def describe_days(source: Source, days: tuple[Day, ...]) -> str:
    """Say in a sentence what policies are compared on."""
    size, cost = np.mean([len(day) for day in days]), np.mean([day.full_cost for day in days]) / MICROS
    count = f"{len(days)} days" if len(days) > 1 else "one episode"
    what = f"{count} of {size:,.0f} opportunities that would cost {cost:,.4g}"
    if source.exchange is not None:
        return f"{what} {source.log.currency} each, drawn afresh from the true exchange in the week after the log"
    known = coverage(source.held_out)
    missing = (
        "" if known == 1.0 else f"; {1 - known:.1%} of the prices and outcomes are the models' (the buyer had lost)"
    )
    each = " each" if len(days) > 1 else ""
    return f"{what} {source.log.currency}{each}, replayed from the held-out log{missing}"
