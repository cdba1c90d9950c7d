"""The Gymnasium environment behind Pacing and Targeting: an action per tick, a multiplier per bid group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from bidpilot.ctr.errors import InputError
from bidpilot.envs.controller import Controller
from bidpilot.envs.episode import Episode
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.market import MiscalibratedMarket
from bidpilot.envs.observations import bounds
from bidpilot.envs.residual import Residual
from bidpilot.envs.rewards import EXPECTED, Tick, reward_term
from bidpilot.envs.types import COLUMNS, Campaign

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenarios import Scenario

Observation = npt.NDArray[np.float32]


class BiddingEnv(gym.Env[Observation, npt.NDArray[np.float32]]):
    """One campaign, one day, a residual action on the feedback controller in every tick.

    market: where days come from. forecast: what past days say. scenario: auction, budgets, reach, reward.
    groups: multipliers per tick. Raises InputError when the forecast's ticks are not the market's (at reset).
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Env declares it

    def __init__(self, market: Market, forecast: Forecast, scenario: Scenario, groups: int) -> None:
        """Set up spaces; no traffic is drawn yet."""
        wrapped = MiscalibratedMarket(market, scenario.miscalibration) if scenario.miscalibration else market
        self.market, self.forecast, self.scenario, self.groups = wrapped, forecast, scenario, groups
        low, high = bounds(groups)
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (groups,), dtype=np.float32)
        self._terms = {name: reward_term(name) for name in scenario.reward}
        self._streams: tuple[np.random.Generator, ...] = ()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw a day and a budget. options: "day" (a Day) and "scarcity" (budget / full cost) fix them."""
        super().reset(seed=seed)
        if seed is not None or not self._streams:
            self._streams = tuple(self.np_random.spawn(2))
        traffic, money = self._streams
        given = options or {}
        day = given["day"] if "day" in given else self.market.day(traffic)
        low, high = self.scenario.scarcity
        scarcity = given["scarcity"] if "scarcity" in given else float(np.exp(money.uniform(np.log(low), np.log(high))))
        self._begin(day, scarcity)
        return self._observation, self._info({})

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Bid for one tick. The horizon ends the episode with terminated; nothing truncates it.

        Actions outside -1..1 are clipped; one that is not finite or of another shape raises InputError.
        """
        wanted = np.asarray(action, dtype=np.float64)
        if wanted.shape != (self.groups,) or not np.isfinite(wanted).all():
            raise InputError(f"an action must be {self.groups} finite numbers in -1..1; got {action}")
        tick = self.episode.tick
        outcome = self.episode.bid_multipliers(self._residual.multipliers(wanted))
        view = Tick(outcome.table, self._best, float(self._controller[tick]))
        terms = {name: term(view) for name, term in self._terms.items()}
        self._observation = self._residual.observe(self.episode.state())
        info = self._info(terms) | dict(zip(COLUMNS, outcome.table.sum(axis=0).tolist(), strict=True))
        return self._observation, sum(terms.values()), self.episode.over, False, info

    def _begin(self, day: Day, scarcity: float) -> None:
        """Open an episode on a day."""
        full_cost = self.forecast.full_cost
        campaign = Campaign(scarcity * full_cost, self.forecast.ticks, full_cost, self.scenario.auction)
        self.episode = Episode(day, campaign, self.groups)
        self._best = max(float(best_value(day, np.array([campaign.budget]))[0]), 1e-9)
        self._controller = self._controller_alone(day, campaign)
        self._residual = Residual(campaign, self.forecast, self.groups, self.scenario)
        self._observation = self._residual.observe(self.episode.state())

    def _controller_alone(self, day: Day, campaign: Campaign) -> FloatArray:
        """Return what the zero action earns in each tick (ticks,): the reward's reference, if it is used."""
        earned = np.zeros(day.ticks)
        if "controller" not in self._terms:
            return earned
        scenario = self.scenario
        groups = 1 if scenario.prior is None else self.groups
        episode = Episode(day, campaign, groups)
        controller = Controller(campaign, self.forecast, groups, scenario.gain, scenario.prior)
        while not episode.over:
            tick = episode.tick
            earned[tick] = episode.bid_multipliers(controller.observe(episode.state())).table[:, EXPECTED].sum()
        return earned

    def _info(self, terms: dict[str, float]) -> dict[str, Any]:
        """Return the draws of the episode and the reward's terms."""
        draws = {"scarcity": self.episode.campaign.scarcity, "best_value": self._best}
        return draws | {f"reward/{name}": amount for name, amount in terms.items()}
