"""Auctions between bidders: who wins, what it costs, and what no bidder can gain."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import UNWINNABLE, FloatArray, IntArray
from bidpilot.envs.clearing import (
    UNSOLD,
    Slots,
    first_price_sale,
    gsp,
    ranked,
    ranked_plainly,
    second_price_sale,
    vcg,
)

Sale = Callable[[IntArray, FloatArray, IntArray], Slots]

FACTORS = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4).map(lambda some: np.array(sorted(some, reverse=True)))
RESERVE = st.integers(0, 8)
SEEDS = st.integers(0, 2**32 - 1)


def bid_tables(highest: int = 12, fewest: int = 0) -> st.SearchStrategy[IntArray]:
    """Return tables of few bidders, few opportunities and so few amounts that many are equal."""
    shapes = st.tuples(st.integers(fewest, 7), st.integers(1, 6))
    return hnp.arrays(np.int64, shapes, elements=st.integers(-2, highest))


def by_hand(bids: IntArray, slots: int, reserve: IntArray) -> tuple[list[list[int]], list[list[int]]]:
    """Return winners and prices of a generalised second price auction, by loops."""
    winners, prices = [], []
    for column, least in zip(bids.T.tolist(), reserve.tolist(), strict=True):
        live = sorted((-bid, bidder) for bidder, bid in enumerate(column) if bid > 0 and bid >= least)
        live += [(-least, UNSOLD)] * (slots + 1)
        winners.append([bidder for _, bidder in live[:slots]])
        following = [-bid for bid, _ in live[1 : slots + 1]]
        prices.append([p if w != UNSOLD else 0 for p, w in zip(following, winners[-1], strict=True)])
    return np.transpose(winners).tolist(), np.transpose(prices).tolist()


def utility(sale: Slots, factors: FloatArray, values: IntArray, bidder: int) -> FloatArray:
    """Return what a bidder with these values (n,) expects to gain at each opportunity."""
    held = sale.winner == bidder
    return np.asarray(np.where(held, factors[:, None] * (values - sale.price), 0.0).sum(axis=0))


def full_reserve(bids: IntArray, reserve: int) -> IntArray:
    return np.full(bids.shape[1], reserve)


# --- who wins -----------------------------------------------------------------------------------------------------


@given(bids=bid_tables(), depth=st.integers(1, 5), few=st.sampled_from([0, 500]))
def test_ranking_equals_sorting_to_the_bit(bids: IntArray, depth: int, few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bidpilot.envs.clearing.FEW", few)
        for fast, plain in zip(ranked(bids, depth), ranked_plainly(bids, depth), strict=True):
            assert fast.dtype == plain.dtype
            assert np.array_equal(fast, plain)


def test_ranking_equals_sorting_on_a_large_market(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bids = np.minimum(rng.lognormal(7.0, 4.0, (48, 5_000)), UNWINNABLE - 1).astype(np.int64) // 7
    monkeypatch.setattr("bidpilot.envs.clearing.BLOCK", 999)  # blocks that do not divide it
    for fast, plain in zip(ranked(bids, 4), ranked_plainly(bids, 4), strict=True):
        assert np.array_equal(fast, plain)


@given(bids=bid_tables(), factors=FACTORS, reserve=RESERVE)
def test_gsp_equals_loops(bids: IntArray, factors: FloatArray, reserve: int) -> None:
    least = full_reserve(bids, reserve)
    sale = gsp(bids, factors, least)
    assert (sale.winner.tolist(), sale.price.tolist()) == by_hand(bids, len(factors), least)


def test_a_known_auction() -> None:
    bids = np.array([[40], [100], [70], [10]])
    factors = np.array([1.0, 0.5])
    assert gsp(bids, factors).winner.tolist() == vcg(bids, factors).winner.tolist() == [[1], [2]]
    assert gsp(bids, factors).price.tolist() == [[70], [40]]
    assert vcg(bids, factors).price.tolist() == [[55], [40]]  # 0.5 x 70 + 0.5 x 40
    assert gsp(bids, factors, 50).price.tolist() == [[70], [50]]
    assert gsp(bids, factors, 80).winner.tolist() == [[1], [UNSOLD]]
    assert gsp(bids, factors, 101).winner.tolist() == [[UNSOLD], [UNSOLD]]


@pytest.mark.parametrize("sale", [gsp, vcg])
def test_no_bidders_one_bidder_and_equal_bidders(sale: Sale) -> None:
    factors, least = np.array([1.0, 0.5]), np.array([4])
    assert sale(np.zeros((0, 1), np.int64), factors, least).winner.tolist() == [[UNSOLD], [UNSOLD]]
    alone = sale(np.array([[9]]), factors, least)
    assert (alone.winner.tolist(), alone.price.tolist()) == ([[0], [UNSOLD]], [[4], [0]])
    equal = sale(np.full((3, 1), 9), factors, least)
    assert (equal.winner.tolist(), equal.price.tolist()) == ([[0], [1]], [[9], [9]])


def test_a_bid_exactly_at_the_reserve_sells() -> None:
    for sale in (gsp(np.array([[5], [4]]), np.ones(2), 5), vcg(np.array([[5], [4]]), np.ones(2), 5)):
        assert (sale.winner.tolist(), sale.price.tolist()) == ([[0], [UNSOLD]], [[5], [0]])


def test_no_bid_wins_nothing_even_without_a_reserve() -> None:
    assert gsp(np.array([[0], [-3]]), np.ones(2)).winner.tolist() == [[UNSOLD], [UNSOLD]]


@given(bids=bid_tables(fewest=1), factors=FACTORS, reserve=RESERVE, seed=SEEDS)
def test_raising_a_bid_never_loses_a_slot(bids: IntArray, factors: FloatArray, reserve: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bidder = int(rng.integers(len(bids)))
    higher = bids.copy()
    higher[bidder] += rng.integers(0, 5, bids.shape[1])

    def slot(table: IntArray) -> IntArray:
        held = gsp(table, factors, full_reserve(bids, reserve)).winner == bidder
        return np.where(held.any(axis=0), held.argmax(axis=0), len(factors))

    assert (slot(higher) <= slot(bids)).all()


@given(bids=bid_tables(), factors=FACTORS, reserve=RESERVE)
def test_scaling_all_money_changes_no_allocation(bids: IntArray, factors: FloatArray, reserve: int) -> None:
    least = full_reserve(bids, reserve)
    for sale in (gsp, vcg):
        small, large = sale(bids, factors, least), sale(bids * 1000, factors, least * 1000)
        assert np.array_equal(small.winner, large.winner)
        assert (abs(large.price - 1000 * small.price) <= (0 if sale is gsp else 500)).all()


# --- what it costs ------------------------------------------------------------------------------------------------


@given(bids=bid_tables(fewest=1), factors=FACTORS, reserve=RESERVE)
def test_nobody_pays_above_the_bid_or_below_the_reserve(bids: IntArray, factors: FloatArray, reserve: int) -> None:
    least = full_reserve(bids, reserve)
    sales = (gsp(bids, factors, least), vcg(bids, factors, least), first_price_sale(bids, least))
    for sale in (*sales, second_price_sale(bids, least), second_price_sale(bids, least, least + 3)):
        sold = sale.winner != UNSOLD
        assert (sale.price[~sold] == 0).all()
        own = np.take_along_axis(bids, np.maximum(sale.winner, 0), axis=0)
        assert ((least <= sale.price) & (sale.price <= own))[sold].all()


@given(bids=bid_tables(fewest=1), factors=FACTORS, reserve=RESERVE)
def test_what_buyers_pay_is_what_the_exchange_receives(bids: IntArray, factors: FloatArray, reserve: int) -> None:
    for sale in (gsp(bids, factors, reserve), vcg(bids, factors, reserve), first_price_sale(bids, reserve)):
        owed = sale.paid(len(bids))
        assert owed.dtype == np.int64
        assert owed.sum() == sale.price.sum()
        losers = [b for b in range(len(bids)) if b not in sale.winner]
        assert (owed[losers] == 0).all()


@given(bids=bid_tables(), reserve=RESERVE)
def test_one_slot_is_second_price_which_is_no_dearer_than_first(bids: IntArray, reserve: int) -> None:
    second, first = second_price_sale(bids, reserve), first_price_sale(bids, reserve)
    for sale in (gsp(bids, np.ones(1), reserve), vcg(bids, np.array([0.3]), reserve)):
        assert np.array_equal(sale.winner, second.winner)
        assert np.array_equal(sale.price, second.price)
    assert np.array_equal(second.winner, first.winner)
    assert (second.price <= first.price).all()


@given(bids=bid_tables(fewest=1), reserve=RESERVE)
def test_the_second_price_does_not_depend_on_the_winning_bid(bids: IntArray, reserve: int) -> None:
    sale = second_price_sale(bids, reserve)
    sold = np.flatnonzero(sale.winner[0] != UNSOLD)
    raised = bids.copy()
    raised[sale.winner[0, sold], sold] += 1000
    assert np.array_equal(second_price_sale(raised, reserve).price, sale.price)


def test_the_soft_floor_is_paid_by_bids_that_reach_it_and_makes_lower_ones_first_price() -> None:
    bids = np.array([[10, 10, 10, 1], [4, 4, 4, 0]])
    sale = second_price_sale(bids, 2, np.array([0, 7, 11, 11]))
    assert sale.winner.tolist() == [[0, 0, 0, UNSOLD]]
    assert sale.price.tolist() == [[4, 7, 10, 0]]
    assert second_price_sale(np.zeros((0, 2), np.int64), 2, np.array([0, 7])).winner.tolist() == [[UNSOLD, UNSOLD]]


# --- what no bidder can gain --------------------------------------------------------------------------------------


@given(values=bid_tables(200, fewest=1), factors=FACTORS, reserve=st.integers(0, 100), seed=SEEDS)
def test_no_lie_gains_more_than_the_rounding(values: IntArray, factors: FloatArray, reserve: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bidder = int(rng.integers(len(values)))
    honest = utility(vcg(values, factors, reserve), factors, values[bidder], bidder)
    assert (honest >= 0.0).all()
    single = utility(second_price_sale(values, reserve), np.ones(1), values[bidder], bidder)
    for _ in range(8):
        lies = values.copy()
        lies[bidder] = rng.integers(0, 250, values.shape[1])
        gain = utility(vcg(lies, factors, reserve), factors, values[bidder], bidder) - honest
        assert (gain <= 1.0).all()
        gain = utility(second_price_sale(lies, reserve), np.ones(1), values[bidder], bidder) - single
        assert (gain <= 0.0).all()


def test_in_gsp_a_lie_can_gain() -> None:
    values, factors = np.array([[100], [90], [20]]), np.array([1.0, 0.9])
    honest = utility(gsp(values, factors), factors, values[0], 0)
    lie = utility(gsp(np.array([[50], [90], [20]]), factors), factors, values[0], 0)
    assert lie > honest


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "factors", [[], [0.0], [1.1], [0.5, 0.6], [1.0, -0.1], [np.nan], [1.0, np.nan], [[1.0]], 1.0], ids=str
)
@pytest.mark.parametrize("sale", [gsp, vcg])
def test_impossible_factors_are_refused(sale: Sale, factors: object) -> None:
    with pytest.raises(InputError, match=r"position factors must be one number in \(0, 1\] per slot"):
        sale(np.ones((2, 1), np.int64), np.array(factors), np.zeros(1, np.int64))


@pytest.mark.parametrize("reserve", [-1, [-1, 0], [0], [0.5, 1.0], [[0, 0]]], ids=str)
def test_impossible_reserves_are_refused(reserve: object) -> None:
    bids = np.ones((2, 2), np.int64)
    for sale in (second_price_sale, first_price_sale):
        with pytest.raises(InputError, match=r"a reserve must be whole micro-currency of 0 or more"):
            sale(bids, np.array(reserve))
    with pytest.raises(InputError, match=r"a soft floor must be whole micro-currency of 0 or more"):
        second_price_sale(bids, 0, np.array(reserve))


@pytest.mark.parametrize(
    "bids", [np.ones((2, 2)), np.ones(2, np.int64), np.full((1, 1), UNWINNABLE), np.full((1, 1), -UNWINNABLE)], ids=str
)
def test_impossible_bids_are_refused(bids: IntArray) -> None:
    with pytest.raises(InputError, match=r"bids must be .* micro-currency.*; got"):
        gsp(bids, np.ones(1))
