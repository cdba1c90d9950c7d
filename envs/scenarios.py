"""Named frozen settings; each entry of SCENARIOS is a Gymnasium id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np

from bidpilot.ctr.errors import unknown
from bidpilot.envs.scenario import Scenario

if TYPE_CHECKING:
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market

TICKS = 48
PAST_DAYS = 8
PAST = np.random.SeedSequence(0, spawn_key=(101,))
"""Stream of the default past days: a key of its own, so that no reset(seed) ever meets the same days."""


SCENARIOS: dict[str, Scenario] = {
    "bidpilot/Pacing-v0": Scenario(),
    "bidpilot/Targeting-v0": Scenario("targeting", prior=20.0, miscalibration=(0.3, 0.3)),
}


def register_all() -> None:
    """Register every scenario as a Gymnasium id (a second call changes nothing)."""
    for name in SCENARIOS:
        if name not in gym.registry:
            gym.register(name, entry_point="bidpilot.envs.scenarios:make", kwargs={"scenario": name})


def make(
    scenario: str | Scenario = "bidpilot/Pacing-v0",
    market: Market | None = None,
    forecast: Forecast | None = None,
    render_mode: str | None = None,
) -> BiddingEnv:
    """Make an environment; entry point of gym.make(id, market=..., forecast=...).

    Without a market it is a small synthetic exchange of known truth; without a forecast, one measured on
    past days drawn from the market.
    """
    from bidpilot.envs.forecast import Forecast  # registering ids should stay quick
    from bidpilot.envs.market import draw_days
    from bidpilot.envs.pacing import Pacing
    from bidpilot.envs.targeting import Targeting

    settings = find_scenario(scenario) if isinstance(scenario, str) else scenario
    source = market if market is not None else default_market()
    if forecast is None:
        past = draw_days(source, PAST_DAYS, np.random.default_rng(PAST))
        forecast = Forecast.of(past, settings.rules.auction)
    kind = Targeting if settings.environment == "targeting" else Pacing
    return kind(source, forecast, settings, render_mode)


def find_scenario(name: str) -> Scenario:
    """Return a scenario by name. Raises InputError listing the known names."""
    if name not in SCENARIOS:
        raise unknown("scenario", name, list(SCENARIOS))
    return SCENARIOS[name]


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
