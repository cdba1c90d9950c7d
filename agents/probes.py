"""Observations that a trained network meets in its environment: with its actions, the proof of what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.scenarios import make

if TYPE_CHECKING:
    from bidpilot.agents.learned import Actor, Floats
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario

APART = 3
"""Ticks between the observations that are kept: neighbours are much alike."""


def probes(actor: Actor, scenario: Scenario, market: Market, forecast: Forecast, count: int, seed: int) -> Floats:
    """Return about `count` raw observations, as Actor.gap takes them: (count, d), each by itself.

    Of a network with a memory whole episodes in order, (ticks, episodes, d), as few as hold that many.
    """
    env = make(replace(scenario, action="continuous"), market, forecast)  # levels come out of the network as numbers
    ticks, apart = forecast.ticks, 1 if actor.lstm is not None else APART
    episodes = -(-apart * count // ticks)
    met: list[Floats] = []
    for number in range(episodes):
        observation, _ = env.reset(seed=seed if number == 0 else None)
        memory = None
        for _ in range(ticks):
            met.append(observation)
            action, memory = actor.act(observation, memory)
            observation, *_ = env.step(action.astype(np.float32))
    seen = np.array(met, dtype=np.float32)
    kept = seen[::APART][:count] if actor.lstm is None else seen.reshape(episodes, ticks, -1).swapaxes(0, 1)
    return np.ascontiguousarray(kept)  # safetensors writes the memory of a view, not the view
