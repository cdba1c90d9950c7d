"""Bandits over segments and campaigns, and the one that paces by a price: what they draw, solve and learn."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents import incremental
from bidpilot.agents.bandits import bwk, combinatorial_thompson, segment_thompson
from bidpilot.agents.bandits.arms import FACTORS
from bidpilot.agents.bandits.knapsack import greedy, hull
from bidpilot.agents.bandits.segment_thompson import ratio_draws
from bidpilot.agents.base import Past
from bidpilot.agents.rollout import run_episode
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.market import Market

    AnyConfig = segment_thompson.Config | combinatorial_thompson.Config


def test_ratios_are_drawn_from_the_gamma_posterior() -> None:
    clicks, predicted = np.array([0.0, 8.0, 90.0]), np.array([0.0, 4.0, 100.0])
    rng = np.random.default_rng(0)
    draws = np.array([ratio_draws(clicks, predicted, 20.0, 1.0, rng) for _ in range(20_000)])
    assert draws.mean(axis=0) == pytest.approx((clicks + 20) / (predicted + 20), abs=0.01)
    assert draws.var(axis=0) == pytest.approx((clicks + 20) / (predicted + 20) ** 2, rel=0.06)
    sharp = np.array([ratio_draws(clicks, predicted, 20.0, 25.0, rng) for _ in range(20_000)])
    assert sharp.mean(axis=0) == pytest.approx(draws.mean(axis=0), abs=0.01)
    assert sharp.std(axis=0) == pytest.approx(draws.std(axis=0) / 5.0, rel=0.05)


# --- the knapsack -------------------------------------------------------------------------------------------------


def best_mix(costs: list[FloatArray], values: list[FloatArray], budget: float) -> float:
    """Return the best value over all choices of one level each, the free one included, by trying them all."""
    levels = [[(0.0, 0.0), *zip(c.tolist(), v.tolist(), strict=True)] for c, v in zip(costs, values, strict=True)]
    return max(
        (sum(v for _, v in mix) for mix in product(*levels) if sum(c for c, _ in mix) <= budget + 1e-12), default=0.0
    )


@pytest.mark.parametrize("seed", range(6))
def test_greedy_on_concave_curves_is_the_best_of_all_mixes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = [np.cumsum(np.ones(5)) for _ in range(3)]  # equal steps: no step is bought in part
    values = [np.cumsum(np.sort(rng.random(5))[::-1]) for _ in range(3)]
    for budget in (1.0, 4.0, 9.0, 15.0, 40.0):
        steps = greedy(costs, values, budget)
        assert (steps == np.round(steps)).all()
        rows = zip(costs, values, steps.astype(int).tolist(), strict=True)
        spent, earned = np.sum([(np.append(0.0, c)[s], np.append(0.0, v)[s]) for c, v, s in rows], axis=0)
        assert spent <= budget
        assert earned == pytest.approx(best_mix(costs, values, budget))


def test_greedy_spends_the_budget_to_the_last_part_of_a_step() -> None:
    costs, values = [np.array([2.0, 5.0]), np.array([1.0])], [np.array([4.0, 5.0]), np.array([1.5])]
    assert greedy(costs, values, 2.5) == pytest.approx([1.0, 0.5])
    assert greedy(costs, values, 4.5) == pytest.approx([1.5, 1.0])
    assert greedy(costs, values, 0.0) == pytest.approx([0.0, 0.0])
    assert greedy(costs, values, 99.0) == pytest.approx([2.0, 1.0])


def test_a_hull_is_concave_and_nothing_lies_above_it() -> None:
    rng = np.random.default_rng(1)
    cost, value = rng.random(60), rng.random(60)
    kept = hull(cost, value)
    x, y = np.append(0.0, cost[kept]), np.append(0.0, value[kept])
    assert (np.diff(x) > 0).all()
    assert (np.diff(np.diff(y) / np.diff(x)) < 0).all()
    assert (value <= np.interp(cost, x, y) + 1e-12).all()
    assert len(hull(np.array([1.0, 2.0]), np.zeros(2))) == 0


def test_an_s_shaped_curve_is_bridged() -> None:
    cost, value = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, 0.3, 3.0, 3.5])
    assert hull(cost, value).tolist() == [2, 3]


# --- in the market ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def past(past_days: tuple[Day, ...]) -> Past:
    return Past(past_days, Forecast.with_parts(past_days))


@pytest.fixture(scope="module")
def campaign(past: Past) -> Campaign:
    return Campaign(0.2 * past.forecast.full_cost, past.forecast.ticks, past.forecast.full_cost)


SHARP = 1e8
"""So sharp that what is drawn is the posterior's mean."""


