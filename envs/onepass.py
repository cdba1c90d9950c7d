"""A tick of a fresh day in one pass, for one multiplier and money enough: sums with weights 0 and 1, nothing gathered.

Sums are exact in any order (see Day), so a dot product gives the bytes of simulator.scan, the plain reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS

if TYPE_CHECKING:
    from bidpilot.envs.day import Day


def pass_over(day: Day, tick: int, multiplier: float, left: int) -> list[float] | None:
    """Return the row of an outcome table of a certain day's tick; None where the money does not suffice.

    multiplier: above 0, finite. left: micro-currency.
    """
    low, high = day.bounds[tick], day.bounds[tick + 1]
    seen, hidden = day.seen, day.hidden
    price, value = hidden.price[low:high].astype(np.float64), seen.value[low:high]
    worth = value * MICROS
    won = np.divide(price, worth, out=worth) <= multiplier
    weight = won.astype(np.float64)
    spend = float(price @ weight)
    if spend > left:
        return None
    predicted = float(value @ weight)
    expected = predicted if hidden.expected is seen.value else float(hidden.expected[low:high] @ weight)
    clicks = np.count_nonzero(hidden.click[low:high] & won)
    conversions = np.count_nonzero(hidden.conversion[low:high] & won)
    first, last = day.paying.searchsorted((low, high))
    paid = day.paying[first:last]
    revenue = float(hidden.revenue[paid[won[paid - low]]].sum())
    likely = float(seen.pctr[low:high] @ weight)
    return [
        float(np.count_nonzero(won)),
        spend,
        float(clicks),
        float(conversions),
        revenue,
        likely,
        predicted,
        expected,
    ]
