"""Forms of an action: a number per bid group, or a level of a ladder of multipliers per bid group.

Either becomes a residual action in -1..1 (see envs/residual): a float for one group, an array (N, groups) for more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import gymnasium as gym
import numpy as np

from bidpilot.ctr.errors import InputError, unknown

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

    Space: TypeAlias = gym.spaces.Space[Any]

ACTIONS = ("continuous", "ladder")


class Hands(Protocol):
    """How an environment takes actions."""

    space: Space

    def one(self, action: Any) -> Any:  # noqa: ANN401 - as the space has it
        """Return one episode's residual action: a float for one group, else (1, groups)."""

    def many(self, actions: Any) -> FloatArray:  # noqa: ANN401 - as the space has it
        """Return the residual actions (N, groups) of N episodes."""


class Continuous:
    """A number in -1..1 per group; what lies outside is clipped, what is no number is refused."""

    def __init__(self, groups: int) -> None:
        """Set up the space."""
        self.groups = groups
        self.space: Space = gym.spaces.Box(-1.0, 1.0, (groups,), dtype=np.float32)

    def one(self, action: Any) -> Any:  # noqa: ANN401 - as the space has it
        """Return one episode's action. Raises InputError unless it is as many finite numbers as groups."""
        if self.groups == 1 and isinstance(action, np.ndarray) and action.shape == (1,):
            only = float(action[0])
            if only - only == 0.0:  # finite: quicker than NumPy on one number
                return only
        wanted = self.many([action])
        return float(wanted[0, 0]) if self.groups == 1 else wanted

    def many(self, actions: Any) -> FloatArray:  # noqa: ANN401 - as the space has it
        """Return the actions (N, groups). Raises InputError as one does."""
        try:
            wanted = np.asarray(actions, dtype=np.float64)
        except (TypeError, ValueError):
            wanted = np.full(1, np.nan)
        if wanted.ndim != 2 or wanted.shape[1] != self.groups or not np.isfinite(wanted).all():  # noqa: PLR2004 - (N, groups)
            raise InputError(f"an action must be {self.groups} finite numbers in -1..1; got {actions}")
        return wanted


class Ladder:
    """One of `levels` evenly spaced residual actions per group; the middle level is the controller itself."""

    def __init__(self, groups: int, levels: int) -> None:
        """Set up the space. Raises InputError for an even number of levels, or fewer than 3."""
        if levels < 3 or levels % 2 == 0:  # noqa: PLR2004 - two ends and a middle
            raise InputError(f"a ladder needs an odd number of levels, at least 3, to have a middle; got {levels}")
        self.groups, self.levels = groups, levels
        self._rungs = np.linspace(-1.0, 1.0, levels)
        self._floats: list[float] = self._rungs.tolist()
        many: Space = gym.spaces.MultiDiscrete([levels] * groups)
        self.space: Space = gym.spaces.Discrete(levels) if groups == 1 else many

    def one(self, action: Any) -> Any:  # noqa: ANN401 - as the space has it
        """Return one episode's action. Raises InputError unless it is a level per group."""
        return self._floats[int(self._levels(action, ())[0])] if self.groups == 1 else self.many([action])

    def many(self, actions: Any) -> FloatArray:  # noqa: ANN401 - as the space has it
        """Return the actions (N, groups). Raises InputError as one does."""
        rows = self._levels(
            actions, (len(np.atleast_1d(actions)),) if self.groups == 1 else (len(actions), self.groups)
        )
        return np.asarray(self._rungs[rows].reshape(-1, self.groups))

    def _levels(self, action: Any, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - as the space has it
        levels = np.asarray(action)
        fits = levels.size == np.prod(shape, dtype=int) and levels.dtype.kind in "iu"
        if not fits or (levels < 0).any() or (levels >= self.levels).any():
            raise InputError(f"an action must be {self.groups} whole numbers in 0..{self.levels - 1}; got {action}")
        return levels.reshape(shape or (1,))


def hands(form: str, groups: int, levels: int) -> Hands:
    """Return a form of action by name. Raises InputError listing the known names."""
    if form not in ACTIONS:
        raise unknown("action form", form, ACTIONS)
    return Continuous(groups) if form == "continuous" else Ladder(groups, levels)
