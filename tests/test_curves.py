"""Money spread over groups: against a linear programme, and against every choice there is."""

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from bidpilot.ctr.errors import InputError
from bidpilot.envs.curves import Curves

SEEDS = st.integers(0, 2**32 - 1)
SHARES = st.sampled_from([0.0, 0.05, 0.3, 0.8, 1.0, 2.0])


def drawn(seed: int, groups: int = 3, each: int = 4, *, rough: bool = True) -> Curves:
    """Return curves of any shape, worth never falling with cost; rough: with free points and equal slopes."""
    rng = np.random.default_rng(seed)
    step = rng.choice([0.0, 1.0, 2.0, 4.0], (2, groups, each)) if rough else rng.lognormal(0.0, 1.0, (2, groups, each))
    cost, worth = np.cumsum(step, axis=2).reshape(2, -1)
    return Curves.of(np.repeat(np.arange(groups), each), cost, worth, groups)


def relaxed(curves: Curves, budget: float) -> float:
    """Solve the relaxed multiple-choice knapsack as a linear programme."""
    one_each = (curves.group == np.arange(curves.count)[:, None]).astype(float)
    rows, bounds = np.vstack([curves.cost, one_each]), np.append(budget, np.ones(curves.count))
    return float(-linprog(-curves.worth, rows, bounds, bounds=(0, 1), method="highs").fun)


def best_choice(curves: Curves, budget: float) -> float:
    """Try every choice."""
    rows = [np.flatnonzero(curves.group == g) for g in range(curves.count)]
    every = np.array(list(product(*rows)))
    fits = curves.cost[every].sum(axis=1) <= budget
    return float(curves.worth[every].sum(axis=1)[fits].max())


def test_equal_points_do_not_hide_each_other() -> None:
    cost, worth = np.array([1.0, 1.0, 5.0]), np.array([10.0, 10.0, 12.0])
    curves = Curves.of(np.zeros(3, dtype=np.int64), cost, worth, 1)
    assert curves.spread(1.0).worth.sum() == 10.0
    assert curves.worth[curves.choose(1.0)].tolist() == [10.0]


@example(seed=11, share=0.05, rough=True)
@given(seed=SEEDS, share=SHARES, rough=st.booleans())
def test_the_spread_is_the_linear_programme_and_bounds_every_choice(seed: int, share: float, rough: bool) -> None:  # noqa: FBT001
    curves = drawn(seed, rough=rough)
    budget = share * sum(curves.cost[curves.group == g].max() for g in range(curves.count))
    spread = curves.spread(budget)
    assert spread.worth.sum() == pytest.approx(relaxed(curves, budget), rel=1e-9, abs=1e-9)
    assert spread.spent.sum() <= budget * (1 + 1e-12)
    rows = curves.choose(budget)
    assert curves.group[rows].tolist() == [0, 1, 2]
    got, best = curves.worth[rows].sum(), best_choice(curves, budget)
    assert curves.cost[rows].sum() <= budget
    assert got <= best + 1e-12 <= spread.worth.sum() + 1e-9
    steps = np.append(curves.steps.worth, 0.0)
    assert spread.worth.sum() - got <= steps.max() + 1e-9  # less than one step is lost


@given(seed=SEEDS)
def test_corners_are_concave_and_above_every_point(seed: int) -> None:
    curves = drawn(seed, each=12, rough=False)
    for g in range(curves.count):
        corners = curves.hull[curves.group[curves.hull] == g]
        cost, worth = curves.cost[corners], curves.worth[corners]
        assert (np.diff(np.diff(worth) / np.diff(cost)) < 0).all()
        own = curves.group == g
        assert (np.interp(curves.cost[own], cost, worth) >= curves.worth[own] - 1e-9).all()


def test_on_many_points_the_choice_is_as_good_as_an_exact_search() -> None:
    rng = np.random.default_rng(4)
    cost = np.cumsum(rng.integers(1, 9, (6, 30)), axis=1)
    worth = np.cumsum(rng.lognormal(0.0, 1.0, (6, 30)), axis=1)
    curves = Curves.of(np.repeat(np.arange(6), 30), cost.ravel().astype(float), worth.ravel(), 6)
    for budget in (20, 100, 300):
        best = np.zeros(budget + 1)
        for of_one, paid in zip(worth, cost, strict=True):
            moves = [best] + [
                np.where(np.arange(budget + 1) >= c, np.roll(best, c) + w, 0.0)
                for c, w in zip(paid, of_one, strict=True)
                if c <= budget
            ]
            best = np.max(moves, axis=0)
        got = curves.worth[curves.choose(budget)].sum()
        assert 0.97 * best[-1] <= got <= best[-1] + 1e-9
        assert best[-1] <= curves.spread(budget).worth.sum() + 1e-9


def test_corrections_move_money_away_from_those_who_lost() -> None:
    curves = drawn(3, rough=False)
    plain, moved = curves.spread(4.0), curves.spread(4.0, np.array([1.0, 0.05, 1.0]))
    assert moved.spent[1] < plain.spent[1]
    assert moved.spent.sum() == pytest.approx(4.0)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_points_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="finite costs and worths"):
        Curves.of(np.zeros(1, np.int64), np.array([bad]), np.ones(1), 1)
