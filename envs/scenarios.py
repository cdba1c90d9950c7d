"""Named frozen settings; each entry of SCENARIOS is a Gymnasium id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import gymnasium as gym
import numpy as np

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.envs.auctions import pricing_rule
from bidpilot.envs.controller import GAIN
from bidpilot.envs.rewards import reward_term

if TYPE_CHECKING:
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market

TICKS = 48
PAST_DAYS = 8
PAST = np.random.SeedSequence(0, spawn_key=(101,))
"""Stream of the default past days: a key of its own, so that no reset(seed) ever meets the same days."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What an environment plays.

    environment: "pacing" or "targeting". auction: pricing rule. scarcity: range of budget / cost of winning
    everything, drawn log-uniformly. reach: the action 1 multiplies the controller's bid by exp(reach).
    gain, prior: the controller's, see Controller. reward: names of the terms. miscalibration: log-sd of a factor by
    which each segment's click rate is misjudged, new every episode.

    Raises InputError for an unknown environment, auction or reward term, an empty range or a reach not above 0.
    """

    environment: Literal["pacing", "targeting"] = "pacing"
    auction: str = "second_price"
    scarcity: tuple[float, float] = (1 / 64, 3 / 4)
    reach: float = 0.7
    gain: float = GAIN
    prior: float | None = None
    reward: tuple[str, ...] = ("value", "controller")
    miscalibration: float = 0.0

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.environment not in {"pacing", "targeting"}:
            raise unknown("environment", self.environment, ["pacing", "targeting"])
        pricing_rule(self.auction)
        for name in self.reward:
            reward_term(name)
        if not 0 < self.scarcity[0] <= self.scarcity[1]:
            raise InputError(f"scarcity must be a range of numbers above 0; got {self.scarcity}")
        if not (
            self.reach > 0 and self.gain >= 0 and self.miscalibration >= 0 and (self.prior is None or self.prior > 0)
        ):
            raise InputError(f"reach and prior must be above 0, gain and miscalibration at least 0; got {self}")


SCENARIOS: dict[str, Scenario] = {
    "bidpilot/Pacing-v0": Scenario(),
    "bidpilot/Targeting-v0": Scenario("targeting", reach=0.7, prior=20.0, miscalibration=0.3),
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
        forecast = Forecast.of(past, settings.auction)
    kind = Targeting if settings.environment == "targeting" else Pacing
    return kind(source, forecast, settings)


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
