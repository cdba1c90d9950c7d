"""Pricing rules: pure functions of arrays, what a won impression costs.

A rule is a function and its line in AUCTIONS. price is the lowest bid that wins, the reserve included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import unknown
from bidpilot.ctr.types import UNWINNABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import FloatArray, IntArray


def second_price(price: IntArray, _bid: FloatArray) -> IntArray:
    """Return the cost (n,) of won impressions: the lowest bid that would have won."""
    return price


def first_price(price: IntArray, bid: FloatArray) -> IntArray:
    """Return the cost (n,) of won impressions: the bid (n,), rounded down to whole micro-currency.

    A bid that wins is at least the price; the maximum undoes the last bit of float rounding in bid. The highest
    bid is UNWINNABLE: any higher one wins no more.
    """
    return np.maximum(price, np.floor(np.minimum(bid, UNWINNABLE)).astype(np.int64))


AUCTIONS: dict[str, Callable[[IntArray, FloatArray], IntArray]] = {
    "second_price": second_price,
    "first_price": first_price,
}


def pricing_rule(name: str) -> Callable[[IntArray, FloatArray], IntArray]:
    """Return a rule by name. Raises InputError listing the known names."""
    if name not in AUCTIONS:
        raise unknown("auction", name, list(AUCTIONS))
    return AUCTIONS[name]
