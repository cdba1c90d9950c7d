"""What is remembered of every arm: all of the past, a past that fades, or the last pulls only.

Pulls and sums are forgotten together: sums that fade over pulls that do not would make every arm look worse with time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray


class Statistics:
    """Pulls, summed rewards and summed squares per arm, all decayed by `decay` at every pull (1 = never forget)."""

    def __init__(self, arms: int, decay: float = 1.0) -> None:
        """Start with no pulls. Raises InputError for a decay outside 0..1."""
        if not 0.0 < decay <= 1.0:
            raise InputError(f"decay is the share of the past kept at a pull, above 0 and at most 1; got {decay}")
        self.decay = decay
        self.pulls: FloatArray = np.zeros(arms)
        self.sums: FloatArray = np.zeros(arms)
        self.squares: FloatArray = np.zeros(arms)

    def add(self, arm: int, reward: float) -> None:
        """Count a pull. Raises InputError for a reward outside 0..1, on which no bound of a bandit holds."""
        if not 0.0 <= reward <= 1.0:
            raise InputError(f"rewards of a bandit lie in 0..1, scale them first; got {reward}")
        self.pulls *= self.decay
        self.sums *= self.decay
        self.squares *= self.decay
        self._shift(arm, reward, 1.0)

    def _shift(self, arm: int, reward: float, sign: float) -> None:
        self.pulls[arm] += sign
        self.sums[arm] += sign * reward
        self.squares[arm] += sign * reward * reward


class Window(Statistics):
    """Statistics of the last `length` pulls."""

    def __init__(self, arms: int, length: int) -> None:
        """Start with no pulls. Raises InputError for a window of no pull."""
        super().__init__(arms)
        if length < 1:
            raise InputError(f"a window holds at least one pull; got {length}")
        self.length = length
        self._last: deque[tuple[int, float]] = deque()

    def add(self, arm: int, reward: float) -> None:
        """Count a pull, and forget the one that leaves the window."""
        super().add(arm, reward)
        self._last.append((arm, reward))
        if len(self._last) > self.length:
            self._shift(*self._last.popleft(), -1.0)
