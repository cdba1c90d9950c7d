"""The best bids in hindsight under a budget and a limit on the cost per click or conversion, by the master formula.

The limit is on other counts than what is maximised, so no single multiplier is best: impressions that bring many of the
counted events for their worth get a higher bid. See envs/duals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import unknown
from bidpilot.ctr.types import MICROS, UNWINNABLE
from bidpilot.envs.duals import TwoLimits, best_bids, best_within

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day, Opportunities
    from bidpilot.envs.types import Campaign, CampaignState

COUNTS = ("clicks", "conversions")
AIMS = ("worth", *COUNTS)


class KpiOracle:
    """Gets the day through its constructor; it knows every price, and bids on the same predictions as all others.

    limit: currency per counted event. count: "clicks" (CPC) or "conversions" (CPA). aim: what is maximised, "worth",
    "clicks" or "conversions". Attribute solved: the optimum for the last campaign, in currency. Raises InputError for
    an unknown count or aim, and on reset for a limit not above 0.
    """

    groups = 1

    def __init__(self, day: Day, limit: float, count: str = "conversions", aim: str = "worth") -> None:
        """Look at the day."""
        if count not in COUNTS:
            raise unknown("count", count, COUNTS)
        if aim not in AIMS:
            raise unknown("aim", aim, AIMS)
        self._day, self._limit, self._count, self._aim = day, limit, count, aim
        self.solved: TwoLimits
        self._budget = 0.0

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Solve the day for the budget."""
        self.solved, self._budget = self._solve(campaign.budget), campaign.budget

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:  # noqa: ARG002 - it knows already
        """Return the bids (n,), at most the budget."""
        aim, count = _amount(seen, self._aim), _amount(seen, self._count)
        bids = best_bids(aim, count, self._limit, self.solved.money, self.solved.strictness)
        return np.where(seen.value > 0, np.minimum(bids, self._budget), 0.0)

    def _solve(self, budget: float) -> TwoLimits:
        """Return the optimum over what can be won; taken is of those rows."""
        price = self._day.hidden.price
        seen = self._day.sight(slice(None))
        rows = np.flatnonzero((seen.value > 0) & (price < UNWINNABLE))
        some = seen.rows(rows)
        return best_within(
            _amount(some, self._aim), price[rows] / MICROS, _amount(some, self._count), budget, self._limit
        )


def _amount(seen: Opportunities, name: str) -> FloatArray:
    """Return the predicted worth, clicks or conversions (n,) of a win."""
    if name == "worth":
        return seen.value
    return seen.pctr if name == "clicks" else seen.pctr * seen.pcvr
