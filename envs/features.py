"""A table of features: one row each gives the encoder, the Box bounds, the names and the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Floats = npt.NDArray[np.float32]
"""Observations and actions, as networks take and give them."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of a table of features.

    measure takes whatever the environment knows: it returns a common amount, or one per group where per_group (see
    envs/ops on their forms).
    """

    name: str
    unit: str
    low: float
    high: float
    meaning: str
    measure: Callable[[Any], Any]
    per_group: bool = False


@lru_cache
def bounds(features: tuple[Feature, ...], groups: int) -> tuple[Floats, Floats]:
    """Return the lower and upper bounds (d,) of the observation for this many groups."""
    count = [groups if f.per_group else 1 for f in features]
    low = np.repeat([f.low for f in features], count).astype(np.float32)
    return low, np.repeat([f.high for f in features], count).astype(np.float32)


class Encoder:
    """Turns what the features measure into observations, clipped to their bounds."""

    def __init__(self, features: tuple[Feature, ...], groups: int) -> None:
        """Lay out the observation."""
        low, high = bounds(features, groups)
        self._low, self._high, self._size = low, high, len(low)
        ends = np.cumsum([groups if f.per_group else 1 for f in features]).tolist()
        starts = [0, *ends[:-1]]
        self._measures = tuple(f.measure for f in features)
        self._parts = [slice(start, end) for start, end in zip(starts, ends, strict=True)]

    def one(self, situation: object) -> Floats:
        """Return the observation (d,) of one episode with one group: measures give floats."""
        parts = np.array([measure(situation) for measure in self._measures], np.float32)
        np.maximum(parts, self._low, out=parts)
        return np.minimum(parts, self._high, out=parts)

    def many(self, situation: object, episodes: int) -> Floats:
        """Return the observations (episodes, d): measures give (episodes, 1) or (episodes, groups)."""
        parts = np.empty((self._size, episodes), np.float32)
        for part, measure in zip(self._parts, self._measures, strict=True):
            amount = measure(situation)
            parts[part] = amount.T if isinstance(amount, np.ndarray) else amount
        np.maximum(parts, self._low[:, None], out=parts)
        np.minimum(parts, self._high[:, None], out=parts)
        return np.ascontiguousarray(parts.T)


def names(features: Sequence[Feature], groups: int) -> list[str]:
    """Return the name of every entry of the observation; per-group entries carry the group's number."""
    return [
        f"{f.name}[{g}]" if f.per_group and groups > 1 else f.name
        for f in features
        for g in range(groups if f.per_group else 1)
    ]


def table(features: Sequence[Feature], group: str = "bid group") -> str:
    """Return the features as a Markdown table, for documentation; group: what a per-group entry comes once for."""
    lines = ["| name | unit | range | meaning |", "|---|---|---|---|"]
    for f in features:
        each = f" (one per {group})" if f.per_group else ""
        lines.append(f"| `{f.name}` | {f.unit} | {f.low:g} .. {f.high:g} | {f.meaning}{each} |")
    return "\n".join(lines)
