"""The best that was possible on a day, knowing every price: numbers only (the policy is agents/oracle).

What policies of a given kind could reach of it is in envs/policy_class, two limits at once in envs/duals, several
campaigns in envs/purse and envs/assignment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import EXACT, MICROS, UNWINNABLE, whole_micros
from bidpilot.envs.simulator import SPEND, play
from bidpilot.envs.types import COLUMNS, Rules

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day


EXPECTED = COLUMNS.index("expected")
CORNERS = 16_384
HALVINGS = 40
LOWEST = float(np.finfo(np.float64).tiny)
"""A multiplier that wins what is free and nothing else; 0 would be no bid."""


def best_value(day: Day, budgets: FloatArray) -> FloatArray:
    """Return R* (b,), currency: the most expected worth that budgets (b,) could have bought.

    The fractional knapsack: cheapest price per worth first, the critical item in part. It bounds every
    policy that pays at least the price to beat, at second and at first price (there it cannot be reached).
    """
    return np.asarray(np.interp(whole_micros(budgets), *frontier(day)))


def frontier(day: Day) -> tuple[FloatArray, FloatArray]:
    """Return R* as a function of the budget: its corners, budgets (k,) in micro-currency and worths (k,)."""
    worth = day.hidden.expected
    price = day.hidden.price
    useful = np.flatnonzero((worth > 0) & (price < UNWINNABLE))
    order = useful[np.argsort(price[useful] / worth[useful], kind="stable")]
    cost = np.concatenate([[0.0], np.cumsum(price[order], dtype=np.float64)])
    value = np.concatenate([[0.0], np.cumsum(worth[order])])
    return _last_of_ties(cost, value)


def thinned_frontier(day: Day) -> tuple[FloatArray, FloatArray]:
    """Return the frontier with at most CORNERS corners, so that a large day stays small.

    They lie closest where it bends most: R* is missed by less than 1e-6 of it from budgets of 1/1000 of the full cost.
    """
    cost, worth = frontier(day)
    if len(cost) <= CORNERS:
        return cost, worth
    kept = np.unique(np.rint(np.linspace(0.0, 1.0, CORNERS) ** 2 * (len(cost) - 1)).astype(np.int64))
    return cost[kept], worth[kept]


def best_of(day: Day, budget: float, cost_limit: float = np.inf) -> float:
    """Return R* of one budget and cost limit from the day's stored frontier: quick on a day that is replayed.

    cost_limit: currency per currency of worth. Cheapest first, the average cost of worth never falls, so the best is
    the shorter of what the budget buys and what the limit allows. A policy that breaks the limit may win more.
    """
    return best_on(day.frontier, budget, cost_limit)


def best_on(frontier: tuple[FloatArray, FloatArray], budget: float, cost_limit: float = np.inf) -> float:
    """Return the same of a frontier's corners, see frontier."""
    cost, worth = frontier
    best = float(np.interp(whole_micros(budget), cost, worth))
    if cost_limit == np.inf:
        return best
    excess = cost - cost_limit * MICROS * worth  # convex, and at most 0 at the start where a limit can be kept
    kept = np.flatnonzero(excess <= 0.0)
    if not kept.size or kept[-1] == len(cost) - 1:
        return best if kept.size else 0.0
    last = int(kept[-1])
    part = excess[last] / (excess[last] - excess[last + 1])
    return min(best, float(worth[last] + part * (worth[last + 1] - worth[last])))


def best_multiplier(day: Day, budget: float, auction: str = "second_price", cost_limit: float = np.inf) -> float:
    """Return the highest uniform multiplier whose spend stays within the budget and the cost limit; 0 if none.

    Second price: the threshold of the knapsack over predicted worth. First price: spend is the multiplier
    times the worth won, which grows with the multiplier, so the same search applies. Soft floors: by bisection. Where
    only free impressions fit, the smallest multiplier that bids at all. cost_limit: currency per currency of expected
    worth; where worth is misjudged, cost per worth need not rise with the multiplier, and the highest that fits counts.
    """
    if auction == "soft_floor":
        return _bisected(day, budget, auction, cost_limit)
    ratio = thresholds(day)
    order = np.argsort(ratio, kind="stable")
    order = order[: np.count_nonzero(np.isfinite(ratio))]
    ratio = ratio[order]
    if auction == "first_price":
        spend = ratio * np.cumsum(day.believed[order]) * MICROS
    else:
        spend = np.cumsum(day.payable[order], dtype=np.float64)
    allowed = spend <= whole_micros(budget)
    if cost_limit < np.inf:
        allowed &= spend <= cost_limit * MICROS * np.cumsum(day.hidden.expected[order])
    last_of_tie = np.append(ratio[1:] != ratio[:-1], True)[: len(ratio)]
    fits = np.flatnonzero(last_of_tie & allowed)
    return max(float(ratio[fits[-1]]), LOWEST) if fits.size else 0.0


def best_plan(day: Day, multiplier: float, auction: str = "second_price") -> FloatArray:
    """Return the spend (ticks,), currency, of a constant multiplier on the day, budget aside."""
    return _played(day, multiplier, auction)[:, SPEND] / MICROS


def thresholds(day: Day) -> FloatArray:
    """Return the multipliers (n,) from which on opportunities are won, as the bidder sees them."""
    if day.belief is None:
        return day.ratio
    ratio, belief = day.ratio, day.belief[day.seen.segment]
    at = ratio / belief
    return np.where(at * belief < ratio, np.nextafter(at, np.inf), at)


def _bisected(day: Day, budget: float, auction: str, cost_limit: float) -> float:
    """Return the highest multiplier whose spend stays within both bounds, where that has to be tried out."""
    known = thresholds(day)
    low, high = 0.0, float(known[np.isfinite(known)].max(initial=0.0))
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        table = _played(day, middle, auction).sum(axis=0)
        spend, worth = table[SPEND] / MICROS, table[EXPECTED]
        fits = spend <= budget and (spend == 0 or spend <= cost_limit * worth)
        low, high = (middle, high) if fits else (low, middle)
    return low


def _played(day: Day, multiplier: float, auction: str) -> FloatArray:
    """Return the tables (ticks, len(COLUMNS)) of a constant multiplier on the day, budget aside."""
    rules, at = Rules(auction), np.array([multiplier])
    return np.array([play(day, tick, at, EXACT, rules).table[0] for tick in range(day.ticks)])


def _last_of_ties(cost: FloatArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Keep the last of equal costs, so that free impressions count at budget 0."""
    keep = np.append(cost[1:] != cost[:-1], True)
    return cost[keep], value[keep]
