"""Campaigns after the same impressions: the linear programme's worth, prices and assignment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import FloatArray
from bidpilot.envs.assignment import best_assignment, bidders


def drawn(seed: int, campaigns: int, rows: int, *, rough: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return worths (J, n), prices (n,) and budgets (J,); rough: with zeros and duplicates."""
    rng = np.random.default_rng(seed)
    worth = rng.choice([0.0, 1, 2, 3], (campaigns, rows)) if rough else rng.lognormal(0, 0.7, (campaigns, rows))
    price = rng.choice([0.0, 0.5, 1, 2], rows) if rough else rng.lognormal(0, 0.7, rows)
    return worth, price, rng.choice([0.0, 0.05, 0.1, 0.2, 2.0], campaigns) * price.sum()


def programme(worth: FloatArray, price: FloatArray, budgets: FloatArray) -> FloatArray:
    """Return the assignment (J, n) of the linear programme."""
    campaigns, rows = worth.shape
    limits = np.vstack([np.kron(np.eye(campaigns), price), np.tile(np.eye(rows), campaigns)])
    solved = linprog(-worth.ravel(), limits, np.append(budgets, np.ones(rows)), bounds=(0, 1), method="highs")
    return np.asarray(solved.x.reshape(campaigns, rows))


@given(
    seed=st.integers(0, 2**32 - 1),
    campaigns=st.integers(1, 5),
    rows=st.sampled_from([1, 7, 60]),
    rough=st.booleans(),
)
def test_it_is_the_linear_programme(seed: int, campaigns: int, rows: int, rough: bool) -> None:  # noqa: FBT001
    worth, price, budgets = drawn(seed, campaigns, rows, rough=rough)
    got = best_assignment(worth, price, budgets)
    best = float((worth * programme(worth, price, budgets)).sum())
    assert got.value <= best * (1 + 1e-9) + 1e-9
    assert got.value == pytest.approx(best, rel=1e-6, abs=1e-6)
    assert got.bound == pytest.approx(best, rel=1e-6, abs=1e-6 * max(worth.max(), 1.0))
    assert (got.taken @ price <= budgets * (1 + 1e-12)).all()
    assert (got.taken.sum(axis=0) <= 1 + 1e-12).all()


def test_prices_of_money_say_who_bids() -> None:
    for seed in range(3):
        worth, price, _ = drawn(seed, 4, 300, rough=False)
        budgets = np.array([0.02, 0.05, 0.1, 0.2]) * price.sum()
        got = best_assignment(worth, price, budgets)
        taken = programme(worth, price, budgets)
        whole = ((taken < 1e-6) | (taken > 1 - 1e-6)).all(axis=0)
        assert (~whole).sum() <= 4
        chosen = np.where(taken.max(axis=0) > 0.5, taken.argmax(axis=0), -1)
        assert (bidders(worth, price, got.money) == chosen)[whole].all()
        assert len(set(chosen.tolist())) == 5  # everyone bids somewhere, and nobody somewhere


def test_more_money_never_hurts() -> None:
    worth, price, _ = drawn(5, 3, 100, rough=True)
    values = [best_assignment(worth, price, np.full(3, share * price.sum())).value for share in (0, 0.05, 0.2, 0.5, 2)]
    assert (np.diff(values) >= -1e-6).all()
    assert values[-1] == pytest.approx(worth.max(axis=0).sum(), rel=1e-6)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        best_assignment(np.ones((2, 3)), np.ones(4), np.ones(2))
    with pytest.raises(InputError, match="at least 0"):
        best_assignment(np.ones((2, 3)), np.ones(3), np.array([1.0, -1.0]))
