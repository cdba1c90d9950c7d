"""What was seen, done and earned, tick by tick, in whole episodes: all that a learner from logs is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray
    from bidpilot.envs.features import Floats

LEAST_SPREAD = 0.01
"""Standard deviation, in residual actions, that actions need beyond what the observation explains."""

SAMPLE = 20_000
"""Rows that are looked at for that, evenly spaced."""

PLAIN = "record trajectories anew with bidpilot.agents.offline.recording"


@dataclass(frozen=True)
class Dataset:
    """Trajectories, one after the other.

    observations: (n, d) float32, as the environment encodes them. actions: (n, groups) float32, residual actions in
    -1..1. rewards: (n,) float32, as shares of what the environment scales by. done: (n,) bool, the last tick of an
    episode; the last row is one. Raises InputError for other shapes, for what is no finite number, and where the
    actions are the same in a state: constant, or a linear function of what was observed. Then the log does not say what
    another action would have brought, and no method can find out (a function that bends goes unnoticed).
    """

    observations: Floats
    actions: Floats
    rewards: Floats
    done: BoolArray

    def __post_init__(self) -> None:
        """Check shapes, numbers and variety."""
        self._check_shapes()
        for name in ("observations", "actions", "rewards"):
            if not np.isfinite(getattr(self, name)).all():
                raise InputError(f"{name} must be finite numbers; {PLAIN}")
        if np.abs(self.actions).max() > 1.0:
            raise InputError(f"actions are residual actions in -1..1; got {np.abs(self.actions).max():.3g}")
        if not self.done[-1]:
            raise InputError("the last row must end an episode (done): give whole episodes")
        if self._unexplained() < LEAST_SPREAD:
            raise InputError(
                "the actions hold a single action per state: nothing can be learned from a log in which multipliers "
                "were not varied; let the logging policy vary them (see Behaviour)"
            )

    def _check_shapes(self) -> None:
        rows = len(self.rewards)
        shapes = {name: getattr(self, name).shape for name in ("observations", "actions", "rewards", "done")}
        tables = all(len(shapes[name]) == 2 for name in ("observations", "actions"))  # noqa: PLR2004 - (n, d)
        if not rows or not tables or any(s[0] != rows for s in shapes.values()) or self.done.shape != (rows,):
            raise InputError(f"expected observations (n, d), actions (n, groups), rewards and done (n,); got {shapes}")
        if self.rewards.ndim != 1:
            raise InputError(f"expected rewards (n,), got {self.rewards.shape}")

    def _unexplained(self) -> float:
        """Return the standard deviation of the actions that a linear function of the observation leaves, at most."""
        rows = np.unique(np.linspace(0, len(self) - 1, SAMPLE).astype(np.int64))
        seen, actions = self.observations[rows].astype(np.float64), self.actions[rows].astype(np.float64)
        rest = actions - actions.mean(axis=0)
        if len(rows) > 2 * seen.shape[1]:  # fewer rows than unknowns are always explained
            table = np.column_stack([seen, np.ones(len(rows))])
            rest = actions - table @ np.linalg.lstsq(table, actions, rcond=None)[0]
        return float(rest.std(axis=0).max())

    def __len__(self) -> int:
        """Return the number of ticks."""
        return len(self.rewards)

    @cached_property
    def following(self) -> Floats:
        """Observations (n, d) a tick later; at the end of an episode its last one again, which done marks as void."""
        later = np.append(np.arange(1, len(self)), len(self) - 1)
        return self.observations[np.where(self.done, np.arange(len(self)), later)]

    @cached_property
    def returns(self) -> FloatArray:
        """Returns to go (n,): what is earned from this tick to the end of the episode, at a discount of 1."""
        to_come = np.cumsum(self.rewards[::-1].astype(np.float64))[::-1]
        after = np.append(to_come, 0.0)[self.ends + 1]
        returns: FloatArray = to_come - np.repeat(after, self.lengths)
        return returns

    @cached_property
    def ends(self) -> IntArray:
        """Last rows (episodes,)."""
        return np.flatnonzero(self.done)

    @cached_property
    def lengths(self) -> IntArray:
        """Ticks (episodes,)."""
        return np.diff(self.ends, prepend=-1)

    @cached_property
    def ticks(self) -> IntArray:
        """Number (n,) of each row in its episode."""
        return np.arange(len(self)) - np.repeat(self.ends + 1 - self.lengths, self.lengths)

    def save(self, path: Path) -> None:
        """Write the arrays, atomically, as safetensors: nothing in the file can be executed."""
        names = ("observations", "actions", "rewards", "done")
        write_atomically(path, save({name: np.ascontiguousarray(getattr(self, name)) for name in names}))

    @classmethod
    def load(cls, path: str | Path) -> Dataset:
        """Read what save wrote. Raises InputError for a missing or damaged file, and as the class does."""
        try:
            parts = load(Path(path).read_bytes())
            arrays = [parts[name] for name in ("observations", "actions", "rewards")]
            done = parts["done"]
        except (OSError, SafetensorError, KeyError) as error:
            raise InputError(f"{path}: no complete dataset ({error!r}); {PLAIN}") from error
        try:
            observations, actions, rewards = (array.astype(np.float32) for array in arrays)
            return cls(observations, actions, rewards, done.astype(np.bool_))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def joined(parts: list[tuple[list[Floats], list[Floats], list[float]]]) -> Dataset:
    """Return the dataset of episodes: each its observations, actions and rewards in order of time."""
    observations, actions = (np.concatenate([np.stack(part[i]) for part in parts]) for i in (0, 1))
    rewards = np.concatenate([np.asarray(part[2], dtype=np.float32) for part in parts])
    done: npt.NDArray[np.bool_] = np.zeros(len(rewards), dtype=np.bool_)
    done[np.cumsum([len(part[2]) for part in parts]) - 1] = True
    return Dataset(observations.astype(np.float32), actions.astype(np.float32), rewards, done)
