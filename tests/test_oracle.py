"""The oracle: within the budget, at the hindsight optimum, and above every policy on its own predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.agents.base import Past
from bidpilot.agents.oracle import Oracle
from bidpilot.agents.registry import policies
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_of, best_value
from bidpilot.envs.market import MiscalibratedMarket, draw_days
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.types import Campaign, Rules

TICKS = 12


@pytest.fixture(scope="module")
def days() -> tuple[Day, ...]:
    return draw_days(default_market(20_000, TICKS), 3, np.random.default_rng(3))


def campaign(day: Day, share: float, auction: str = "second_price") -> Campaign:
    full_cost = day.full_cost / MICROS
    return Campaign(share * full_cost, day.ticks, full_cost, Rules(auction))


@pytest.mark.parametrize("share", [1 / 32, 1 / 8, 1 / 2, 0.99, 1.0, 2.0])
def test_it_reaches_the_optimum_on_continuous_prices(share: float, days: tuple[Day, ...]) -> None:
    for day in days:
        asked = campaign(day, share)
        earned = run_episode(Oracle(day), day, asked, np.random.default_rng(0)).total("expected")
        best = best_value(day, np.array([asked.budget]))[0]
        assert 0.999 * best <= earned <= best * (1 + 1e-12)
        assert best - earned <= day.hidden.expected.max()  # what is lost is part of one impression


@pytest.mark.parametrize("name", sorted(policies()))
def test_no_policy_beats_it_when_predictions_are_true(name: str, days: tuple[Day, ...]) -> None:
    past = Past(days[:2], Forecast.of(days[:2]))
    policy, day = policies()[name]().build(past), days[2]
    for share in (1 / 32, 1 / 4):
        asked = campaign(day, share)
        oracle = run_episode(Oracle(day), day, asked, np.random.default_rng(0)).total("expected")
        other = run_episode(policy, day, asked, np.random.default_rng(0)).total("expected")
        assert other <= oracle + day.hidden.expected.max()  # the budget's rest may hold one more


def test_with_wrong_predictions_it_falls_short_of_the_optimum(days: tuple[Day, ...]) -> None:
    seen = MiscalibratedMarket(ReplayMarket(days[:1]), (0.5, 0.5)).day(np.random.default_rng(1))
    asked = campaign(seen, 0.1)
    earned = run_episode(Oracle(seen), seen, asked, np.random.default_rng(0)).total("expected")
    assert earned < 0.99 * best_value(seen, np.array([asked.budget]))[0]


@pytest.mark.parametrize("share", [1 / 32, 1 / 4])
def test_at_first_price_no_other_constant_multiplier_earns_more(share: float, days: tuple[Day, ...]) -> None:
    asked = campaign(days[0], share, "first_price")

    class Scaled(Oracle):
        """The oracle's multiplier, off by a factor."""

        factor = 1.0

        def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
            """Solve and scale."""
            super().reset(campaign, rng)
            self._multiplier = self.factor * self._multiplier

    def earned(factor: float) -> float:
        policy = Scaled(days[0])
        policy.factor = factor
        return run_episode(policy, days[0], asked, np.random.default_rng(0)).total("expected")

    assert all(earned(factor) < earned(1.0) for factor in (0.5, 0.8, 0.95, 1.05, 1.2, 2.0))


amounts = st.lists(st.integers(0, 6), min_size=1, max_size=12)


@given(amounts, st.data(), st.sampled_from(["second_price", "first_price"]))
def test_it_never_overspends_also_with_ties_free_and_worthless_impressions(
    prices: list[int], data: st.DataObject, auction: str
) -> None:
    n = len(prices)
    worth = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=np.float64)
    price, none, nothing = np.array(prices) * MICROS, np.zeros(n, np.int64), np.zeros(n)
    seen = Opportunities(nothing, nothing, worth, nothing, none, none)
    day = Day.build(seen, Hidden(price, none > 0, none > 0, none, worth), 1)
    budget = data.draw(st.integers(1, 40))
    result = run_episode(Oracle(day), day, Campaign(float(budget), 1, 10.0, Rules(auction)), np.random.default_rng(0))
    assert result.total("spend") <= budget * MICROS
    assert result.total("expected") <= best_value(day, np.array([float(budget)]))[0] + 1e-9


@pytest.mark.parametrize("auction", ["second_price", "first_price"])
@pytest.mark.parametrize("tightness", [0.3, 0.7, 5.0])
def test_it_keeps_the_cost_limit_and_no_higher_multiplier_would(
    auction: str, tightness: float, days: tuple[Day, ...]
) -> None:
    day = days[0]
    plain = campaign(day, 0.3, auction)
    free = run_episode(Oracle(day), day, plain, np.random.default_rng(0))
    limit = tightness * free.total("spend") / free.total("expected") / MICROS
    asked = replace(plain, cost_limit=limit)
    kept = run_episode(Oracle(day), day, asked, np.random.default_rng(0))
    assert kept.total("spend") <= limit * MICROS * kept.total("expected") * (1 + 1e-12)
    if auction == "second_price":
        best = best_of(day, asked.budget, limit)
        assert 0 <= best - kept.total("expected") <= 1e-3 * best + day.hidden.expected.max()
    if tightness > 1:
        assert kept.total("expected") == free.total("expected")
    else:
        assert kept.total("spend") < free.total("spend")
