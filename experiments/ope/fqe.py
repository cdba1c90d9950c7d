"""Fitted Q evaluation (Le, Voloshin, Yue 2019): what a target policy is worth, by regression on what comes next.

Q(s, a) is fitted to r + discount * sum over a' of target(a' | s') Q(s', a'), nothing following a terminal step, over
and over. The next action is the target's, never the logged one: else it would be the logging policy's value. No weights
multiply, so long episodes do no harm; what is not in the log is the model's guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray
    from bidpilot.experiments.ope.logged import LoggedEpisodes

SWEEPS = 10_000
CLOSE = 1e-10


class Transitions(NamedTuple):
    """Steps (k,), each with the state it led to; next_states are not looked at where terminal."""

    states: IntArray | FloatArray
    actions: IntArray
    rewards: FloatArray
    next_states: IntArray | FloatArray
    terminal: BoolArray


def transitions(log: LoggedEpisodes) -> Transitions:
    """Return the steps whose successor is known: the last step of an episode that was cut off is left out."""
    known = log.terminal | ~log.last
    following = np.roll(log.states, -1, axis=0)
    return Transitions(log.states[known], log.actions[known], log.rewards[known], following[known], log.terminal[known])


def fit_table(steps: Transitions, target: FloatArray, discount: float = 1.0) -> FloatArray:
    """Return Q (states, arms) by fitted averages, iterated until it no longer moves; target: (states, arms).

    States are whole numbers below states, and hold the time left where the horizon is finite. A pair never logged
    stays at 0. Raises InputError where the values grow without end: discount 1 and steps that never end.
    """
    q: FloatArray = np.zeros_like(target)
    cell = steps.states.astype(np.int64) * target.shape[1] + steps.actions
    count = np.maximum(np.bincount(cell, minlength=q.size), 1)
    goes_on = discount * ~steps.terminal
    following = np.where(steps.terminal, 0, steps.next_states).astype(np.int64)
    for _ in range(SWEEPS):
        value = (target * q).sum(axis=1)
        total = np.bincount(cell, steps.rewards + goes_on * value[following], q.size)
        before, q = q, (total / count).reshape(q.shape)
        if np.abs(q - before).max() <= CLOSE * max(1.0, float(np.abs(q).max())):
            return q
    raise InputError(f"no end after {SWEEPS:,} sweeps: episodes must end in terminal steps, or discount be below 1")


def start_value(log: LoggedEpisodes, value: FloatArray) -> FloatArray:
    """Return a model's value (episodes,) of the states that episodes start in; value: (m,) at every step."""
    return np.asarray(value[log.places()[1] == 0])
