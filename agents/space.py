"""What tuning may try of a policy's settings: a range or a list for each field of its Config, declared once.

`bidpilot compare` tries a few settings spread evenly over the space; `bidpilot tune` searches the same space.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from bidpilot.agents.base import PolicyConfig

TRIALS = 9
"""Settings that every policy is given by default, its own default among them."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of numbers, low..high; log: even in the logarithm; whole: integers only.

    Raises InputError for an empty range, or one that reaches 0 on a log scale.
    """

    low: float
    high: float
    log: bool = True
    whole: bool = False

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not -np.inf < self.low < self.high < np.inf or (self.log and self.low <= 0):
            raise InputError(f"a span goes from a lower to a higher number, above 0 where log; got {self}")

    def at(self, share: float) -> float | int:
        """Return the value at a share 0..1 of the way."""
        if self.log:
            value = float(np.exp(np.log(self.low) + share * np.log(self.high / self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return round(value) if self.whole else value


@dataclass(frozen=True, slots=True)
class Choice:
    """A list of values."""

    options: tuple[Any, ...]

    def at(self, share: float) -> Any:  # noqa: ANN401 - whatever the options are
        """Return the option at a share 0..1 of the way."""
        return self.options[min(int(share * len(self.options)), len(self.options) - 1)]


C = TypeVar("C", bound="PolicyConfig")
Space = dict[str, Span | Choice]


def spread(config: type[C], count: int = TRIALS) -> tuple[C, ...]:
    """Return at most `count` different settings: the default, then points spread evenly over the space.

    The points are a Kronecker sequence on powers of the plastic constants (the golden ratio for one field), which
    fills a space of any dimension evenly at any length.
    """
    default, space = config(), config.space()
    found: dict[C, None] = {default: None}
    for step in _kronecker(count - 1, len(space)):
        values = {name: field.at(share) for (name, field), share in zip(space.items(), step, strict=True)}
        found[replace(default, **values)] = None  # type: ignore[type-var]
    return tuple(found)


def _kronecker(count: int, dimensions: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    root = 2.0
    for _ in range(64):  # the root of x^(d + 1) = x + 1
        root = (1.0 + root) ** (1.0 / (dimensions + 1))
    steps = root ** -np.arange(1.0, dimensions + 1)
    return np.asarray((0.5 + np.outer(np.arange(1, count + 1), steps)) % 1.0)
