"""The marketplace as a Stable-Baselines3 `VecEnv`: arenas in lockstep, the learner in several seats of each.

An auction costs the same however many of its bidders learn: K seats give K rows of experience for one arena's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.utils import seeding
from stable_baselines3.common.vec_env import VecEnv

from bidpilot.ctr.errors import InputError
from bidpilot.envs.marketplace import Arena, action_space, observation_space, residual

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import gymnasium as gym

    from bidpilot.ctr.types import BoolArray, FloatArray
    from bidpilot.envs.features import Floats
    from bidpilot.envs.marketplace_traffic import MarketplaceConfig


class MarketplaceVecEnv(VecEnv):
    """M arenas with the learner in K seats of each: M x K environments, those of an arena side by side.

    The other seats keep their built-in policies. The K seats lie evenly around the table, from the config's seat or
    the arena's drawn one on: buyers are drawn alike, so any K are as good. With K = 1 the numbers are those of a
    DummyVecEnv of M `Marketplace`; an arena takes the seed of the first of its seats.

    infos are empty but for the last tick of an episode: terminal_observation, TimeLimit.truncated and "episode" with
    its return r and length l. Raises InputError for counts below 1, or more seats than buyers.
    """

    def __init__(self, config: MarketplaceConfig, arenas: int, seats: int) -> None:
        """Set up; nothing is drawn yet."""
        if arenas < 1 or not 1 <= seats <= config.buyers:
            raise InputError(
                f"expected at least 1 arena and 1 to {config.buyers} seats (the buyers); got {arenas} and {seats}"
            )
        self.render_mode = None  # the base class looks at it
        self.config, self._seats = config, seats
        super().__init__(arenas * seats, observation_space(config), action_space(config))
        self.arenas: list[Arena] = []
        self._streams: list[np.random.Generator] = []
        self._actions: Any = None

    @property
    def chosen(self) -> list[list[int]]:
        """The learner's seats in each arena."""
        wish, count = self.config.seat, self.config.buyers
        steps = np.arange(self._seats) * count // self._seats
        return [(((arena.seat if wish is None else wish) + steps) % count).tolist() for arena in self.arenas]

    def reset(self) -> Floats:
        """Draw all arenas; return observations (M x K, d)."""
        seeds = self._seeds[:: self._seats]
        for number, seed in enumerate(seeds):
            if number == len(self._streams):
                self._streams.append(seeding.np_random(seed)[0])
            elif seed is not None:
                self._streams[number] = seeding.np_random(seed)[0]
        self._reset_seeds()
        self.arenas = [Arena(self.config, stream) for stream in self._streams]
        self._return = np.zeros(self.num_envs)
        return self._seen()

    def step_async(self, actions: Any) -> None:  # noqa: ANN401 - as the space has it
        """Keep the actions."""
        self._actions = actions

    def step_wait(self) -> tuple[Floats, FloatArray, BoolArray, list[dict[str, Any]]]:
        """Play the tick in all arenas."""
        acts = np.array([residual(self.config, action) for action in self._actions]).reshape(-1, self._seats)
        rewards = []
        for arena, seats, row in zip(self.arenas, self.chosen, acts, strict=True):
            arena.play(arena.multipliers(dict(zip(seats, row.tolist(), strict=True))))
            rewards += [sum(arena.terms(seat).values()) for seat in seats]
        self._return += rewards
        observations, over = self._seen(), self.arenas[0].over  # all days have as many ticks
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if over:
            infos = [self._ended(*pair) for pair in zip(observations, self._return.tolist(), strict=True)]
            observations = self.reset()
        return observations, np.array(rewards), np.full(self.num_envs, over), infos

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:  # noqa: ANN401 - as the base class
        """Return an attribute that all share, once for each."""
        return [getattr(self, attr_name)] * len(self._which(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:  # noqa: ANN401 - as the base class
        """Refuse: the seats share their settings."""
        raise AttributeError(f"{attr_name} cannot be set to {value} in {indices}: the seats share their settings")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:  # noqa: ANN401, ARG002 - as the base class
        """Refuse: seats have no methods of their own."""
        raise AttributeError(f"{method_name} cannot be called in {indices}: seats have no methods")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:  # noqa: ANN401, ARG002 - as the base class
        """Tell that no seat is wrapped."""
        return [False] * len(self._which(indices))

    def _which(self, indices: int | Iterable[int] | None) -> Sequence[int]:
        return list(self._get_indices(indices))

    def _seen(self) -> Floats:
        """Return what the learner's seats see."""
        rows = [arena.observations()[seats] for arena, seats in zip(self.arenas, self.chosen, strict=True)]
        return np.concatenate(rows)

    def _ended(self, last: Floats, earned: float) -> dict[str, Any]:
        """Return the info of an episode that ended."""
        episode = {"r": earned, "l": self.config.ticks}
        return {"terminal_observation": last, "TimeLimit.truncated": False, "episode": episode}
