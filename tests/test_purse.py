"""A purse shared by campaigns with limits of their own: the linear programme, and the multipliers replayed."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.purse import best_shared
from bidpilot.envs.types import Campaign

SEEDS = st.integers(0, 2**32 - 1)
LIMITS = np.array([np.inf, 0.3, 1.0])


def programme(day: Day, purse: float, budgets: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Solve the shared purse over all impressions as a linear programme."""
    useful = (day.hidden.price < UNWINNABLE) & (day.hidden.expected > 0)
    worth, price = day.hidden.expected[useful], day.hidden.price[useful] / MICROS
    own = (day.seen.segment[useful] == np.arange(3)[:, None]).astype(float)
    rates = [own[k] * (price - LIMITS[k] * worth) for k in range(3) if np.isfinite(LIMITS[k])]
    rows = np.vstack([price, own * price, *rates])
    bounds = np.concatenate([[purse], budgets, np.zeros(len(rates))])
    return float(-linprog(-worth, rows, bounds, bounds=(0, 1), method="highs").fun)


@given(seed=SEEDS, share=st.sampled_from([0.0, 0.05, 0.3, 1.0, 3.0]))
def test_it_is_the_linear_programme(
    messy_day: Callable[..., Day], smooth_day: Callable[..., Day], seed: int, share: float
) -> None:
    for day in (messy_day(seed), smooth_day(seed)):
        purse = round(share * day.full_cost) / MICROS
        budgets = np.rint(np.array([0.1, 0.5, 0.2]) * day.full_cost) / MICROS
        parts = [day.only(k) for k in range(3)]
        best = best_shared(parts, purse, budgets, LIMITS)
        assert best.worth.sum() == pytest.approx(programme(day, purse, budgets), rel=1e-6, abs=1e-9)
        assert best.spent.sum() <= purse * (1 + 1e-12)
        assert (best.spent <= budgets * (1 + 1e-12)).all()


def test_the_multipliers_replayed_miss_at_most_an_impression_each(smooth_day: Callable[..., Day]) -> None:
    for seed in range(10):
        day = smooth_day(seed, rows=300)
        purse, budgets = 0.2 * day.full_cost / MICROS, np.array([0.02, 0.5, 0.5]) * day.full_cost / MICROS
        best = best_shared([day.only(k) for k in range(3)], purse, budgets)
        assert best.multipliers[0] < best.common  # its own budget binds
        assert best.multipliers[1:] == pytest.approx(best.common)
        episode = Episode(day, Campaign(1e6, day.ticks, 1.0), 3)
        while not episode.over:
            episode.bid_multipliers(best.multipliers)
        gap = best.worth.sum() - episode.result().total("expected")
        assert abs(gap) <= 3 * day.hidden.expected.max()


def test_a_full_purse_leaves_each_to_its_own_limits(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(0)
    parts = [day.only(k) for k in range(3)]
    best = best_shared(parts, 2.0 * day.full_cost / MICROS)
    assert best.common == np.inf
    assert best.spent.sum() == pytest.approx(day.full_cost / MICROS)
    with pytest.raises(InputError, match="expected 3 budgets"):
        best_shared(parts, 1.0, np.ones(2))
