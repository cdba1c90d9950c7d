"""The marketplace's exchange: sells a tick's opportunities to all buyers and moves the money.

Budget rule: auctions are settled in time order. A buyer whose budget no longer covers a price he is to pay is out for
the rest of the episode, and that auction and the later ones are held again without him: nobody ever spends more than
he has, what is recorded is what was paid, and an episode has at most one repetition per buyer. No bid is above what
its buyer had left when the tick began.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, FloatArray, IntArray
from bidpilot.envs.clearing import UNSOLD, Slots, gsp
from bidpilot.envs.marketplace_traffic import offers

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray
    from bidpilot.envs.marketplace_traffic import Buyers, MarketplaceConfig, Traffic


@dataclass(frozen=True, slots=True)
class Told:
    """What each buyer is told of a tick or of several: about himself, and how many opportunities there were.

    offered: (B,) opportunities. slots: (B, K) slots held. seen: (B,) deliveries, each paid for. clicks, conversions:
    (B,) counts. expected: (B,) currency, what the deliveries were worth to him. spend: (B,) currency.
    """

    offered: FloatArray
    slots: FloatArray
    seen: FloatArray
    clicks: FloatArray
    conversions: FloatArray
    expected: FloatArray
    spend: FloatArray

    @classmethod
    def nothing(cls, buyers: int, slots: int) -> Told:
        """Return what is known before the first tick."""
        empty = np.zeros(buyers)
        return cls(empty, np.zeros((buyers, slots)), empty, empty, empty, empty, empty)

    @property
    def wins(self) -> FloatArray:
        """Slots held (B,)."""
        return np.asarray(self.slots.sum(axis=1))

    def __add__(self, other: Told) -> Told:
        """Add two periods up."""
        return Told(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


class Exchange:
    """The auctions of one episode.

    Attributes: left (B,) int64, what each buyer may still spend; out (B,), who has left for good; revenue, what the
    exchange has received (int). All money is micro-currency.
    """

    def __init__(self, config: MarketplaceConfig, buyers: Buyers) -> None:
        """Open the books: everybody has his whole budget."""
        self.config, self.buyers, self._value = config, buyers, buyers.value
        self.left = buyers.budget.copy()
        self.out: BoolArray = np.zeros(config.buyers, dtype=bool)
        self.revenue = 0

    def play(self, traffic: Traffic, multipliers: FloatArray) -> Told:
        """Sell a tick's opportunities to bids multiplier x value; multipliers: (B,), 0 (no bid) to inf.

        Raises InputError for multipliers of another shape, below 0 or NaN.
        """
        wanted = np.asarray(multipliers, dtype=np.float64)
        if wanted.shape != (self.config.buyers,) or not (wanted >= 0.0).all():
            raise InputError(f"multipliers must be {self.config.buyers} numbers of 0 or more; got {multipliers}")
        before = self.left.copy()
        bids = offers(self._value, traffic, wanted, np.where(self.out, 0, self.left))
        seen = traffic.seen < self.config.chances[:, None]
        winner = np.full(seen.shape, UNSOLD)
        start = 0
        while start < len(traffic):
            sale = gsp(bids[:, start:], self.config.chances, self.config.least)
            stop, leaving = self._settle(sale, seen[:, start:])
            winner[:, start : start + stop] = sale.winner[:, :stop]
            start += stop
            bids[leaving] = 0
        return self._tell(traffic, winner, seen, before - self.left)

    def _settle(self, sale: Slots, seen: BoolArray) -> tuple[int, IntArray]:
        """Take the money for as many auctions as all can pay; return their number and who cannot pay the next.

        sale, seen: (K, m). At least one auction is settled or somebody leaves.
        """
        paid = Slots(np.where(seen, sale.winner, UNSOLD), sale.price)
        owed = paid.paid(len(self.left))
        stop, leaving = seen.shape[1], np.flatnonzero(owed > self.left)
        if len(leaving):
            ends = np.array([self._affordable(paid, buyer) for buyer in leaving.tolist()])
            stop = int(ends.min())
            leaving = leaving[ends == stop]
            owed = Slots(paid.winner[:, :stop], paid.price[:, :stop]).paid(len(self.left))
            self.out[leaving] = True
        self.left -= owed
        self.revenue += int(np.where(paid.winner[:, :stop] == UNSOLD, 0, paid.price[:, :stop]).sum())
        return stop, leaving

    def _affordable(self, paid: Slots, buyer: int) -> int:
        """Return the number of auctions, from the first on, after which a buyer's budget still holds."""
        running = np.cumsum(np.where(paid.winner == buyer, paid.price, 0).sum(axis=0))
        return int(np.searchsorted(running, self.left[buyer], side="right"))

    def _tell(self, traffic: Traffic, winner: IntArray, seen: BoolArray, spend: IntArray) -> Told:
        """Return what came of the slots; winner, seen: (K, n), spend: (B,) micro-currency."""
        count, slots = self.config.buyers, self.config.slots
        slot, at = np.nonzero(winner != UNSOLD)
        held = np.bincount(winner[slot, at] * slots + slot, minlength=count * slots)
        slot, at = np.nonzero((winner != UNSOLD) & seen)
        who = winner[slot, at]
        rate = self.buyers.rate[who, traffic.segment[at] + traffic.noise[who, at]] * traffic.quality[at]
        click = traffic.click[slot, at] < rate
        conversion = click & (traffic.conversion[slot, at] < self.config.conversion_rate)
        told = [np.bincount(who, weights, minlength=count) for weights in (None, click, conversion, rate)]
        shown, clicks, conversions, likely = (np.asarray(column, dtype=np.float64) for column in told)
        return Told(
            np.full(count, float(len(traffic))),
            held.reshape(count, slots).astype(np.float64),
            shown,
            clicks,
            conversions,
            likely * self.buyers.worth,
            spend / MICROS,
        )
