"""The Gymnasium environment behind Pacing and Targeting: an action per tick, a multiplier per bid group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS
from bidpilot.envs.actions import hands
from bidpilot.envs.draws import STREAMS, draw
from bidpilot.envs.features import Floats, bounds
from bidpilot.envs.observations import features_of
from bidpilot.envs.residual import Residual
from bidpilot.envs.rewards import EXPECTED, LEAST, REVENUE, SPEND, Tick, reward_term
from bidpilot.envs.shadow import controller_alone
from bidpilot.envs.solo import episode_of
from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign


NO_EXCESS = (0.0, 0.0)


class BiddingEnv(gym.Env[Floats, Any]):
    """One campaign, one day, a residual action on the feedback controller in every tick.

    market: where days come from. forecast: what past days say. scenario: what is drawn, played and rewarded.
    groups: multipliers per tick. Raises InputError when the forecast's ticks are not the market's (at reset).
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012 - as Env declares it
    steering: type[Residual] = Residual
    """What turns actions into multipliers."""

    actions: int | None = None
    """Numbers in an action, where they are not as many as the multipliers."""

    lockstep = True
    """Whether Batched can step many of them."""

    def __init__(
        self, market: Market, forecast: Forecast, scenario: Scenario, groups: int, render_mode: str | None = None
    ) -> None:
        """Set up spaces; no traffic is drawn yet."""
        if render_mode not in {None, *self.metadata["render_modes"]}:
            raise InputError(f"render_mode must be None or one of {self.metadata['render_modes']}; got {render_mode!r}")
        self.market, self.forecast, self.scenario, self.groups = market, forecast, scenario, groups
        self.render_mode = render_mode
        self.held = self.actions or groups
        self.hands = hands(scenario.action, self.held, scenario.levels)
        self.action_space = self.hands.space
        low, high = bounds(features_of(scenario), self.held)
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)
        self._terms = tuple((f"reward/{name}", reward_term(name)) for name in scenario.reward)
        self._ticks = forecast.ticks
        self._streams: tuple[np.random.Generator, ...] = ()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Draw a day, a budget and the rest of what the scenario leaves open.

        options fix draws by name: "day" (a Day), "scarcity" (budget / full cost), "limit", "price_scale", "volume".
        Raises InputError for an option of another name.
        """
        super().reset(seed=seed)
        if seed is not None or not self._streams:
            self._streams = tuple(self.np_random.spawn(STREAMS))
        day, campaign, self._drawn = draw(self.market, self.forecast, self.scenario, self._streams, options or {})
        self._begin(day, campaign)
        return self._observation, dict(self._drawn)

    def step(self, action: Any) -> tuple[Floats, float, bool, bool, dict[str, Any]]:  # noqa: ANN401 - as the space has it
        """Bid for one tick. The horizon ends the episode with terminated; nothing truncates it.

        Continuous actions outside -1..1 are clipped; what is not of the space's shape and kind raises InputError.
        info: the episode's draws, the reward's terms, what the tick brought (COLUMNS, money in currency), what is left.
        """
        try:
            episode = self.episode
        except AttributeError:
            raise InputError("there is no episode yet; call reset() first") from None
        tick = episode.tick
        if tick >= self._ticks:
            raise InputError(f"the episode is over after {self._ticks} ticks; reset to start another")
        row = episode.advance(self._residual.multipliers(self.hands.one(action)))
        info = dict(self._drawn)
        reward = self._reward(tick, row, info)
        self._observation = self._residual.observe(episode.glance())
        if self.groups > 1:
            self._observation = self._observation[0]
        return self._observation, reward, episode.tick == self._ticks, False, info

    def render(self) -> Any:  # noqa: ANN401 - (height, width, 3) uint8
        """Return a picture of spend against plan so far, (height, width, 3) uint8; None without render_mode."""
        if self.render_mode is None:
            return None
        if not hasattr(self, "episode"):
            raise InputError("there is no episode yet; call reset() first")
        from bidpilot.envs.render import spend_picture  # matplotlib, only for those who look

        planned = np.ravel(self._residual.pacer.planned)
        result = self.episode.result()
        spent = np.cumsum(result.table[: self.episode.tick, SPEND]) / MICROS / self.episode.campaign.budget
        return spend_picture(planned[1:], spent, type(self).__name__)

    def _begin(self, day: Day, campaign: Campaign) -> None:
        """Open an episode on a day."""
        self.episode = episode_of(day, campaign, self.groups)
        self._scale = max(self._drawn["scale"], LEAST)
        used = any(name == "reward/controller" for name, _ in self._terms)
        parts = (self.steering, day, campaign, self.forecast, self.groups, self.scenario)
        earned, excess = controller_alone(*parts) if used else np.zeros((2, day.ticks))
        self._controller: list[float] = (earned - self.scenario.penalty * excess).tolist()
        self._sums = [0.0, 0.0, 0.0]
        self._excess = (0.0, 0.0)
        self._residual = self.steering([campaign], self.forecast, self.groups, self.scenario)
        seen = self._residual.observe(self.episode.glance())
        self._observation = seen if self.groups == 1 else seen[0]

    def _reward(self, tick: int, row: list[float], info: dict[str, Any]) -> float:
        """Return the tick's reward; enter its terms and the tick's counts into info."""
        expected, realised, excess = row[EXPECTED], row[REVENUE] / MICROS, NO_EXCESS
        if self.scenario.limit is not None:
            excess = self._grown(expected, realised, row[SPEND] / MICROS)
        view = Tick(expected, realised, excess[0], excess[1], self._controller[tick], self._scale)
        reward = 0.0
        for name, term in self._terms:
            amount = info[name] = term(view)
            reward += amount
        info.update(zip(COLUMNS, row))  # noqa: B905 - a row has these columns
        info["spend"], info["revenue"], info["left"] = row[SPEND] / MICROS, realised, self.episode.left / MICROS
        return reward

    def _grown(self, expected: float, realised: float, spend: float) -> tuple[float, float]:
        """Return by how much the spend above the cost limit has grown in this tick, priced in worth, both ways."""
        limit, sums = self.episode.campaign.cost_limit, self._sums
        self._sums = [sums[0] + expected, sums[1] + realised, sums[2] + spend]
        before, price = self._excess, self.scenario.penalty
        expects, realises = (max(0.0, self._sums[2] / limit - worth) for worth in self._sums[:2])
        self._excess = (expects, realises)
        return (expects - before[0]) * price, (realises - before[1]) * price
