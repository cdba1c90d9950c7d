"""The best multipliers for what is left of a day and of a budget, for one who knows the prices (hindsight).

Cheapest price per expected worth first, the last that fits sets the price of a unit of worth
(the fractional knapsack's critical item); a segment's multiplier corrects what the bidder misjudges of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, whole_micros
from bidpilot.envs.day import ratio_of

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign

AUCTIONS = ("first_price", "second_price")


class Teacher:
    """Gets the day, hidden prices included, as the oracle does. groups: 1, or one multiplier per segment.

    Raises InputError for soft floors, cost limits at first price, impressions capped per user and rivals that react:
    there, what is best now depends on more than prices.
    """

    def __init__(self, day: Day, campaign: Campaign, groups: int) -> None:
        """Sort the day's opportunities by price per worth, as it really is."""
        rules = campaign.rules
        self._first_price = rules.auction == "first_price"
        bounded = self._first_price and campaign.cost_limit < np.inf
        if rules.auction not in AUCTIONS or bounded or rules.frequency_cap or rules.reaction:
            raise InputError(
                f"labels in hindsight are known for {' and '.join(AUCTIONS)} auctions without cap per user and "
                "reaction, with cost limits at second price alone; choose another scenario, or an algorithm that "
                "learns from rewards"
            )
        self._limit, self._budget = campaign.cost_limit * MICROS, int(whole_micros(campaign.budget))
        group = day.seen.segment.astype(np.int64) if groups > 1 else np.zeros(len(day), dtype=np.int64)
        believed, price = day.believed, day.hidden.price
        self.factor = _factors(believed, day.hidden.expected, group, groups)
        worth = believed * self.factor[group]
        ratio = ratio_of(price, worth)
        order = np.argsort(ratio, kind="stable")
        order = order[: np.count_nonzero(np.isfinite(ratio))]
        self._ratio, self._tick = ratio[order], day.seen.tick[order]
        self._amount = worth[order] * MICROS if self._first_price else price[order].astype(np.float64)
        self._worth = day.hidden.expected[order]

    def multipliers(self, tick: int, left: int, earned: float = 0.0) -> FloatArray:
        """Return the multipliers (groups,) that win most with what is left (micro-currency) from this tick on.

        earned: expected worth won so far, currency; it counts where there is a cost limit. What a limit that is already
        broken needs most is a bid at the limit itself.
        """
        rows = self._tick >= tick
        ratio, spend = self._ratio[rows], np.cumsum(self._amount[rows])
        if self._first_price:
            spend = ratio * spend
        last_of_tie = np.append(ratio[1:] != ratio[:-1], True)[: len(ratio)]
        allowed = spend <= left
        if self._limit < np.inf:
            slack = self._limit * (earned + np.cumsum(self._worth[rows])) - (self._budget - left) - spend
            if not (allowed & (slack >= 0.0)).any():
                return self.factor * self._limit / MICROS
            allowed &= slack >= 0.0
        fits = np.flatnonzero(last_of_tie & allowed)
        return self.factor * (ratio[fits[-1]] if fits.size else 0.0)


def _factors(believed: FloatArray, expected: FloatArray, group: IntArray, groups: int) -> FloatArray:
    """Return the worth (groups,) of what the bidder believes is worth 1; 1 where there is nothing to go by."""
    some = believed > 0
    sums = [np.bincount(group[some], worth[some], groups) for worth in (expected, believed)]
    told = (sums[0] > 0) & (sums[1] > 0)
    return np.where(told, sums[0], 1.0) / np.where(told, sums[1], 1.0)
