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


def encode(features: tuple[Feature, ...], situation: object) -> Floats:
    """Return the observation (d,) of one episode with one group (measures give floats), clipped to its bounds."""
    low, high = bounds(features, 1)
    parts = np.array([feature.measure(situation) for feature in features])
    return np.minimum(np.maximum(parts, low), high).astype(np.float32)


def encode_many(features: tuple[Feature, ...], situation: object, episodes: int, groups: int) -> Floats:
    """Return the observations (episodes, d): measures give (episodes, 1) or (episodes, groups), clipped to bounds."""
    low, high = bounds(features, groups)
    parts = np.empty((episodes, len(low)))
    start = 0
    for feature in features:
        end = start + (groups if feature.per_group else 1)
        parts[:, start:end] = feature.measure(situation)
        start = end
    return np.minimum(np.maximum(parts, low), high).astype(np.float32)


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
