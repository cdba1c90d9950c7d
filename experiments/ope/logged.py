"""What a policy that acted at random has written down: one decision a row, or whole episodes. Checked, frozen.

The probability with which an action was taken must be the one that was in force when it was taken, before clipping or
rounding of the action: estimates divide by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray

SUM_ERROR = 1e-6
"""How far probabilities may be from summing to 1, for what files round."""


@dataclass(frozen=True, slots=True, eq=False)
class LoggedBandit:
    """Decisions (n,) that do not change what is met later.

    actions: 0 .. arms - 1. rewards: any unit. propensity: P(the logged action), in (0, 1]. features: (n, d) or None.
    position: where the action was shown, whole numbers, or None. group: which rows belong together (a day, a user), to
    be drawn together by the bootstrap, or None where rows are independent. behaviour: (n, arms) the whole distribution
    that the action was drawn from, where it is known. Raises InputError on anything else.
    """

    actions: IntArray
    rewards: FloatArray
    propensity: FloatArray
    arms: int
    features: FloatArray | None = None
    position: IntArray | None = None
    group: IntArray | None = None
    behaviour: FloatArray | None = None

    def __post_init__(self) -> None:
        """Check shapes and ranges."""
        n = len(self.actions)
        _check_rows(n, rewards=self.rewards, propensity=self.propensity, position=self.position, group=self.group)
        check_actions(self.actions, self.arms)
        check_probabilities("propensity", self.propensity)
        _check_finite("rewards", self.rewards)
        if self.features is not None:
            _check_shape("features", self.features, (n, self.features.shape[-1]))
            _check_finite("features", self.features)
        if self.behaviour is not None:
            check_distribution("behaviour", self.behaviour, (n, self.arms))
            if not np.allclose(self.at_action(self.behaviour), self.propensity, atol=SUM_ERROR):
                raise InputError("propensity is not behaviour at the logged action; give what it was drawn from")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.actions)

    @classmethod
    def from_distributions(
        cls, actions: npt.ArrayLike, rewards: npt.ArrayLike, behaviour: FloatArray, group: IntArray | None = None
    ) -> LoggedBandit:
        """Take decisions whose whole distributions (n, arms) were logged, as bandits' `propensities()` gives them.

        Ticks of one paced day hang together by the budget, which no bandit estimate sees: give the day as `group`, and
        read the estimate as that of single changed decisions. Raises InputError where an action had probability 0.
        """
        chosen = np.asarray(actions, dtype=np.int64)
        _check_shape("behaviour", behaviour, (len(chosen), behaviour.shape[-1]))
        check_actions(chosen, behaviour.shape[1])
        propensity = behaviour[np.arange(len(chosen)), chosen]
        earned = np.asarray(rewards, dtype=np.float64)
        return cls(chosen, earned, propensity, behaviour.shape[1], group=group, behaviour=behaviour)

    def at_action(self, table: FloatArray) -> FloatArray:
        """Return the entries (n,) of a table (n, arms) at the logged actions."""
        return np.asarray(table[np.arange(len(self)), self.actions])

    def weights(self, target: FloatArray) -> FloatArray:
        """Return target probability over logged probability (n,) of the logged actions; target: (n, arms)."""
        check_distribution("target", target, (len(self), self.arms))
        return self.at_action(target) / self.propensity


@dataclass(frozen=True, slots=True, eq=False)
class LoggedEpisodes:
    """Steps (m,) of episodes, one after the other, each in time order.

    episode: its number, the same for all its steps. states: (m,) whole numbers or (m, d). actions: 0 .. arms - 1.
    rewards: any unit. propensity: P(the logged action), in (0, 1]. terminal: whether the episode ends with the step; an
    episode whose last step is not terminal was cut off. Raises InputError on anything else.
    """

    episode: IntArray
    states: IntArray | FloatArray
    actions: IntArray
    rewards: FloatArray
    propensity: FloatArray
    terminal: BoolArray
    arms: int

    def __post_init__(self) -> None:
        """Check shapes, ranges and that episodes lie in one piece."""
        m = len(self.actions)
        _check_rows(m, episode=self.episode, rewards=self.rewards, propensity=self.propensity, terminal=self.terminal)
        if len(self.states) != m:
            raise InputError(f"states: expected {m:,} rows, as of actions; got {len(self.states):,}")
        check_actions(self.actions, self.arms)
        check_probabilities("propensity", self.propensity)
        _check_finite("rewards", self.rewards)
        _check_finite("states", self.states)
        pieces = 1 + int((self.episode[1:] != self.episode[:-1]).sum())
        if pieces != len(np.unique(self.episode)):
            raise InputError("episode: the steps of an episode must follow each other; sort by episode, then by time")
        if (self.terminal & ~self.last).any():
            step = int((self.terminal & ~self.last).argmax())
            raise InputError(f"terminal: step {step} ends episode {self.episode[step]}, but more of its steps follow")

    @property
    def last(self) -> BoolArray:
        """Whether a step (m,) is the last one logged of its episode."""
        return np.append(self.episode[1:] != self.episode[:-1], np.True_)

    @property
    def count(self) -> int:
        """The number of episodes."""
        return int(self.last.sum())

    def places(self) -> tuple[IntArray, IntArray]:
        """Return the row (m,) of each step's episode, 0 .. count - 1, and its time (m,) in it, from 0."""
        starts = np.append(np.True_, self.last[:-1])
        row = np.cumsum(starts) - 1
        return row, np.arange(len(row)) - np.flatnonzero(starts)[row]


