"""The marketplace's exchange: money, budgets, and traffic that does not care who bids."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, FloatArray, IntArray
from bidpilot.envs.clearing import UNSOLD, gsp
from bidpilot.envs.marketplace_exchange import Exchange, Told
from bidpilot.envs.marketplace_traffic import (
    LEVELS,
    NORMAL,
    Buyers,
    MarketplaceConfig,
    Traffic,
    draw_buyers,
    draw_traffic,
    offers,
)

SMALL = MarketplaceConfig(buyers=6, ticks=4, opportunities=120.0, segments=3)
MULTIPLIERS = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, 1e300, np.inf]), st.floats(0.0, 50.0)), min_size=6, max_size=6
).map(np.array)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def some_traffic(seed: int, n: int = 40, config: MarketplaceConfig = SMALL) -> Traffic:
    return draw_traffic(config, n, rng(seed), rng(seed + 1000))


def slowly(config: MarketplaceConfig, buyers: Buyers, traffic: Traffic, multipliers: FloatArray) -> IntArray:
    """Return what is left to each buyer after one tick, auction by auction."""
    left, out = buyers.budget.copy(), np.zeros(config.buyers, dtype=bool)
    bids = offers(buyers.value, traffic, multipliers, left)
    for i in range(len(traffic)):
        while True:
            sale = gsp(np.where(out[:, None], 0, bids[:, [i]]), config.chances, config.least)
            owed = np.zeros_like(left)
            for slot, (winner, price) in enumerate(zip(sale.winner[:, 0], sale.price[:, 0], strict=True)):
                if winner != UNSOLD and traffic.seen[i] < config.factors[slot]:
                    owed[winner] += price
            if (owed <= left).all():
                break
            out |= owed > left
        left -= owed
    return left


# --- money --------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 99), ticks=st.lists(MULTIPLIERS, min_size=1, max_size=4), purse=st.floats(1e-7, 2.0))
def test_money_is_conserved_and_nobody_overspends(seed: int, ticks: list[FloatArray], purse: float) -> None:
    buyers = draw_buyers(SMALL, rng(seed))
    buyers = replace(buyers, budget=np.maximum(buyers.budget * purse, 1).astype(np.int64))
    exchange, told = Exchange(SMALL, buyers), Told.nothing(6, 3)
    for number, multipliers in enumerate(ticks):
        before = exchange.left.copy()
        last = exchange.play(some_traffic(seed + number), multipliers)
        told += last
        assert (exchange.left >= 0).all()
        assert np.array_equal(np.rint(last.spend * MICROS), before - exchange.left)
        assert (last.spend[multipliers == 0.0] == 0.0).all()
    spent = buyers.budget - exchange.left
    assert spent.dtype == np.int64
    assert spent.sum() == exchange.revenue
    assert np.array_equal(np.rint(told.spend * MICROS), spent)
    assert ((told.spend > 0.0) == (told.seen > 0.0)).all()
    assert (told.seen <= told.wins).all()
    assert (told.conversions <= told.clicks).all()
    assert (told.clicks <= told.seen).all()


@given(seed=st.integers(0, 99), multipliers=MULTIPLIERS, purse=st.floats(1e-3, 1.0))
def test_a_tick_equals_one_auction_after_the_other(seed: int, multipliers: FloatArray, purse: float) -> None:
    buyers = draw_buyers(SMALL, rng(seed))
    buyers = replace(buyers, budget=np.maximum(buyers.budget * purse, 1).astype(np.int64))
    exchange, traffic = Exchange(SMALL, buyers), some_traffic(seed)
    exchange.play(traffic, multipliers)
    assert np.array_equal(exchange.left, slowly(SMALL, buyers, traffic, multipliers))


def test_who_cannot_pay_is_out_for_good() -> None:
    budget = np.array([10**12, 10**12, 50_000, 10**12, 10**12, 10**12])
    exchange = Exchange(SMALL, replace(draw_buyers(SMALL, rng(3)), budget=budget))
    multipliers = np.array([1.0, 1.0, np.inf, 1.0, 1.0, 1.0])
    exchange.play(some_traffic(5, 400), multipliers)
    assert exchange.out.tolist() == [False, False, True, False, False, False]
    assert 0 <= exchange.left[2] < 50_000
    assert exchange.play(some_traffic(6, 400), multipliers).wins[2] == 0.0


def test_a_price_of_exactly_what_is_left_is_paid() -> None:
    config = replace(SMALL, reserve=0.002, factors=(1.0, 1.0, 1.0))
    buyers = replace(draw_buyers(config, rng(3)), budget=np.full(6, 2_000))
    exchange = Exchange(config, buyers)
    told = exchange.play(some_traffic(5, 10, config), np.array([0.0, np.inf, 0.0, 0.0, 0.0, 0.0]))
    assert told.spend.tolist() == [0.0, 0.002, 0.0, 0.0, 0.0, 0.0]  # a bid at the reserve buys at the reserve
    assert exchange.left[1] == 0


def test_scaling_all_money_changes_no_allocation() -> None:
    buyers = draw_buyers(SMALL, rng(3))
    dear = replace(buyers, worth=buyers.worth * 1000.0, budget=buyers.budget * 1000)
    plenty, traffic = np.full(6, UNWINNABLE), some_traffic(7, 300)
    small = gsp(offers(buyers.value, traffic, np.ones(6), plenty), SMALL.chances, SMALL.least)
    large = gsp(offers(dear.value, traffic, np.ones(6), plenty), SMALL.chances, 1000 * SMALL.least)
    same = (small.winner == large.winner).mean()
    assert same > 0.99  # ties of whole units are broken a thousand times as finely
    assert abs(large.price.sum() / (1000.0 * small.price.sum()) - 1.0) < 1e-3


@pytest.mark.parametrize("multipliers", [[np.nan] * 6, [-1.0] * 6, [1.0] * 5, 1.0], ids=str)
def test_impossible_multipliers_are_refused(multipliers: object) -> None:
    exchange = Exchange(SMALL, draw_buyers(SMALL, rng(0)))
    with pytest.raises(InputError, match="multipliers must be 6 numbers of 0 or more; got"):
        exchange.play(some_traffic(0), np.array(multipliers))


# --- what happens to those who win --------------------------------------------------------------------------------


def test_lower_slots_are_seen_less_and_all_that_is_seen_is_paid() -> None:
    buyers = replace(draw_buyers(SMALL, rng(1)), budget=np.full(6, 10**12))
    exchange, traffic = Exchange(SMALL, buyers), some_traffic(2, 20_000)
    bids = offers(buyers.value, traffic, np.ones(6), buyers.budget)
    sale = gsp(bids, SMALL.chances, SMALL.least)
    told = exchange.play(traffic, np.ones(6))
    seen = (sale.winner != UNSOLD) & (traffic.seen < np.array(SMALL.factors)[:, None])
    assert seen.mean(axis=1) == pytest.approx(SMALL.factors, abs=0.02)
    assert told.seen.sum() == seen.sum()
    assert exchange.revenue == sale.price[seen].sum()


def test_clicks_and_conversions_follow_their_probabilities() -> None:
    config = replace(SMALL, click_rate=0.1)
    buyers = replace(draw_buyers(config, rng(1)), budget=np.full(6, 10**13))
    told = Exchange(config, buyers).play(some_traffic(2, 40_000, config), np.ones(6))
    predicted = (told.expected / buyers.worth).sum()
    assert told.clicks.sum() == pytest.approx(predicted, abs=4.0 * np.sqrt(predicted))
    expected = config.conversion_rate * told.clicks.sum()
    assert told.conversions.sum() == pytest.approx(expected, abs=4.0 * np.sqrt(expected))


def test_a_click_belongs_to_the_opportunity_whoever_wins_it() -> None:
    config = replace(SMALL, buyers=2, slots=1, noise=0.0, affinity=0.0)
    buyers = replace(draw_buyers(config, rng(1)), budget=np.full(2, 10**12))
    traffic = some_traffic(2, 5_000, config)
    clicks = [Exchange(config, buyers).play(traffic, m).clicks.sum() for m in (np.array([1.0, 0]), np.array([0, 1.0]))]
    assert clicks[0] == clicks[1] > 0


# --- traffic ------------------------------------------------------------------------------------------------------


def test_draws_do_not_repeat_and_do_not_know_each_other() -> None:
    offered, response = rng(0).spawn(2)
    one, two = (draw_traffic(SMALL, 5_000, offered, response) for _ in range(2))
    for field in fields(Traffic):
        first, second = getattr(one, field.name), getattr(two, field.name)
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05
    columns = [one.quality, one.segment, *one.noise, one.seen, *one.click, *one.conversion]
    correlations = np.corrcoef(np.array(columns, dtype=np.float64)) - np.eye(len(columns))
    assert abs(correlations).max() < 0.06


def test_few_and_many_opportunities_are_priced_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    buyers, traffic = draw_buyers(SMALL, rng(1)), some_traffic(2, 300)
    multipliers = np.array([0.0, 0.3, 1.0, 7.7, 1e300, np.inf])
    few = offers(buyers.value, traffic, multipliers, buyers.budget)
    monkeypatch.setattr("bidpilot.envs.marketplace_traffic.FEW", 0)
    assert np.array_equal(offers(buyers.value, traffic, multipliers, buyers.budget), few)
    assert (few[0] == 0).all()
    assert (few[5] == np.minimum(buyers.budget[5], UNWINNABLE - 1)).all()


def test_the_noise_is_normal() -> None:
    assert len(NORMAL) == LEVELS
    assert NORMAL.mean() == pytest.approx(0.0, abs=1e-12)
    assert NORMAL.std() == pytest.approx(1.0, abs=0.01)


def test_no_click_is_more_than_certain() -> None:
    for rate in (0.02, 0.3, 1.0):
        config = replace(SMALL, click_rate=rate, noise=1.0, affinity=2.0)
        buyers, traffic = draw_buyers(config, rng(0)), some_traffic(1, 2_000, config)
        assert buyers.rate.max() * traffic.quality.max() <= 1.0 + 1e-12


def test_the_profile_is_a_day() -> None:
    profile = MarketplaceConfig().profile
    assert profile.sum() == pytest.approx(1.0)
    assert profile.max() == pytest.approx(1.6 / 48, rel=0.01)
    assert profile.min() > 0.0


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ticks": 0}, "ticks must be in 1..100000; got 0"),
        ({"opportunities": -1.0}, "opportunities must be in 0"),
        ({"opportunities": np.nan}, "opportunities must be in 0"),
        ({"click_rate": 1.5}, "click_rate must be in .*; got 1.5"),
        ({"conversion_rate": -0.1}, "conversion_rate must be in"),
        ({"reserve": -0.1}, "reserve must be in"),
        ({"buyers": 0}, "buyers must be in"),
        ({"buyers": 2.5, "slots": 1}, "buyers must be a whole number; got 2.5"),
        ({"segments": 257}, "segments must be in 1..256; got 257"),
        ({"levels": 4}, "levels must be odd"),
        ({"slots": 4}, "4 slots need as many factors and buyers; got 3 and 48"),
        ({"buyers": 2}, "3 slots need as many factors and buyers; got 3 and 2"),
        ({"factors": (1.0, 0.5, 0.6)}, "position factors must be one number in"),
        ({"factors": (1.0, 0.5, 0.0)}, "position factors must be one number in"),
        ({"budgets": (0.0, 1.0)}, "budgets must be a range of numbers above 0"),
        ({"limits": (1.0, 0.5)}, "limits must be a range of numbers above 0"),
        ({"policies": (1.0,)}, "policies must be a weight of 0 or more for each of"),
        ({"policies": (0.0, 0.0, 0.0, 0.0)}, "policies must be a weight of 0 or more for each of"),
        ({"policies": (1.0, -1.0, 1.0, 1.0)}, "policies must be a weight of 0 or more for each of"),
        ({"seat": 48}, "a seat must be one of 0 to 47; got 48"),
        ({"action": "lader"}, "unknown action 'lader'; known: ladder, residual"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        replace(MarketplaceConfig(), **change)  # type: ignore[arg-type]  # that is the point
