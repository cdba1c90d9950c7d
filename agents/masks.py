"""Levels that make no sense, for MaskablePPO: with the budget spent, none but the controller's own.

What is masked makes no difference to the episode, so a policy trained with masks is played without them. No other level
is senseless for certain: switching a segment off is itself a level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper

from bidpilot.agents.sb3_vector import BatchedVecEnv
from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv
    from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

    from bidpilot.ctr.types import BoolArray

SPENT = 1e-3
"""Share of the budget below which what is left counts as nothing: no level can change the outcome by more."""


class MaskedVecEnv(VecEnvWrapper):
    """Batched environments with ladders, that also tell which levels make sense."""

    def __init__(self, venv: VecEnv) -> None:
        """Wrap. Raises InputError for environments that are not batched."""
        base = venv.unwrapped
        if not isinstance(base, BatchedVecEnv):
            raise InputError(f"masks are told by a BatchedVecEnv, wrapped or not; got {type(base).__name__}")
        super().__init__(venv)
        self._core = base.core
        space = cast("Any", venv.action_space)
        sizes = np.atleast_1d(getattr(space, "nvec", getattr(space, "n", 0)))
        self._middle: BoolArray = np.concatenate([np.arange(size) == size // 2 for size in sizes])

    def action_masks(self) -> BoolArray:
        """Return which levels make sense: (N, levels of all groups side by side)."""
        now = self._core.fleet.glance()
        spent = now.left < SPENT * (now.left + now.spent)
        return np.where(spent, self._middle, np.ones_like(self._middle))

    def has_attr(self, attr_name: str) -> bool:
        """Tell whether there is an attribute: masks there are."""
        return attr_name == "action_masks" or self.venv.has_attr(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:  # noqa: ANN401 - as the base class
        """Call a method of every environment."""
        if method_name == "action_masks":
            return list(self.action_masks()[list(self._get_indices(indices))])
        return self.venv.env_method(method_name, *args, indices=indices, **kwargs)

    def reset(self) -> VecEnvObs:
        """Draw all episodes; return observations."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Play the tick."""
        return self.venv.step_wait()
