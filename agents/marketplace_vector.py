"""The marketplace as a Stable-Baselines3 `VecEnv`: arenas in lockstep, the learner in several seats of each.

An auction costs the same however many of its bidders learn: K seats give K rows of experience for one arena's work.
"""

from __future__ import annotations

from copy import deepcopy
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


LEAST = 1e-3
"""Worth per budget below which a day of the controller is taken for no better: there is nothing to share."""


class MarketplaceVecEnv(VecEnv):
    """M arenas with the learner in K seats of each: M x K environments, those of an arena side by side.

    The other seats keep their built-in policies. The K seats lie evenly around the table, from the config's seat or
    the arena's drawn one on: buyers are drawn alike, so any K are as good. With K = 1 the numbers are those of a
    DummyVecEnv of M `Marketplace`; an arena takes the seed of the first of its seats.

    relative: rewards are the worth less what the controllers alone buy on the same day in the same tick, as a share of
    what they buy in all of it: what a policy adds, without what differs between buyers and days anyway. Played with
    every seat's own controller before the day begins, it does not depend on what the learner does.

    infos are empty but for the last tick of an episode: terminal_observation, TimeLimit.truncated and "episode" with
    its return r and length l. Raises InputError for counts below 1, or more seats than buyers.
    """

    def __init__(self, config: MarketplaceConfig, arenas: int, seats: int, *, relative: bool = False) -> None:
        """Set up; nothing is drawn yet."""
        if arenas < 1 or not 1 <= seats <= config.buyers:
            raise InputError(
                f"expected at least 1 arena and 1 to {config.buyers} seats (the buyers); got {arenas} and {seats}"
            )
        self.render_mode = None  # the base class looks at it
        self.config, self._seats, self._relative = config, seats, relative
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
        if self._relative:
            paced = [_paced(arena, seats) for arena, seats in zip(self.arenas, self.chosen, strict=True)]
            self._paced = np.concatenate(paced, axis=1)
        return self._seen()

    def step_async(self, actions: Any) -> None:  # noqa: ANN401 - as the space has it
        """Keep the actions."""
        self._actions = actions

    def step_wait(self) -> tuple[Floats, FloatArray, BoolArray, list[dict[str, Any]]]:
        """Play the tick in all arenas."""
        acts = np.array([residual(self.config, action) for action in self._actions]).reshape(-1, self._seats)
        tick, earned = self.arenas[0].tick, []
        for arena, seats, row in zip(self.arenas, self.chosen, acts, strict=True):
            arena.play(arena.multipliers(dict(zip(seats, row.tolist(), strict=True))))
            earned += [_earned(arena, seat) for seat in seats]
        rewards = np.array(earned)
        if self._relative:
            rewards = (rewards - self._paced[tick]) / np.maximum(self._paced.sum(axis=0), LEAST)
        self._return += rewards
        observations, over = self._seen(), self.arenas[0].over  # all days have as many ticks
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if over:
            infos = [self._ended(*pair) for pair in zip(observations, self._return.tolist(), strict=True)]
            observations = self.reset()
        return observations, rewards, np.full(self.num_envs, over), infos

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


def _earned(arena: Arena, seat: int) -> float:
    """Return the seat's reward of the last tick, as `Marketplace` gives it."""
    return sum(arena.terms(seat).values())


def _paced(arena: Arena, seats: list[int]) -> FloatArray:
    """Return the rewards (ticks, seats) of the controllers alone, in a copy of an arena that has not begun."""
    alone, rewards = deepcopy(arena), []
    while not alone.over:
        alone.play(alone.multipliers(dict.fromkeys(seats, 0.0)))
        rewards.append([_earned(alone, seat) for seat in seats])
    return np.array(rewards)
