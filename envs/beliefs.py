"""Everything learnt from a training log that a market is made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray, IntArray, PriceModel, ResponseModel
    from bidpilot.envs.goal import Goal
    from bidpilot.envs.timeline import Timeline

VALUE_GROUPS = 5


@dataclass(frozen=True, slots=True)
class Segments:
    """The user segments by number; a name that is not known belongs to the first."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, log: AuctionLog) -> Segments:
        """Collect the names of a log, sorted."""
        return cls(tuple(sorted(set(log.frame["segment"]))))

    def codes(self, log: AuctionLog) -> IntArray:
        """Return the number (n,) of each row's segment."""
        table = {name: code for code, name in enumerate(self.names)}
        return np.asarray(log.frame["segment"].map(table).fillna(0), dtype=np.int64)


@dataclass(frozen=True)
class ValueGroups:
    """Quantile groups of predicted worth: strata of the price law, since prices follow value."""

    edges: FloatArray

    @classmethod
    def of(cls, worth: FloatArray, groups: int = VALUE_GROUPS) -> ValueGroups:
        """Cut at the inner quantiles of past worths."""
        return cls(np.quantile(worth, np.arange(1, groups) / groups))

    def __call__(self, worth: FloatArray) -> IntArray:
        """Return the group (n,) of each worth."""
        return np.asarray(np.searchsorted(self.edges, worth, side="right"), dtype=np.int64)


@dataclass(frozen=True)
class Beliefs:
    """What a bidder believes, and the grid it plans on.

    response: who clicks and converts. prices: the law of the price to beat by hour and value group.
    groups: those value groups. segments: names of the user segments. goal: what a win is worth.
    timeline: episodes and ticks.
    """

    response: ResponseModel
    prices: PriceModel
    groups: ValueGroups
    segments: Segments
    goal: Goal
    timeline: Timeline
