"""Pricing rules: pure functions of arrays, what a won impression costs the one bidder who is simulated.

A rule is a function and its line in AUCTIONS. price is the lowest bid that wins, the reserve included. Every rule is
also told the soft floor of each impression and may ignore it. Whole auctions between bidders are in envs/clearing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from bidpilot.ctr.errors import unknown
from bidpilot.ctr.types import UNWINNABLE

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray, IntArray


class PricingRule(Protocol):
    """What a won impression costs."""

    def __call__(self, price: IntArray, bid: FloatArray, floor: IntArray | None = None, /) -> IntArray:
        """Return the cost (n,) of impressions with lowest winning bids price (n,), won by bid (n,).

        floor: (n,) soft floors, 0 where there is none; None: none anywhere. All are micro-currency.
        """


def second_price(price: IntArray, _bid: FloatArray, _floor: IntArray | None = None) -> IntArray:
    """Return the cost (n,) of won impressions: the lowest bid that would have won."""
    return price


def first_price(price: IntArray, bid: FloatArray, _floor: IntArray | None = None) -> IntArray:
    """Return the cost (n,) of won impressions: the bid (n,), rounded down to whole micro-currency.

    A bid that wins is at least the price; the maximum undoes the last bit of float rounding in bid. The highest
    bid is UNWINNABLE: any higher one wins no more.
    """
    return np.maximum(price, np.floor(np.minimum(bid, UNWINNABLE)).astype(np.int64))


def soft_floor(price: IntArray, bid: FloatArray, floor: IntArray | None = None) -> IntArray:
    """Return the cost (n,) of won impressions: second price at or above the soft floor (n,), first price below it.

    A bid that reaches the floor pays max(price, floor); one that wins below it pays itself. Where the floor is 0 this
    is second price.
    """
    if floor is None:
        return second_price(price, bid)
    return np.where(bid >= floor, np.maximum(price, floor), first_price(price, bid))


AUCTIONS: dict[str, PricingRule] = {
    "second_price": second_price,
    "first_price": first_price,
    "soft_floor": soft_floor,
}


def pricing_rule(name: str) -> PricingRule:
    """Return a rule by name. Raises InputError listing the known names."""
    if name not in AUCTIONS:
        raise unknown("auction", name, list(AUCTIONS))
    return AUCTIONS[name]
