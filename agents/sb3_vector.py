"""The batched environments as a Stable-Baselines3 `VecEnv`: unmodified learners, one NumPy call a tick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from bidpilot.ctr.errors import InputError
from bidpilot.envs.batched import Batched
from bidpilot.envs.generators import restored, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import gymnasium as gym

    from bidpilot.ctr.types import BoolArray, FloatArray
    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.features import Floats


class BatchedVecEnv(VecEnv):
    """N copies of an environment, with the numbers of a DummyVecEnv of N.

    infos are empty but for the last tick of an episode: terminal_observation, TimeLimit.truncated, and "episode" with
    its return r, length l and the sums of the reward's terms and the counts; where the scenario has a limit, also
    overspend, spend / limit - worth as a share of the scale, with the worth that the limit's reward reckons with.
    recording: keep what state() tells.
    """

    def __init__(self, like: BiddingEnv, count: int, *, recording: bool = False) -> None:
        """Set up; like: the environment they are copies of."""
        self.render_mode = None  # the base class looks at it
        self.core, self._like = Batched(like, count), like
        super().__init__(count, like.observation_space, like.action_space)
        self._actions: Any = None
        self._recording, self._limited = recording, like.scenario.limit is not None
        self._worth = int("realised_limit" in like.scenario.reward)
        self._began: list[list[dict[str, Any]]] = []
        self._played: list[Any] = []

    def reset(self) -> Floats:
        """Draw all episodes; return observations (N, d)."""
        if any(seed is not None for seed in self._seeds):
            self.core.seed(self._seeds)
        self._reset_seeds()
        self._sums: dict[str, FloatArray] = {}
        if any(options != self._options[0] for options in self._options):
            raise InputError("batched environments share the options of a reset; give all of them the same")
        if self._recording:
            self._record()
        observations, drawn = self.core.reset(self._options[0])
        self._reset_options()
        self.reset_infos = [{name: float(amount[i]) for name, amount in drawn.items()} for i in range(self.num_envs)]
        return observations

    def step_async(self, actions: Any) -> None:  # noqa: ANN401 - as the space has it
        """Keep the actions."""
        self._actions = actions

    def step_wait(self) -> tuple[Floats, FloatArray, BoolArray, list[dict[str, Any]]]:
        """Play the tick."""
        if self._recording:
            self._played.append(np.array(self._actions))
        observations, rewards, amounts = self.core.step(self._actions)
        amounts = {"r": rewards, **amounts}
        self._sums = {name: self._sums.get(name, 0.0) + amount for name, amount in amounts.items()}
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        over = np.full(self.num_envs, self.core.over)
        if self.core.over:
            infos = [self._ended(i, last) for i, last in enumerate(observations)]
            observations = self.reset()
        return observations, rewards, over, infos

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return where the episodes are: facts that JSON holds, and arrays by name. Needs recording, and a reset.

        An episode is its draws and its actions, so these are kept, and nothing of what follows from them.
        """
        sums = {f"sum.{name}": np.asarray(amount) for name, amount in self._sums.items()}
        return {"streams": self._began}, {"actions": np.array(self._played), **sums}

    def restore(self, facts: dict[str, Any], arrays: dict[str, Any]) -> Floats:
        """Play the episodes again up to where state() was told; return observations (N, d). Needs recording.

        Raises KeyError, TypeError, ValueError or InputError for what state() cannot have told.
        """
        self._reset_seeds()
        self.core.streams = [tuple(restored(stream) for stream in streams) for streams in facts["streams"]]
        observations = self.reset()
        for actions in arrays["actions"]:
            self._played.append(actions)
            observations, _, _ = self.core.step(actions)
        start = "sum."
        self._sums = {name.removeprefix(start): sums for name, sums in arrays.items() if name.startswith(start)}
        return observations

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:  # noqa: ANN401 - as the base class
        """Return an attribute of the environment they are copies of, once for each."""
        owner = self if attr_name in self.__dict__ else self._like
        return [getattr(owner, attr_name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:  # noqa: ANN401 - as the base class
        """Refuse: the copies share their settings."""
        raise AttributeError(f"{attr_name} cannot be set to {value} in {indices}: batched environments share settings")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:  # noqa: ANN401 - as the base class
        """Call a method of the environment they are copies of, once for each."""
        return [getattr(self._like, method_name)(*args, **kwargs) for _ in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:  # noqa: ANN401, ARG002 - as the base class
        """Tell that no copy is wrapped."""
        return [False] * len(self._chosen(indices))

    def _record(self) -> None:
        """Keep the generators as they are before the draws of an episode."""
        if self._options[0]:
            raise InputError("recorded environments take no options of a reset")
        if not self.core.streams:
            self.core.seed([None] * self.num_envs)
        self._began = [[written(stream) for stream in streams] for streams in self.core.streams]
        self._played = []

    def _chosen(self, indices: int | Iterable[int] | None) -> Sequence[int]:
        return list(self._get_indices(indices))

    def _ended(self, number: int, last: Floats) -> dict[str, Any]:
        """Return the info of an episode that ended."""
        sums = {name: float(amount[number]) for name, amount in self._sums.items()}
        episode = {**sums, "l": self.core.fleet.ticks}
        if self._limited:
            episode["overspend"] = float(self.core.overspend[self._worth, number])
        return {"terminal_observation": last, "TimeLimit.truncated": False, "episode": episode}
