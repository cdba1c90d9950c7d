"""Everything learnt from a training log that a market is made with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.outlook import Outlook
from bidpilot.ctr.price_models.base import with_worth

if TYPE_CHECKING:
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.price_models.base import FittedPrices, PriceLaws
    from bidpilot.ctr.types import FloatArray, IntArray, ResponseModel
    from bidpilot.envs.goal import Goal
    from bidpilot.envs.timeline import Timeline


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
class Beliefs:
    """What a bidder believes, and the grid it plans on.

    response: who clicks and converts. prices: the laws of the price to beat, given the features, the hour and the
    predicted worth. segments: names of the user segments. goal: what a win is worth. timeline: episodes and ticks.
    outlook: how days ahead differ from those learned from.
    """

    response: ResponseModel
    prices: FittedPrices
    segments: Segments
    goal: Goal
    timeline: Timeline
    outlook: Outlook = field(default_factory=Outlook)

    def laws(self, log: AuctionLog, worth: FloatArray) -> PriceLaws:
        """Return the laws of the prices of rows like those of a log, worth (n,) currency, on days ahead."""
        return self.prices.laws(with_worth(log, worth)).scaled(self.outlook.price)
