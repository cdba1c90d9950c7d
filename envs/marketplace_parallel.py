"""The marketplace for several learners at once, as a PettingZoo parallel environment (extra: pettingzoo)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gymnasium.utils import seeding

from bidpilot.ctr.errors import InputError
from bidpilot.envs.features import Floats
from bidpilot.envs.marketplace import Action, Arena, action_space, observation_space, residual
from bidpilot.envs.marketplace_traffic import MarketplaceConfig

try:
    from pettingzoo import ParallelEnv
except ImportError as error:
    raise InputError(
        f"playing several seats needs the package {error.name!r}: pip install 'bidpilot[pettingzoo]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import gymnasium as gym
    import numpy as np

Table = dict[str, dict[str, Any]]


class MarketplaceParallel(ParallelEnv[str, Floats, Any]):  # type: ignore[misc]  # pettingzoo has no types
    """The marketplace with a learner in each of several seats, named seat_0, seat_1 ...

    All agents act in every tick and end together at the horizon: terminated, never truncated. Seats without a learner
    are played by their built-in policies. An agent's spaces, observations, rewards and info are those of
    bidpilot.envs.marketplace.Marketplace in the same seat; with one agent so is the whole episode, number by number.

    Attributes: seats, the number of each agent's seat; arena, the episode (None before the first reset).
    """

    metadata: dict[str, Any] = {"name": "bidpilot_marketplace_v0", "render_modes": []}  # noqa: RUF012 - as ParallelEnv

    def __init__(self, config: MarketplaceConfig | None = None, seats: Sequence[int] | None = None) -> None:
        """Take seats (None: all); nothing is drawn yet. Raises InputError for seats that are none, or named twice."""
        self.config, self.render_mode = config or MarketplaceConfig(), None
        taken = list(range(self.config.buyers)) if seats is None else [int(seat) for seat in seats]
        for seat in taken:
            self.config.check_seat(seat)
        if not taken or len(set(taken)) < len(taken):
            raise InputError(f"seats must be at least one, none of them twice; got {taken}")
        self.seats = {f"seat_{seat}": seat for seat in taken}
        self.possible_agents = list(self.seats)
        self.agents: list[str] = []
        self.observation_spaces: dict[str, gym.spaces.Space[Floats]] = {
            agent: observation_space(self.config) for agent in self.seats
        }
        self.action_spaces: dict[str, gym.spaces.Space[Any]] = {
            agent: action_space(self.config) for agent in self.seats
        }
        self.arena: Arena | None = None
        self._rng: np.random.Generator | None = None

    def observation_space(self, agent: str) -> gym.spaces.Space[Floats]:
        """Return the space of an agent's observations, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.spaces.Space[Any]:
        """Return the space of an agent's actions, always the same object."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Floats], Table]:  # noqa: ARG002 - as ParallelEnv
        """Draw the buyers of a day. There are no options."""
        if seed is not None or self._rng is None:
            self._rng, _ = seeding.np_random(seed)
        self.arena = Arena(self.config, self._rng)
        self.agents = list(self.possible_agents)
        return self._seen(self.arena), {agent: self.arena.info(self.seats[agent], {}) for agent in self.agents}

    def step(
        self, actions: Mapping[str, Action]
    ) -> tuple[dict[str, Floats], dict[str, float], dict[str, bool], dict[str, bool], Table]:
        """Play one tick; actions: one by agent, for all of them.

        Raises InputError when agents are missing or unknown, for an action outside the space's form, before the first
        reset and after the end.
        """
        arena = self.arena
        if arena is None or not self.agents:
            raise InputError("there is no episode to go on with; call reset() first")
        if set(actions) != set(self.agents):
            raise InputError(f"expected one action for each of {self.agents}; got them for {list(actions)}")
        residuals = {self.seats[agent]: residual(self.config, action) for agent, action in actions.items()}
        arena.play(arena.multipliers(residuals))
        acted = self.agents
        terms = {agent: arena.terms(self.seats[agent]) for agent in acted}
        rewards = {agent: sum(terms[agent].values()) for agent in acted}
        info = {agent: arena.info(self.seats[agent], terms[agent]) for agent in acted}
        seen = self._seen(arena)
        if arena.over:
            self.agents = []
        return seen, rewards, dict.fromkeys(acted, arena.over), dict.fromkeys(acted, False), info

    def _seen(self, arena: Arena) -> dict[str, Floats]:
        """Return the agents' observations."""
        rows = arena.observations()
        return {agent: rows[self.seats[agent]] for agent in self.agents}
