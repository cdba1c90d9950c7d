"""The best that was possible: against a linear programme, against random policies, and replayed."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from bidpilot.ctr.types import MICROS, UNWINNABLE
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.hindsight import CORNERS, best_multiplier, best_of, best_plan, best_value
from bidpilot.envs.types import Campaign, EpisodeResult, Rules

SEEDS = st.integers(0, 2**32 - 1)
AUCTIONS = ("second_price", "first_price")


def programme(day: Day, budget: float) -> float:
    """Solve the fractional knapsack as a linear programme."""
    open_to_bids = day.hidden.price < UNWINNABLE
    worth, price = day.hidden.expected[open_to_bids], day.hidden.price[open_to_bids]
    if not worth.size:
        return 0.0
    solved = linprog(-worth, price[None] / MICROS, [budget], bounds=(0, 1), method="highs")
    return float(-solved.fun)


def constant(day: Day, multiplier: float, budget: float, auction: str = "second_price") -> EpisodeResult:
    """Play one multiplier all day."""
    episode = Episode(day, Campaign(budget, day.ticks, 1.0, Rules(auction)))
    while not episode.over:
        episode.bid_multipliers(np.array([multiplier]))
    return episode.result()


@given(seed=SEEDS, rows=st.integers(1, 60), share=st.sampled_from([0.0, 1e-6, 0.02, 0.3, 0.9, 1.0, 4.0]))
def test_best_value_is_the_linear_programme(
    messy_day: Callable[..., Day], smooth_day: Callable[..., Day], seed: int, rows: int, share: float
) -> None:
    for day in (messy_day(seed, rows), smooth_day(seed, rows)):
        budget = round(share * day.full_cost) / MICROS
        got = float(best_value(day, np.array([budget]))[0])
        assert got == pytest.approx(programme(day, budget), rel=1e-7, abs=1e-12)


def test_best_value_at_the_ends(messy_day: Callable[..., Day]) -> None:
    day = messy_day(2, rows=200)
    useful = (day.hidden.expected > 0) & (day.hidden.price < UNWINNABLE)
    free = useful & (day.hidden.price == 0)
    nothing, everything = best_value(day, np.array([0.0, 1e9]))
    assert nothing == day.hidden.expected[free].sum() > 0
    assert everything == day.hidden.expected[useful].sum()
    assert best_value(messy_day(0, rows=0), np.array([0.0, 1.0])).tolist() == [0, 0]


@given(seed=SEEDS)
def test_more_budget_never_hurts_and_helps_ever_less(messy_day: Callable[..., Day], seed: int) -> None:
    day = messy_day(seed)
    step = day.full_cost // 300 + 1
    gain = np.diff(best_value(day, np.arange(400) * step / MICROS))
    assert (gain >= 0).all()
    assert (np.diff(gain) <= 1e-12).all()


@given(seed=SEEDS, share=st.floats(0.0, 1.5), limit=st.sampled_from([0.05, 0.3, 1.0, 3.0, np.inf]))
def test_the_best_within_a_cost_limit_is_the_linear_programme(
    messy_day: Callable[..., Day], smooth_day: Callable[..., Day], seed: int, share: float, limit: float
) -> None:
    for day in (messy_day(seed), smooth_day(seed)):
        budget = round(share * day.full_cost) / MICROS
        useful = (day.hidden.price < UNWINNABLE) & (day.hidden.expected > 0)
        worth, price = day.hidden.expected[useful], day.hidden.price[useful] / MICROS
        rows, bounds = [price], [budget]
        if np.isfinite(limit):
            rows, bounds = [price, price - limit * worth], [budget, 0.0]
        solved = linprog(-worth, np.array(rows), bounds, bounds=(0, 1), method="highs")
        assert best_of(day, budget, limit) == pytest.approx(float(-solved.fun), rel=1e-6, abs=1e-9)


def test_the_stored_frontier_is_short_and_misses_little(smooth_day: Callable[..., Day]) -> None:
    small, large = smooth_day(0, rows=300), smooth_day(1, rows=60_000)
    assert len(large.frontier[0]) <= CORNERS < len(large)
    for day, miss in ((small, 0.0), (large, 1e-6)):
        budgets = np.append(np.geomspace(1e-3, 1.2, 200) * day.full_cost / MICROS, 0.0)
        stored = np.array([best_of(day, float(budget)) for budget in budgets])
        exact = best_value(day, budgets)
        assert (stored <= exact * (1 + 1e-12)).all()
        assert (exact - stored <= miss * exact + 1e-12).all()


@pytest.mark.parametrize("auction", AUCTIONS)
def test_no_random_policy_beats_it(messy_day: Callable[..., Day], auction: str) -> None:
    rng = np.random.default_rng(3)
    for number in range(500):
        day = messy_day(number % 20)
        budget = float(rng.uniform(0, 1) ** 3 * day.full_cost) / MICROS + 1e-6
        episode = Episode(
            day, Campaign(budget, day.ticks, 1.0, Rules(auction)), groups=1 if number % 2 else day.segments
        )
        while not episode.over:
            if number % 2:
                rows = int(day.starts[episode.tick + 1] - day.starts[episode.tick])
                episode.bid_amounts(rng.lognormal(-6.5, 2.0, rows))
            else:
                episode.bid_multipliers(rng.lognormal(0.0, 2.0, day.segments))
        assert episode.result().total("expected") <= best_value(day, np.array([budget]))[0] * (1 + 1e-12)


@given(seed=SEEDS, share=st.floats(0.001, 1.5))
def test_the_best_multiplier_misses_at_most_one_impression(
    smooth_day: Callable[..., Day], seed: int, share: float
) -> None:
    day = smooth_day(seed)
    budget = share * day.full_cost / MICROS
    result = constant(day, best_multiplier(day, budget), budget)
    gap = float(best_value(day, np.array([budget]))[0]) - result.total("expected")
    assert -1e-12 <= gap <= day.hidden.expected.max()


@pytest.mark.parametrize("auction", AUCTIONS)
@given(seed=SEEDS, share=st.floats(0.001, 0.9))
def test_the_best_multiplier_fits_and_the_next_does_not(
    messy_day: Callable[..., Day], seed: int, share: float, auction: str
) -> None:
    day = messy_day(seed)
    budget = share * day.full_cost / MICROS + 1e-6
    best = best_multiplier(day, budget, auction)
    rest = 1e6  # with money to spare the budget rule does not hide an excess
    assert constant(day, best, rest, auction).total("spend") <= budget * MICROS * (1 + 1e-12)
    dearer = day.ratio[np.isfinite(day.ratio) & (day.ratio > best)]
    if dearer.size:
        spend = constant(day, float(dearer.min()), rest, auction).total("spend")
        assert spend + day.ticks * len(day) * (auction == "first_price") > budget * MICROS  # bids are rounded down


def test_where_only_the_free_fits_the_free_is_won(messy_day: Callable[..., Day]) -> None:
    day = messy_day(5, rows=300)
    dear = replace(day, hidden=replace(day.hidden, price=np.where(day.hidden.price == 0, 0, 10**6)))
    for auction in AUCTIONS:
        result = constant(dear, best_multiplier(dear, 0.5, auction), 0.5, auction)
        assert result.total("wins") == ((day.hidden.price == 0) & (day.seen.value > 0)).sum() > 0
        assert result.total("spend") == 0


def test_nothing_to_win_is_no_bid(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(0)
    closed = replace(day, hidden=replace(day.hidden, price=np.full(len(day), UNWINNABLE)))
    assert best_multiplier(closed, 1.0) == 0
    assert best_multiplier(day, 1e-6) == 0
    assert best_value(closed, np.array([1.0])).tolist() == [0]


def test_the_best_plan_is_the_spend_of_the_best_multiplier(messy_day: Callable[..., Day]) -> None:
    day = messy_day(6, rows=200)
    multiplier = best_multiplier(day, 0.3 * day.full_cost / MICROS)
    plan = best_plan(day, multiplier)
    np.testing.assert_array_equal(plan, constant(day, multiplier, 1e6).table[:, 1] / MICROS)
    assert 0 < plan.sum() <= 0.3 * day.full_cost / MICROS