@pytest.mark.parametrize(
    "config",
    [segment_thompson.Config(20.0, SHARP), combinatorial_thompson.Config(20.0, SHARP)],
    ids=["segment", "split"],
)
def test_a_segment_that_clicks_more_than_predicted_is_bid_for_higher(
    config: AnyConfig, past: Past, campaign: Campaign, past_days: tuple[Day, ...]
) -> None:
    policy, day = config.build(past), past_days[0]
    policy.reset(campaign, np.random.default_rng(0))
    state = Episode(day, campaign, day.segments).state()
    even = policy.multipliers(state)
    assert even == pytest.approx(np.full(day.segments, even.mean()), rel=0.15)
    clicks = np.zeros(day.segments)
    clicks[1] = 20.0
    policy.reset(campaign, np.random.default_rng(0))
    moved = policy.multipliers(state._replace(total=state.total._replace(clicks=clicks)))
    assert moved[1] / moved[0] == pytest.approx(2.0 * even[1] / even[0], rel=0.15)


def test_the_split_is_the_one_of_equal_multipliers_where_all_is_as_predicted(past: Past, campaign: Campaign) -> None:
    policy = combinatorial_thompson.Config(20.0, SHARP).build(past)
    policy.reset(campaign, np.random.default_rng(0))
    curves = [curve for curve in policy._known if curve is not None]
    steps = greedy([c.cost for c in curves], [c.value for c in curves], policy._budget)
    spent = sum(
        float(np.interp(s, np.arange(len(c.cost) + 1), np.append(0.0, c.cost)))
        for c, s in zip(curves, steps, strict=True)
    )
    assert spent == pytest.approx(campaign.budget, rel=1e-9)
    common = past.forecast.multiplier(campaign.scarcity)
    assert np.array(policy._solve(np.ones(len(curves)))) == pytest.approx(np.full(len(curves), common), rel=0.2)


def test_curves_are_measured_where_the_forecast_has_no_parts(past: Past, campaign: Campaign) -> None:
    bare = Past(past.days, Forecast.of(past.days))
    made = []
    for known in (past, bare):
        policy = combinatorial_thompson.Config().build(known)
        policy.reset(campaign, np.random.default_rng(0))
        made.append([curve.cost for curve in policy._known if curve is not None])
    assert all((one == two).all() for one, two in zip(*made, strict=True))


def test_a_segment_without_a_past_bids_as_all_together(past: Past, campaign: Campaign) -> None:
    rest = tuple(
        Day.build(day.seen.rows(rows), day.hidden.rows(rows), day.ticks, day.segments)
        for day in past.days
        for rows in (np.flatnonzero(day.seen.segment != 0),)
    )
    known = Past(rest, Forecast.of(rest))
    policy = combinatorial_thompson.Config(20.0, SHARP).build(known)
    policy.reset(campaign, np.random.default_rng(0))
    state = Episode(past.days[0], campaign, past.days[0].segments).state()
    assert policy.multipliers(state)[0] == pytest.approx(known.forecast.multiplier(campaign.scarcity), rel=1e-3)


@pytest.mark.parametrize(
    "config", [segment_thompson.Config(), combinatorial_thompson.Config()], ids=["segment", "split"]
)
def test_learning_the_segments_pays_where_they_are_badly_misjudged(
    config: AnyConfig, past: Past, campaign: Campaign, market: Market
) -> None:
    belief = np.exp(np.linspace(-1.0, 1.0, market.segment_count))
    days = [day.misjudged(belief) for day in draw_days(market, 6, np.random.default_rng(5))]
    earned = [
        sum(run_episode(each.build(past), day, campaign, np.random.default_rng(0)).total("expected") for day in days)
        for each in (config, incremental.Config())
    ]
    assert earned[0] > earned[1]


def test_the_price_of_budget_rises_where_too_much_is_spent_and_the_null_arm_bids_nothing(
    past: Past, campaign: Campaign, past_days: tuple[Day, ...]
) -> None:
    policy, episode = bwk.Config().build(past), Episode(past_days[0], campaign)
    policy.reset(campaign, np.random.default_rng(0))
    episode.bid_multipliers(policy.multipliers(episode.state()))
    price, state = policy.price, episode.state()
    dear = state.last._replace(spend=state.last.spend + 0.5 * campaign.budget)
    policy.multipliers(state._replace(last=dear))
    assert policy.price > price
    policy.price, policy.statistics.pulls = 1e9, np.full(len(FACTORS), 50.0)
    policy.statistics.costs = 0.5 * policy.statistics.pulls
    multiplier = policy.multipliers(episode.state())
    assert multiplier[0] == 0.0
    assert policy.propensities()[len(FACTORS)] == 1.0


def test_arms_of_the_knapsack_bandit_cost_and_earn_more_the_higher_they_bid(past: Past, campaign: Campaign) -> None:
    policy = bwk.Config(width=10.0).build(past)  # so wide that all arms are pulled
    policy.reset(campaign, np.random.default_rng(0))
    purse = policy.statistics
    for sums in (purse.rewards, purse.costs):
        means = sums / purse.pulls
        assert ((means >= 0) & (means <= 1)).all()
        assert means[-3:].mean() > means[:3].mean()
