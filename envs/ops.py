"""The few operations by which formulas are written once and run on one episode or on many.

One episode with one bid group is played in floats (SCALARS): a NumPy call on one number costs more than the sum it
does. Everything else is played in arrays (ARRAYS): per-group amounts (N, G), common amounts (N, 1). The same inputs
give the same bytes in either form (a test compares them).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray

Amount: TypeAlias = Any
"""A float, or an array (N, 1) or (N, G): formulas that run on all are checked by tests, not by types."""


class Ops(Protocol):
    """What a formula may call; + - * / and comparisons are the operators themselves."""

    def exp(self, x: Amount) -> Amount:
        """Return e to the x."""

    def log(self, x: Amount) -> Amount:
        """Return the natural logarithm of what is above 0."""

    def clip(self, x: Amount, low: Amount, high: Amount) -> Amount:
        """Return x moved into low..high."""

    def where(self, condition: Amount, x: Amount, y: Amount) -> Amount:
        """Return x where the condition holds, else y; both have been computed."""

    def over_groups(self, x: Amount) -> Amount:
        """Return the sum over bid groups: a common amount."""


def _alike() -> bool:
    """Tell whether the C library's exp and log give NumPy's bytes here; where NumPy has vector forms they may not."""
    x = np.linspace(-40.0, 40.0, 2001)
    y = np.exp(x)
    same = y.tolist() == [math.exp(v) for v in x.tolist()]
    return bool(same and np.log(y).tolist() == [math.log(v) for v in y.tolist()])


ALIKE = _alike()


LARGE = 700.0
"""Beyond this the C library's exp overflows with an error, NumPy's to infinity."""


class Scalars:
    """Floats: one episode, one bid group."""

    def __reduce__(self) -> str:
        """Pickle as the one instance."""
        return "SCALARS"

    @staticmethod
    def exp(x: float) -> float:
        """Return e to the x."""
        return math.exp(x) if ALIKE and x < LARGE else float(np.exp(x))

    @staticmethod
    def log(x: float) -> float:
        """Return the natural logarithm."""
        return math.log(x) if ALIKE and x > 0.0 else float(np.log(x))

    @staticmethod
    def clip(x: float, low: float, high: float) -> float:
        """Return x moved into low..high."""
        return low if x < low else min(x, high)

    @staticmethod
    def where(condition: bool, x: float, y: float) -> float:  # noqa: FBT001 - as np.where
        """Return x or y."""
        return x if condition else y

    @staticmethod
    def over_groups(x: float) -> float:
        """Return the only group's amount."""
        return x


class Arrays:
    """Arrays (N, G) and (N, 1): N episodes in lockstep."""

    def __reduce__(self) -> str:
        """Pickle as the one instance."""
        return "ARRAYS"

    @staticmethod
    def exp(x: FloatArray) -> FloatArray:
        """Return e to the x."""
        return np.asarray(np.exp(x))

    @staticmethod
    def log(x: FloatArray) -> FloatArray:
        """Return the natural logarithm."""
        return np.asarray(np.log(x))

    @staticmethod
    def clip(x: FloatArray, low: Amount, high: Amount) -> FloatArray:
        """Return x moved into low..high."""
        return np.asarray(np.minimum(np.maximum(x, low), high))

    @staticmethod
    def where(condition: BoolArray, x: Amount, y: Amount) -> FloatArray:
        """Return x where the condition holds, else y."""
        return np.asarray(np.where(condition, x, y))

    @staticmethod
    def over_groups(x: FloatArray) -> FloatArray:
        """Return the sums (N, 1)."""
        return x.sum(axis=1, keepdims=True) if x.shape[1] > 1 else x


SCALARS, ARRAYS = Scalars(), Arrays()
