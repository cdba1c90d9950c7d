"""What is drawn for an episode: domain randomisation, one stream per cause, every draw by name in info."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.types import UNWINNABLE, to_micros
from bidpilot.envs.day import Day
from bidpilot.envs.hindsight import best_of
from bidpilot.envs.market import factors
from bidpilot.envs.scenario import drawn
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario


STREAMS = 4
"""An environment's streams: traffic, money (budget and limit), variation of the day, beliefs."""

OPTIONS = ("day", "scarcity", "limit", "price_scale", "volume")
"""Draws that reset may fix."""


def draw(
    market: Market,
    forecast: Forecast,
    scenario: Scenario,
    streams: tuple[np.random.Generator, ...],
    options: dict[str, Any],
) -> tuple[Day, Campaign, dict[str, float]]:
    """Draw an episode: its day, its campaign and all draws by name; options fix some of them.

    scale: currency, what the rewards are a share of. best_value: R*, where it was reckoned.
    Raises InputError for an unknown option.
    """
    for name in options:
        if name not in OPTIONS:
            raise unknown("option of reset", name, OPTIONS)
    for name, given in options.items():
        if name != "day" and not (isinstance(given, (int, float, np.number)) and 0 < given < np.inf):
            raise InputError(f"the option {name} must be a number above 0; got {given!r}")
    if "day" in options and not isinstance(options["day"], Day):
        raise InputError(f"the option day must be a bidpilot.envs.day.Day; got {options['day']!r}")
    if "limit" in options and scenario.limit is None:
        raise InputError("the scenario has no limit; give it one: Scenario(limit=Limit(...))")
    traffic, money, variation, beliefs = streams
    day = options["day"] if "day" in options else market.day(traffic)
    of_day = {f"day/{name}": amount for name, amount in day.draws.items()}
    scarcity, limit = _amounts(scenario, options, money)
    day, varied = _varied(day, scenario, options, variation)
    full_cost = forecast.full_cost
    cost_limit = scenario.limit.cost_limit(limit, scarcity, forecast) if scenario.limit is not None else np.inf
    campaign = Campaign(scarcity * full_cost, forecast.ticks, full_cost, scenario.rules, cost_limit)
    scale = _scale(day, campaign, forecast, scenario)
    day, judged = _misjudged(day, scenario, beliefs)
    found = {"scarcity": campaign.scarcity, **of_day, **varied, **judged}
    if scenario.limit is not None:
        found |= {"limit": limit, "cost_limit": cost_limit}
    return day, campaign, found | scale


def _amounts(scenario: Scenario, options: dict[str, Any], rng: np.random.Generator) -> tuple[float, float]:
    """Return scarcity and the limit's figure (1 without a limit). An option takes the place of a draw already made."""
    scarcity = drawn(scenario.scarcity, rng)
    scarcity = options.get("scarcity", scarcity)
    if scenario.limit is None:
        return scarcity, 1.0
    limit = drawn((scenario.limit.low, scenario.limit.high), rng)
    limit = options.get("limit", limit)
    if not 0 < limit < np.inf:
        raise InputError(f"the option limit must be a number above 0; got {limit}")
    return scarcity, limit


def _varied(
    day: Day, scenario: Scenario, options: dict[str, Any], rng: np.random.Generator
) -> tuple[Day, dict[str, float]]:
    """Scale prices and volume, where the scenario draws them; the changed day is played once.

    An option takes the place of a draw already made, so that the other draws stay as they are.
    """
    found: dict[str, float] = {}
    for name, change in (("price_scale", _dearer), ("volume", _busier)):
        bounds = getattr(scenario, name)
        if name in options or bounds != (1.0, 1.0):
            factor = drawn(bounds, rng)
            found[name] = factor = options.get(name, factor)
            if not 0 < factor < np.inf:
                raise InputError(f"the option {name} must be a number above 0; got {factor}")
            changed = change(day, factor, rng)
            day = changed if day.belief is None else changed.misjudged(day.belief)
    return day, found


def _dearer(day: Day, factor: float, _rng: np.random.Generator) -> Day:
    """Multiply every price, in whole micro-currency, never below the reserve."""
    price = day.hidden.price
    scaled = np.minimum(np.rint(price * factor), UNWINNABLE - 1).astype(np.int64)
    scaled = np.maximum(scaled, to_micros(day.seen.reserve))
    hidden = replace(day.hidden, price=np.where(price < UNWINNABLE, scaled, price))
    return Day(day.seen, hidden, day.ticks, day.segments, once=True, draws=day.draws)


def _busier(day: Day, factor: float, rng: np.random.Generator) -> Day:
    """Thin the traffic out, or let a random part of it come again; how long the day is moves no later draw."""
    copies = np.floor(rng.spawn(1)[0].random(len(day)) + factor).astype(np.int64)
    rows = np.repeat(np.arange(len(day)), copies)
    return Day.build(day.seen.rows(rows), day.hidden.rows(rows), day.ticks, day.segments, once=True, draws=day.draws)


def _misjudged(day: Day, scenario: Scenario, rng: np.random.Generator) -> tuple[Day, dict[str, float]]:
    """Let the bidder misjudge each segment by a factor of mean 1."""
    low, high = scenario.miscalibration
    if high == 0.0:
        return day, {}
    spread = low if low == high else float(rng.uniform(low, high))
    return day.misjudged(factors(spread, day.segments, rng)), {"miscalibration": spread}


def _scale(day: Day, campaign: Campaign, forecast: Forecast, scenario: Scenario) -> dict[str, float]:
    """Return what rewards are a share of."""
    if scenario.scale == "hindsight":
        best = best_of(day, campaign.budget, campaign.cost_limit)
        return {"scale": best, "best_value": best}
    at = forecast.multiplier(campaign.scarcity)
    return {"scale": float(forecast.earning(at) * forecast.full_value)}
