"""The price law: known best bids, what they depend on, and a law that is found again."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.agents.price_law import LEAST, PriceLaw, Shade
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day, Hidden, Opportunities

WORTHS = np.array([50.0, 100.0, 200.0, 400.0])


def test_known_best_bids() -> None:
    assert 70.0 * Shade(0.6).best(WORTHS / 70.0) == pytest.approx([36.4, 61.2, 93.1, 128.4], abs=0.05)


@pytest.mark.parametrize("sigma", [LEAST, 0.3, 0.6, 1.5])
def test_bids_are_the_best_of_a_grid_below_worth_and_rising(sigma: float) -> None:
    shade, worths = Shade(sigma), np.geomspace(0.05, 50.0, 60)
    best = shade.best(worths)
    assert (best < worths).all()
    assert (np.diff(best) > 0).all()
    grid = np.geomspace(1e-3, 50.0, 40_001)
    surplus = (worths[:, None] - grid) * shade.wins(grid)
    reached = (worths - best) * shade.wins(best)
    assert (reached >= surplus.max(axis=1) - 1e-4 * worths).all()


def test_the_integral_is_the_surplus_of_a_second_price_auction() -> None:
    prices = np.exp(0.6 * np.random.default_rng(1).standard_normal(200_000))
    for bid in (0.5, 1.0, 3.0, 500.0):
        assert Shade(0.6).integral(np.array([bid]))[0] == pytest.approx(np.maximum(bid - prices, 0.0).mean(), rel=0.02)


def law_day(rng: np.random.Generator, size: int = 60_000) -> Day:
    """Draw prices by a law of known intercepts, slope and noise."""
    segment = rng.integers(0, 3, size)
    worth = rng.lognormal(-5.0, 0.8, size)
    log = np.array([-4.0, -3.0, -3.5])[segment] + 0.4 * np.log(worth) + 0.5 * rng.standard_normal(size)
    ones, none = np.ones(size), np.zeros(size, np.int64)
    price = np.rint(MICROS * np.exp(log)).astype(np.int64)
    seen = Opportunities(0.1 * ones, ones, worth, 0.0 * ones, segment, none)
    return Day.build(seen, Hidden(price, none > 0, none > 0, none, worth), 1, 3)


def test_a_known_law_is_found() -> None:
    day = law_day(np.random.default_rng(3))
    law = PriceLaw.of([day])
    assert law.slope == pytest.approx(0.4, abs=0.01)
    assert law.sigma == pytest.approx(0.5, abs=0.01)
    assert law.intercept == pytest.approx([-4.0, -3.0, -3.5], abs=0.05)
    typical = law.typical(day.seen)
    assert np.mean(day.hidden.price / MICROS <= typical) == pytest.approx(0.5, abs=0.01)


def test_one_worth_and_one_price_break_nothing() -> None:
    ones, none = np.ones(5), np.zeros(5, np.int64)
    seen = Opportunities(0.1 * ones, ones, np.append(ones[:4], 0.0), 0.0 * ones, none, none)
    day = Day.build(seen, Hidden(none + 2 * MICROS, none > 0, none > 0, none, ones), 1, 2)
    law = PriceLaw.of([day])
    assert (law.slope, law.sigma) == (0.0, LEAST)
    assert law.typical(day.seen)[:4] == pytest.approx(2.0)


def test_nothing_to_learn_from_is_said() -> None:
    ones, none = np.ones(2), np.zeros(2, np.int64)
    seen = Opportunities(0.1 * ones, ones, 0.0 * ones, 0.0 * ones, none, none)
    with pytest.raises(InputError, match="no past opportunity"):
        PriceLaw.of([Day.build(seen, Hidden(none + 1, none > 0, none > 0, none, ones), 1)])
