"""Where datasets come from: behaviour policies played on past days, or logs of what was bid tick by tick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from bidpilot.agents.offline.dataset import Dataset, joined
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, whole_micros
from bidpilot.envs.residual import Residual
from bidpilot.envs.types import COLUMNS, CampaignState, Feedback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bidpilot.agents.learned import Actor
    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.features import Floats
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign

REVENUE = COLUMNS.index("revenue")
BEYOND = 0.1
"""Share of a log's multipliers that may lie outside the reach of the controller."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Who bids while data are recorded: a base policy with a factor per episode and noise per tick, in actions.

    actor: the base; None: the controller. bias: added everywhere. factor: standard deviation of what is added for a
    whole episode, per group. noise: the same of every tick. Raises InputError for a spread below 0.
    """

    bias: float = 0.0
    factor: float = 0.2
    noise: float = 0.2
    actor: Actor | None = None

    def __post_init__(self) -> None:
        """Check the figures."""
        if not (self.factor >= 0 and self.noise >= 0):
            raise InputError(f"factor and noise must be at least 0; got {self.factor} and {self.noise}")

    def begin(self, groups: int, rng: np.random.Generator) -> Callable[[Floats], Floats]:
        """Start an episode; return its policy: observation (d,) -> action (groups,) in -1..1."""
        level = self.bias + self.factor * rng.normal(size=groups)

        def act(observation: Floats) -> Floats:
            base = 0.0 if self.actor is None else self.actor(observation)
            wanted: Floats = np.clip(base + level + self.noise * rng.normal(size=groups), -1.0, 1.0).astype(np.float32)
            return wanted

        return act


VARIED = (Behaviour(), Behaviour(factor=0.4, noise=0.1), Behaviour(factor=0.0, noise=0.4))
"""The controller as different advertisers might vary it."""


def record(env: BiddingEnv, behaviours: Sequence[Behaviour], episodes: int, rng: np.random.Generator) -> Dataset:
    """Play behaviours in turn in an environment of continuous actions; return what was seen, done and earned."""
    env.reset(seed=int(rng.integers(2**31)))
    parts = []
    for number in tqdm(range(episodes), desc="record", unit="episode", disable=None):
        act = behaviours[number % len(behaviours)].begin(env.groups, rng)
        observations, actions, rewards, over = [], [], [], False
        observation, _ = env.reset()
        while not over:
            action = act(observation)
            observations.append(observation)
            actions.append(action)
            observation, reward, over, _, _ = env.step(action)
            rewards.append(reward)
        parts.append((observations, actions, rewards))
    return joined(parts)


@dataclass(frozen=True)
class TickLog:
    """One campaign as it was really played.

    multipliers: (ticks, groups), bid per predicted worth; 0: no bid. offered: (ticks, groups) opportunities.
    table: (ticks, groups, len(COLUMNS)), what was reported, money in micro-currency; what the law expects is not looked
    at. Raises InputError when the shapes do not fit together or a figure is below 0 or no number.
    """

    campaign: Campaign
    multipliers: FloatArray
    offered: IntArray
    table: FloatArray

    def __post_init__(self) -> None:
        """Check shapes and figures."""
        shape = (self.campaign.horizon, *self.multipliers.shape[1:2])
        shapes = (self.multipliers.shape, self.offered.shape, self.table.shape)
        if shapes != (shape, shape, (*shape, len(COLUMNS))):
            raise InputError(f"expected multipliers and offered (ticks, groups) and a table of both; got {shapes}")
        parts = {"multipliers": self.multipliers, "offered": self.offered, "table": self.table[..., :-1]}
        for name, part in parts.items():
            if not (np.isfinite(part) & (part >= 0)).all():
                raise InputError(f"{name} must be numbers of at least 0")


def from_logs(logs: Sequence[TickLog], forecast: Forecast, scenario: Scenario) -> Dataset:
    """Read what really happened as a learner would have seen it.

    The controller is run along: what it would have bid then tells which residual action the logged multiplier was.
    Rewards are the revenue reported, as a share of the worth that the forecast expects for the budget. Raises
    InputError where more than a tenth of the multipliers lie out of the scenario's reach, and as Dataset does.
    """
    if not logs or not scenario.rules.censored:
        raise InputError("expected the log of a campaign at least, and prices seen only where won")
    found = [_read(log, forecast, scenario) for log in logs]
    beyond = float(np.mean([part[1] for part in found]))
    if beyond > BEYOND:
        raise InputError(
            f"{beyond:.0%} of the multipliers are more than e^{scenario.reach:g} from the controller's; give a "
            "scenario with a larger reach"
        )
    return joined([part[0] for part in found])


def _read(
    log: TickLog, forecast: Forecast, scenario: Scenario
) -> tuple[tuple[list[Floats], list[Floats], list[float]], float]:
    """Return an episode's observations, actions and rewards, and the share of multipliers out of reach."""
    groups = log.multipliers.shape[1]
    residual = Residual([log.campaign], forecast, groups, scenario)
    at = forecast.multiplier(log.campaign.scarcity)
    scale = float(forecast.earning(at) * forecast.full_value) * MICROS
    left = float(whole_micros(log.campaign.budget)) / MICROS  # as the books have it
    state = CampaignState.start(log.campaign, groups)._replace(left=left)
    observations, actions, beyond = [], [], 0.0
    for multiplier, offered, table in zip(log.multipliers, log.offered, log.table, strict=True):
        observations.append(np.ravel(residual.observe(state.lifted())))
        base = np.ravel(residual.multipliers(residual.zero))
        wanted = np.log(np.where(multiplier > 0, multiplier, base) / base) / scenario.reach
        wanted = np.where(multiplier > 0, wanted, -1.0)
        beyond += float(np.mean(np.abs(wanted) > 1.0 + 1e-6)) / len(log.offered)
        action = np.clip(wanted, -1.0, 1.0)
        residual.multipliers(float(action[0]) if groups == 1 else action[None])
        actions.append(action.astype(np.float32))
        state = state.after(Feedback.of(offered, table))
    rewards = (log.table[:, :, REVENUE].sum(axis=1) / scale).tolist()
    return (observations, actions, rewards), beyond
