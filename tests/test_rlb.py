"""RLB: the table against brute force, bids from it, the smaller day, and what it earns."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.agents.rlb import Config, bids, price_law, solve
from bidpilot.agents.rollout import run_episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import SCENARIOS
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from bidpilot.envs.day import Day

WORTHS = (0.7, 1.6, 4.0)
LAWS = ((0.1, 0.35, 0.25, 0.2), (0.05, 0.25, 0.3, 0.3), (0.0, 0.1, 0.2, 0.3))
"""Prices 0..3 of each kind; what is worth more is dearer, and some auctions cannot be won."""


@cache
def brute(auctions: int, budget: int) -> float:
    """Return the most worth that can be expected, trying every bid for every worth."""
    if auctions == 0:
        return 0.0
    lose = brute(auctions - 1, budget)
    total = 0.0
    for worth, law in zip(WORTHS, LAWS, strict=True):
        best = lose
        for bid in range(min(budget, len(law) - 1) + 1):
            won = sum(law[d] * (worth + brute(auctions - 1, budget - d)) for d in range(bid + 1))
            best = max(best, won + (1.0 - sum(law[: bid + 1])) * lose)
        total += best / len(WORTHS)
    return total


def test_the_table_is_that_of_brute_force() -> None:
    table = solve(7, 12, np.array(LAWS), np.array(WORTHS))
    expected = [[brute(auctions, budget) for budget in range(13)] for auctions in range(8)]
    assert table == pytest.approx(np.array(expected))


def test_with_one_kind_it_is_the_papers_recursion() -> None:
    law, mean = np.array(LAWS[0]), 1.2
    table = solve(5, 9, law[None], np.array([mean]))
    for budget in range(10):
        best = max(
            sum(law[d] * (mean + table[4, budget - d]) for d in range(bid + 1))
            + (1.0 - law[: bid + 1].sum()) * table[4, budget]
            for bid in range(min(budget, 3) + 1)
        )
        assert table[5, budget] == pytest.approx(best)


def test_bids_are_the_highest_price_worth_its_loss() -> None:
    row = solve(6, 12, np.array(LAWS), np.array(WORTHS))[6]
    worths = np.linspace(0.01, 6.0, 50)
    for left in (1, 4, 12):
        lost = row[left] - row[left - np.arange(min(left, 3) + 1)]
        highest = np.array([np.flatnonzero(lost <= worth)[-1] for worth in worths])
        found = bids(row, float(left), worths, 3)
        assert (np.floor(found + 1e-12) == highest).all()
        assert (found <= left).all()
        assert (np.diff(found) >= 0).all()


def test_without_money_or_worth_there_is_no_bid() -> None:
    row = solve(6, 12, np.array(LAWS), np.array(WORTHS))[6]
    assert bids(row, 0.0, np.array([0.5, 5.0]), 3).tolist() == [0.0, 0.0]
    assert bids(row, 9.0, np.array([0.0]), 3).tolist() == [0.0]


def test_the_price_law_is_smoothed_and_leaves_dear_prices_out() -> None:
    assert price_law(np.array([1, 1, 2, 5]), 3, 1.0) == pytest.approx(np.array([1, 3, 2, 1]) / 9)
    assert price_law(np.array([1, 9]), 2, 0.0) == pytest.approx([0.0, 0.5, 0.0])


@cache
def traffic() -> tuple[Day, ...]:
    law = SCENARIOS["bidpilot/Pacing-v0"].traffic
    return tuple(draw_days(TrafficMarket(law), 14, np.random.default_rng(3)))


def scored(config: Config, share: float) -> tuple[float, tuple[int, ...]]:
    """Return mean R / R* on held-out days, and the table's shape."""
    past = Past(traffic()[:8], Forecast.of(traffic()[:8]))
    policy, full = config.build(past), past.forecast.full_cost
    campaign = Campaign(share * full, past.forecast.ticks, full)
    scores = [
        run_episode(policy, day, campaign, np.random.default_rng(0)).total("expected")
        / best_value(day, np.array([campaign.budget]))[0]
        for day in traffic()[8:]
    ]
    return float(np.mean(scores)), policy.table.shape


def test_it_comes_close_to_the_best_and_kinds_of_worth_pay() -> None:
    ours, shape = scored(Config(), 1 / 8)
    mean_worth, _ = scored(Config(kinds=1), 1 / 8)
    assert ours > 0.96  # a bid fixed beforehand: 0.848, the incremental controller: 0.991
    assert mean_worth < ours - 0.005
    assert shape[0] * shape[1] < 1.1 * Config().cells


def test_kinds_of_worth_pay_most_where_money_is_scarce() -> None:
    assert scored(Config(), 1 / 64)[0] > scored(Config(kinds=1), 1 / 64)[0] + 0.03


def test_a_larger_table_changes_little() -> None:
    assert scored(Config(), 1 / 8)[0] == pytest.approx(scored(Config(cells=2_000_000), 1 / 8)[0], abs=0.01)