def check_actions(actions: IntArray, arms: int) -> None:
    """Raise InputError unless actions (n,) are whole numbers in 0 .. arms - 1."""
    if not np.issubdtype(actions.dtype, np.integer) or not len(actions):
        raise InputError(f"actions: expected at least one whole number; got {len(actions)} of type {actions.dtype}")
    wrong = (actions < 0) | (actions >= arms)
    if wrong.any():
        place = int(wrong.argmax())
        raise InputError(f"actions: row {place} is {actions[place]}; expected 0 to {arms - 1}, the {arms} arms")


def check_probabilities(name: str, values: FloatArray) -> None:
    """Raise InputError unless all values (n,) lie in (0, 1]."""
    wrong = ~((values > 0) & (values <= 1))
    if wrong.any():
        place = int(wrong.argmax())
        raise InputError(
            f"{name}: row {place} is {values[place]:g}; expected a probability above 0 and at most 1: what was done "
            "with probability 0 cannot have been done, and estimates divide by it"
        )


def check_distribution(name: str, values: FloatArray, shape: tuple[int, int]) -> None:
    """Raise InputError unless values have the shape (n, arms) and every row is a probability distribution."""
    _check_shape(name, values, shape)
    if not (values >= 0).all():
        raise InputError(f"{name}: row {int((~(values >= 0)).any(axis=1).argmax())} has a negative or missing entry")
    total = values.sum(axis=1)
    wrong = np.abs(total - 1.0) > SUM_ERROR
    if wrong.any():
        place = int(wrong.argmax())
        raise InputError(f"{name}: row {place} sums to {total[place]:.6g}; probabilities of all actions must sum to 1")


def _check_rows(n: int, **columns: npt.NDArray[np.generic] | None) -> None:
    for name, column in columns.items():
        if column is not None and column.shape != (n,):
            raise InputError(f"{name}: expected shape ({n},), one entry for each action; got {column.shape}")


def _check_shape(name: str, values: FloatArray, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise InputError(f"{name}: expected shape {shape}; got {values.shape}")


def _check_finite(name: str, values: IntArray | FloatArray) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise InputError(f"{name}: row {int(np.argwhere(wrong)[0][0])} is not a finite number; leave such rows out")
