"""Splits of one budget: equal and proportional, the greedy where returns diminish, the exact search where not."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.agents.split import by_value, even, exact, marginal
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import FloatArray
from bidpilot.envs.curves import Curves

UNITS = 200


def curves_of(returns: FloatArray) -> Curves:
    """Return a table of returns (J, B + 1) as curves."""
    campaigns, size = returns.shape
    cost = np.tile(np.arange(1.0, size), campaigns)
    return Curves.of(np.repeat(np.arange(campaigns), size - 1), cost, returns[:, 1:].ravel(), campaigns)


def earned(returns: FloatArray, units: FloatArray) -> float:
    """Return what a split into units (J,) brings."""
    return float(
        sum(np.interp(given, np.arange(returns.shape[1]), one) for given, one in zip(units, returns, strict=True))
    )


def s_shaped(rng: np.random.Generator, campaigns: int = 4) -> FloatArray:
    """Return returns that come only from some amount of money on."""
    middle, slope = rng.uniform(60, 140, (campaigns, 1)), rng.uniform(4, 10, (campaigns, 1))
    curve = 1.0 / (1.0 + np.exp(-(np.arange(UNITS + 1) - middle) / slope))
    return rng.uniform(1, 2, (campaigns, 1)) * (curve - curve[:, :1])


def test_equal_and_proportional_shares() -> None:
    assert even(4).tolist() == [0.25] * 4
    assert by_value(np.array([1.0, 3.0, 0.0])).tolist() == [0.25, 0.75, 0.0]
    assert by_value(np.zeros(2)).tolist() == [0.5, 0.5]
    with pytest.raises(InputError, match="at least 0"):
        by_value(np.array([1.0, -1.0]))


def test_greedy_and_exact_agree_on_diminishing_returns() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        returns = rng.uniform(1, 2, (4, 1)) * np.log1p(np.arange(UNITS + 1) / rng.uniform(5, 50, (4, 1)))
        best = earned(returns, exact(returns).astype(float))
        greedy = earned(returns, UNITS * marginal(curves_of(returns), UNITS))
        assert greedy / best == pytest.approx(1.0, abs=1e-12)
        assert earned(returns, UNITS * even(4)) < best


def test_the_exact_search_wins_where_returns_are_s_shaped() -> None:
    rng, ratios = np.random.default_rng(1), []
    for _ in range(20):
        returns = s_shaped(rng)
        best = earned(returns, exact(returns).astype(float))
        greedy = earned(returns, UNITS * marginal(curves_of(returns), UNITS))
        assert greedy <= best + 1e-9 <= curves_of(returns).spread(UNITS).worth.sum() + 1e-6
        ratios.append(greedy / best)
    assert np.mean(ratios) < 0.99


@given(seed=st.integers(0, 2**32 - 1), campaigns=st.integers(1, 4), units=st.integers(0, 7))
def test_the_exact_search_is_the_best_of_all_splits(seed: int, campaigns: int, units: int) -> None:
    returns = np.random.default_rng(seed).choice([0.0, 0.5, 1.0, 2.0, 5.0], (campaigns, units + 1))
    found = exact(returns)
    assert found.sum() <= units
    assert (found >= 0).all()
    every = [s for s in product(range(units + 1), repeat=campaigns) if sum(s) <= units]
    best = max(sum(returns[j, b] for j, b in enumerate(s)) for s in every)
    assert sum(returns[j, b] for j, b in enumerate(found)) == best


def test_corrected_worth_moves_money() -> None:
    returns = np.log1p(np.arange(UNITS + 1) / np.array([[20.0], [20.0]]))
    assert marginal(curves_of(returns), 100.0) == pytest.approx([0.5, 0.5], abs=0.01)
    assert marginal(curves_of(returns), 100.0, np.array([2.0, 1.0]))[0] > 0.6
    assert marginal(curves_of(returns), 0.0).tolist() == [0.5, 0.5]


def test_tables_that_are_none_are_refused() -> None:
    for bad in (np.zeros(3), np.zeros((0, 0)), np.full((2, 2), np.nan)):
        with pytest.raises(InputError, match="expected returns"):
            exact(bad)
