"""Several campaigns on traffic of their own that share a purse, each with a budget and a cost limit of its own.

Each campaign buys its cheapest worth first, up to what its own limits allow; the purse buys the cheapest worth of all.
So a campaign's multiplier is the lower of its own and the purse's common one, min(alpha_j, 1 / lambda_0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, whole_micros
from bidpilot.envs.curves import Curves
from bidpilot.envs.hindsight import LOWEST, best_on, frontier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day


@dataclass(frozen=True)
class Shared:
    """The best use of the purse.

    spent, worth: (J,) currency of each campaign. common: the purse's multiplier, 1 / lambda_0; infinite where it holds
    more than the campaigns may spend. multipliers: (J,), each campaign's: no dearer worth is bought.
    """

    spent: FloatArray
    worth: FloatArray
    common: float
    multipliers: FloatArray


def best_shared(
    days: Sequence[Day], purse: float, budgets: FloatArray | None = None, cost_limits: FloatArray | None = None
) -> Shared:
    """Return the best that campaigns could have bought, each on its own day of traffic, knowing every price.

    purse: currency, for all. budgets: (J,) currency; None: the purse alone. cost_limits: (J,) currency per currency of
    worth; None: none. With Day.only, the segments of a day are campaigns. Raises InputError for wrong shapes.
    """
    count = len(days)
    budgets = np.full(count, purse) if budgets is None else budgets
    limits = np.full(count, np.inf) if cost_limits is None else cost_limits
    if budgets.shape != (count,) or limits.shape != (count,):
        raise InputError(f"expected {count} budgets and cost limits; got {budgets.shape} and {limits.shape}")
    cut = [_cut(frontier(day), *own) for day, *own in zip(days, budgets.tolist(), limits.tolist(), strict=True)]
    lengths = [len(cost) for cost, _ in cut]
    group = np.repeat(np.arange(count), lengths)
    curves = Curves.of(group, np.concatenate([c for c, _ in cut]), np.concatenate([w for _, w in cut]), count)
    best = curves.spread(float(whole_micros(purse)))
    common = best.rate / MICROS
    own = np.array([_last_rate(cost, worth) for cost, worth in cut]) / MICROS
    return Shared(best.spent / MICROS, best.worth, common, np.minimum(own, common))


def _cut(corners: tuple[FloatArray, FloatArray], budget: float, limit: float) -> tuple[FloatArray, FloatArray]:
    """Return a frontier as far as a campaign's own budget and cost limit reach."""
    cost, worth = corners
    most = best_on(corners, budget, limit)
    inside = worth < most
    return np.append(cost[inside], np.interp(most, worth, cost)), np.append(worth[inside], most)


def _last_rate(cost: FloatArray, worth: FloatArray) -> float:
    """Return the cost per worth of a curve's last step; 0 where there is none, the lowest bid where all is free."""
    rate = float((cost[-1] - cost[-2]) / (worth[-1] - worth[-2])) if len(cost) > 1 else 0.0
    return max(rate, LOWEST * MICROS) if worth[-1] > 0 else rate
