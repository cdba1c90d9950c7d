"""The days of a family by role. Test days come from a stream of their own: nothing is trained or tuned on them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import Past
from bidpilot.ctr.types import MICROS
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import MiscalibratedMarket, draw_days
from bidpilot.envs.shading import Buckets, shaded_forecast
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.types import Campaign
from bidpilot.experiments.sealed import opened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bidpilot.envs.day import Day
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario
    from bidpilot.experiments.suite.families import Family

ROLES = ("train", "tune", "validate", "test")
KEY = 104
PAST_DAYS = 8


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of days by role."""

    train: int = 40
    tune: int = 12
    validate: int = 24
    test: int = 40


def days_of(family: Family, role: str, count: int, seen: Iterable[Day] = ()) -> tuple[Day, ...]:
    """Draw a family's days. Days to train on are as they are; others are misjudged as the scenario has it.

    Only test days show a family's shift. The same name, role and number give the same days in every run. seen: days
    that a test day may not be. Raises SealedError for test days during training and tuning, or if one was seen.
    """
    if role == "test":
        return opened("test days", lambda: _drawn(family, role, count), seen)
    return _drawn(family, role, count)


def _drawn(family: Family, role: str, count: int) -> tuple[Day, ...]:
    scenario = family.scenario
    law = replace(scenario.traffic, opportunities=scenario.traffic.opportunities * _volume(family, role))
    market: Market = TrafficMarket(law)
    if role != "train":
        market = MiscalibratedMarket(market, scenario.miscalibration)
    days = draw_days(market, count, np.random.default_rng(_seed(family, role)))
    if scenario.environment == "shading":
        buckets = _buckets(family)
        return tuple(buckets.split(day) for day in days)
    return days


def past_of(family: Family, train: tuple[Day, ...]) -> Past:
    """Return what policies may learn from beforehand."""
    days = _past(family, train)
    return Past(days, Forecast.of(days, family.scenario.rules.auction))


def forecast_of(family: Family, train: tuple[Day, ...]) -> Forecast:
    """Return what the learner knows of past days: by campaign or with shades, where its environment wants them."""
    days, auction = _past(family, train), family.scenario.rules.auction
    if family.scenario.environment == "shading":
        return shaded_forecast(days, _buckets(family).count)
    return (
        Forecast.with_parts(days, auction)
        if family.scenario.environment == "allocation"
        else Forecast.of(days, auction)
    )


def _past(family: Family, train: tuple[Day, ...]) -> tuple[Day, ...]:
    """Return the days that forecasts are measured on: all where bids are shaded, which takes many prices to learn."""
    return train if family.scenario.environment == "shading" else train[:PAST_DAYS]


def campaign_of(family: Family, forecast: Forecast, share: float) -> Campaign:
    """Return the campaign at a budget share of the forecast's cost of winning everything, with the family's limit."""
    limit = np.inf
    if family.scenario.limit is not None and family.limit is not None:
        limit = family.strictness * family.scenario.limit.cost_limit(family.limit, share, forecast)
    budget = round(share * forecast.full_cost * MICROS) / MICROS
    return Campaign(budget, forecast.ticks, forecast.full_cost, family.scenario.rules, limit)


def in_training(scenario: Scenario) -> Scenario:
    """Return the scenario as learners meet it: budgets over the whole range that is evaluated, and beyond."""
    return replace(scenario, scarcity=(1 / 48, 3 / 4))


def _buckets(family: Family) -> Buckets:
    """Cut worth into buckets by the first training days."""
    past = draw_days(TrafficMarket(family.scenario.traffic), PAST_DAYS, np.random.default_rng(_seed(family, "train")))
    return Buckets.of(past, family.scenario.buckets)


def _volume(family: Family, role: str) -> float:
    return family.volume if role == "test" else 1.0


def _seed(family: Family, role: str) -> np.random.SeedSequence:
    name = int.from_bytes(hashlib.blake2b(family.trained_as.encode(), digest_size=8).digest(), "little")
    return np.random.SeedSequence(name, spawn_key=(KEY, ROLES.index(role)))
