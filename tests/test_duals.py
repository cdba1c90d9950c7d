"""A budget and a limit on another count: the linear programme, its multipliers, and the bids they give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import FloatArray
from bidpilot.envs.duals import best_bids, best_within

SEEDS = st.integers(0, 2**32 - 1)
SHARES = st.sampled_from([0.0, 0.03, 0.3, 0.9, 1.01, 3.0])
LIMITS = st.sampled_from([0.3, 2.0, 6.0, 30.0, np.inf])


def drawn(seed: int, rows: int, *, rough: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return worths, prices and counts; rough: with zeros and duplicates."""
    rng = np.random.default_rng(seed)
    if rough:
        return rng.choice([0.0, 1, 2, 3], rows), rng.choice([0.0, 1, 2, 5], rows), rng.choice([0.0, 0.1, 0.3], rows)
    return rng.lognormal(0, 1, rows), rng.lognormal(0, 1, rows), rng.lognormal(-2, 1, rows)


def programme(worth: FloatArray, price: FloatArray, count: FloatArray, budget: float, limit: float) -> FloatArray:
    """Return the choice (n,) of the linear programme."""
    rows, bounds = [price], [budget]
    if np.isfinite(limit):
        rows, bounds = [price, price - limit * count], [budget, 0.0]
    return np.asarray(linprog(-worth, np.array(rows), bounds, bounds=(0, 1), method="highs").x)


@given(seed=SEEDS, rows=st.integers(1, 200), share=SHARES, limit=LIMITS, rough=st.booleans())
def test_it_is_the_linear_programme(seed: int, rows: int, share: float, limit: float, rough: bool) -> None:  # noqa: FBT001
    worth, price, count = drawn(seed, rows, rough=rough)
    budget = share * float(price.sum())
    got = best_within(worth, price, count, budget, limit)
    best = float(worth @ programme(worth, price, count, budget, limit))
    assert got.value == pytest.approx(best, rel=1e-7, abs=1e-9)
    assert got.bound == pytest.approx(best, rel=1e-7, abs=1e-9)
    assert ((got.taken >= 0) & (got.taken <= 1)).all()
    assert price @ got.taken <= budget * (1 + 1e-12) + 1e-12
    if np.isfinite(limit):
        assert (price - limit * count) @ got.taken <= 1e-9 * (1 + price.sum())


@given(seed=SEEDS, share=st.sampled_from([0.03, 0.3, 3.0]), limit=LIMITS)
def test_the_master_formula_accepts_what_the_programme_takes(seed: int, share: float, limit: float) -> None:
    worth, price, count = drawn(seed, 300, rough=False)
    budget = share * float(price.sum())
    got = best_within(worth, price, count, budget, limit)
    taken = programme(worth, price, count, budget, limit)
    whole = (taken < 1e-7) | (taken > 1 - 1e-7)
    assert (~whole).sum() <= 2  # as many as there are limits
    bids = best_bids(worth, count, limit, got.money, got.strictness)
    assert ((bids > price) == (taken > 0.5))[whole].all()


def test_both_limits_can_bind_at_once() -> None:
    worth, price, count = drawn(1, 300, rough=False)
    got = best_within(worth, price, count, 0.2 * float(price.sum()), 3.0)
    assert min(got.money, got.strictness) > 0
    assert price @ got.taken == pytest.approx(0.2 * price.sum(), rel=1e-9)
    assert price @ got.taken == pytest.approx(3.0 * count @ got.taken, rel=1e-9)


@given(seed=SEEDS)
def test_looser_limits_never_hurt(seed: int) -> None:
    worth, price, count = drawn(seed, 60, rough=True)
    total = float(price.sum())
    by_budget = [best_within(worth, price, count, share * total, 4.0).value for share in (0.0, 0.1, 0.3, 0.6, 1.0, 2.0)]
    by_limit = [best_within(worth, price, count, 0.3 * total, limit).value for limit in (0.1, 1.0, 4.0, 9.0, np.inf)]
    assert (np.diff(by_budget) >= -1e-9).all()
    assert (np.diff(by_limit) >= -1e-9).all()


def test_no_random_choice_within_the_limits_beats_it() -> None:
    worth, price, count = drawn(2, 60, rough=False)
    budget = 0.2 * float(price.sum())
    best = best_within(worth, price, count, budget, 3.0).value
    rng, kept = np.random.default_rng(0), 0
    for _ in range(1000):
        bids = (worth + rng.lognormal(0, 1) * count) * rng.lognormal(-1, 1) * rng.lognormal(0, 0.2, 60)
        taken = bids >= price
        if price @ taken <= min(budget, 3.0 * float(count @ taken)):
            kept += 1
            assert worth @ taken <= best + 1e-9
    assert kept > 20


def test_the_formula_has_the_known_special_cases() -> None:
    worth, count = np.array([1.0, 2.0]), np.array([0.5, 0.1])
    assert best_bids(worth, count, 3.0, 0.5, 0.0).tolist() == [2.0, 4.0]  # v / lambda
    assert best_bids(worth, count, 3.0, 0.25, 0.0, saving=1.0).tolist() == [0.8, 1.6]  # v / (1 + lambda)
    np.testing.assert_allclose(best_bids(worth, worth, 3.0, 0.5, 1.5), worth * (1 + 1.5 * 3) / 2.0)
    assert best_bids(np.array([0.0, 1.0]), count, np.inf, 0.0, 0.0).tolist() == [0.0, np.inf]


def test_bad_input_is_refused() -> None:
    one = np.ones(2)
    with pytest.raises(InputError, match="at least 0; drop"):
        best_within(-one, one, one, 1.0, 1.0)
    with pytest.raises(InputError, match="a limit above 0"):
        best_within(one, one, one, 1.0, 0.0)
