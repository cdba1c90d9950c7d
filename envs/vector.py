"""The batched environments as a `gymnasium.vector.VectorEnv`: gym.make_vec(id, num_envs=256) makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from bidpilot.ctr.errors import InputError
from bidpilot.envs.batched import Batched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import BoolArray, FloatArray
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.features import Floats


class VectorBidding(VectorEnv[Any, Any, Any]):
    """N copies of an environment, stepped by one call; their episodes end together, and begin anew in the same step.

    The numbers are those of N single environments reset with seed, seed + 1, ... What an episode ended with is in
    info["final_obs"], see Gymnasium's AutoresetMode.SAME_STEP. like: the environment they are copies of.
    """

    def __init__(self, like: BiddingEnv, num_envs: int) -> None:
        """Set up spaces; no traffic is drawn yet."""
        self.core = Batched(like, num_envs)
        self.num_envs = num_envs
        self.metadata = {**like.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space, self.single_action_space = like.observation_space, like.action_space
        self.observation_space = batch_space(like.observation_space, num_envs)
        self.action_space = batch_space(like.action_space, num_envs)
        self.render_mode = None
        self.spec = like.spec

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Draw all episodes. seed: of the first; the others count on from it; or one for each."""
        self.core.seed(seeds(seed, self.num_envs))
        observations, drawn = self.core.reset(options)
        return observations, _masked(drawn, np.ones(self.num_envs, dtype=bool))

    def step(self, actions: Any) -> tuple[Floats, FloatArray, BoolArray, BoolArray, dict[str, Any]]:  # noqa: ANN401 - as the space has it
        """Bid for one tick in all; where that was the last, all begin anew."""
        observations, rewards, info = self.core.step(actions)
        everyone = np.ones(self.num_envs, dtype=bool)
        over, never = np.full(self.num_envs, self.core.over), np.zeros(self.num_envs, dtype=bool)
        infos = _masked({**self.core.drawn, **info}, everyone)
        if self.core.over:
            last, ended = observations, infos
            observations, drawn = self.core.reset()
            final = {"final_obs": np.array([*last, None], dtype=object)[:-1], "_final_obs": everyone}
            infos = {**_masked(drawn, everyone), **final, "final_info": ended, "_final_info": everyone}
        return observations, rewards, over, never, infos


def make_vector(num_envs: int = 1, *, scenario: str, **arguments: Any) -> VectorBidding:  # noqa: ANN401 - make's
    """Make the batched form of a scenario; entry point of gym.make_vec(id, num_envs=...), arguments as of make."""
    from bidpilot.envs.scenarios import make

    return VectorBidding(make(scenario, **arguments), num_envs)


def seeds(seed: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    """Return a seed for each environment. Raises InputError for another number of them."""
    if seed is None or isinstance(seed, (int, np.integer)):
        return [None if seed is None else int(seed) + number for number in range(count)]
    if len(seed) != count:
        raise InputError(f"expected a seed for each of {count} environments, got {len(seed)}")
    return list(seed)


def _masked(amounts: dict[str, Any], everyone: BoolArray) -> dict[str, Any]:
    """Return amounts in the form of vector infos: each name with its mask beside it."""
    return amounts | {f"_{name}": everyone for name in amounts}
