"""Named frozen settings; each entry of SCENARIOS is a Gymnasium id."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenario import Limit, Scenario
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.traffic_law import TrafficLaw
from bidpilot.envs.types import Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.market import Market


TICKS = 48
PAST_DAYS = 8
PAST = (101,)
"""Key of the stream of the default past days: one of its own, so that no reset(seed) ever meets the same days."""


HARD = TrafficLaw(drift=0.2, shock=0.5, delay=4.0, users=2_000, reserve=0.3, once=True)
"""Prices that drift and jump, conversions that arrive late, users who come again, floors."""

LEARN = ("expected", "controller")
SCENARIOS: dict[str, Scenario] = {
    "bidpilot/Pacing-v0": Scenario(),
    "bidpilot/PacingLadder-v0": Scenario(action="ladder"),
    "bidpilot/PacingFirstPrice-v0": Scenario(rules=Rules("first_price")),
    "bidpilot/Shading-v0": Scenario(
        "shading",
        rules=Rules("first_price"),
        traffic=TrafficLaw(segment_spread=0.8, price_follows_value=0.0, price_noise=0.35, once=False),
    ),
    "bidpilot/PacingSoftFloor-v0": Scenario(
        rules=Rules("soft_floor"), traffic=TrafficLaw(reserve=0.5, soft_floor=0.9, once=True)
    ),
    "bidpilot/PacingROS-v0": Scenario(limit=Limit("tightness", 0.6, 1.1), reward=(*LEARN, "limit")),
    "bidpilot/PacingCPA-v0": Scenario(limit=Limit("cpa", 0.6, 1.6, worth=4.0), reward=(*LEARN, "limit")),
    "bidpilot/PacingOpen-v0": Scenario(rules=Rules(censored=False), traffic=TrafficLaw(drift=0.3, once=False)),
    "bidpilot/PacingHard-v0": Scenario(
        rules=Rules(bid_tick=0.0001, bid_cap=0.05, frequency_cap=4, reaction=0.5),
        traffic=HARD,
        miscalibration=(0.3, 0.3),
        observe_reports=True,
    ),
    "bidpilot/PacingRandom-v0": Scenario(
        price_scale=(0.5, 2.0),
        volume=(0.5, 2.0),
        miscalibration=(0.0, 0.5),
        limit=Limit("tightness", 0.6, 2.0),
        reward=(*LEARN, "limit"),
    ),
    "bidpilot/PacingRealised-v0": Scenario(reward=("realised",)),
    "bidpilot/Targeting-v0": Scenario("targeting", prior=20.0, miscalibration=(0.3, 0.3)),
    "bidpilot/TargetingLadder-v0": Scenario("targeting", prior=20.0, miscalibration=(0.3, 0.3), action="ladder"),
    "bidpilot/Allocation-v0": Scenario("allocation", prior=20.0, miscalibration=(0.4, 0.4)),
    "bidpilot/AdSelection-v0": Scenario("ad_selection", prior=20.0),
}
MARKETPLACE = "bidpilot/Marketplace-v0"


def register_all() -> None:
    """Register every scenario as a Gymnasium id (a second call changes nothing)."""
    for name, scenario in SCENARIOS.items():
        vector = None if scenario.environment == "ad_selection" else "bidpilot.envs.vector:make_vector"
        _register(name, "bidpilot.envs.scenarios:make", vector, {"scenario": name})
    _register(MARKETPLACE, "bidpilot.envs.marketplace:Marketplace", None, {})


def _register(name: str, entry: str, vector: str | None, arguments: dict[str, str]) -> None:
    """Register an id. vector: of its batched form; Gymnasium steps copies of the others one after the other."""
    if name not in gym.registry:
        gym.register(name, entry_point=entry, vector_entry_point=vector, kwargs=arguments)


def make(
    scenario: str | Scenario = "bidpilot/Pacing-v0",
    market: Market | None = None,
    forecast: Forecast | None = None,
    render_mode: str | None = None,
    **arguments: Any,  # noqa: ANN401 - the environment's own
) -> BiddingEnv:
    """Make an environment; entry point of gym.make(id, market=..., forecast=...).

    Without a market, days are drawn by the scenario's traffic law; without a forecast, one is measured on past days
    drawn from the market; where bids are shaded, one without shades is not used: the market is split, and measured.
    arguments: of the environment alone, as AdSelection's ads and spread. Raises InputError for
    an unknown name.
    """
    from bidpilot.envs.ad_selection import AdSelection  # registering ids should stay quick
    from bidpilot.envs.allocation import Allocation
    from bidpilot.envs.pacing import Pacing
    from bidpilot.envs.shaded import Shading, split_market
    from bidpilot.envs.targeting import Targeting

    settings = find_scenario(scenario) if isinstance(scenario, str) else scenario
    kinds: dict[str, Callable[..., BiddingEnv]] = {
        "pacing": Pacing,
        "targeting": Targeting,
        "allocation": Allocation,
        "shading": Shading,
        "ad_selection": AdSelection,
    }
    source = market if market is not None else TrafficMarket(settings.traffic)
    if settings.environment == "shading" and (forecast is None or forecast.shades is None):
        source, forecast = split_market(source, settings)
    known = forecast if forecast is not None else past_forecast(source, settings)
    return kinds[settings.environment](source, known, settings, render_mode, **arguments)


def past_forecast(market: Market, scenario: Scenario) -> Forecast:
    """Measure past days drawn from a market, on a stream that no reset(seed) ever meets."""
    past = draw_days(market, PAST_DAYS, np.random.default_rng(np.random.SeedSequence(0, spawn_key=PAST)))
    measure = Forecast.with_parts if scenario.environment == "allocation" else Forecast.of
    return measure(past, scenario.rules.auction)


def find_scenario(name: str) -> Scenario:
    """Return a scenario by name, or package.module:NAME for one of the user's own.

    Raises InputError listing the known names, or saying what the user's module lacks.
    """
    if ":" in name:
        return _own_scenario(name)
    if name == MARKETPLACE:
        raise InputError(f"{name} has settings of its own: gym.make(id) or bidpilot.envs.marketplace.Marketplace")
    if name not in SCENARIOS:
        raise unknown("scenario", name, list(SCENARIOS))
    return SCENARIOS[name]


def _own_scenario(name: str) -> Scenario:
    """Return a module's constant that is a Scenario."""
    module, _, constant = name.partition(":")
    try:
        found = getattr(import_module(module), constant)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"scenario {name!r} must be package.module:NAME, and importable: {error}") from error
    if not isinstance(found, Scenario):
        raise InputError(f"scenario {name!r} is no bidpilot.envs.scenario.Scenario but {type(found).__name__}")
    return found


def default_market(opportunities: float = 5_000.0, ticks: int = TICKS) -> Market:
    """Return a synthetic exchange whose bidder sees the true probabilities."""
    from bidpilot.ctr.log import SECONDS_PER_DAY  # registering ids should stay quick
    from bidpilot.ctr.synthetic import SEGMENTS, Exchange, ExchangeConfig
    from bidpilot.envs.beliefs import Segments
    from bidpilot.envs.market import SyntheticMarket
    from bidpilot.envs.timeline import Timeline

    exchange = Exchange(ExchangeConfig(opportunities=opportunities))
    timeline = Timeline(0.0, SECONDS_PER_DAY / ticks, ticks)
    return SyntheticMarket(exchange, timeline, Segments(SEGMENTS))
