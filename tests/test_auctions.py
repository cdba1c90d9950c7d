"""What a won impression costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import UNWINNABLE
from bidpilot.envs.auctions import AUCTIONS, first_price, pricing_rule, second_price, soft_floor

WINNERS = st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 1e6), st.integers(0, 2 * 10**9)), min_size=1)


@given(winners=WINNERS)
def test_a_winner_pays_between_the_price_to_beat_and_the_bid(winners: list[tuple[int, float, int]]) -> None:
    price = np.array([p for p, _, _ in winners])
    bid = price + np.array([more for _, more, _ in winners])
    floor = np.array([f for _, _, f in winners])
    assert (second_price(price, bid) == price).all()
    assert (first_price(price, bid) > bid - 1).all()
    for rule in AUCTIONS.values():
        for paid in (rule(price, bid), rule(price, bid, floor)):
            assert paid.dtype == np.int64
            assert ((price <= paid) & (paid <= bid)).all()


@given(winners=WINNERS)
def test_only_the_soft_floor_rule_asks_for_the_floor(winners: list[tuple[int, float, int]]) -> None:
    price = np.array([p for p, _, _ in winners])
    bid = price + np.array([more for _, more, _ in winners])
    floor = np.array([f for _, _, f in winners])
    for rule in (second_price, first_price):
        assert np.array_equal(rule(price, bid), rule(price, bid, floor))
    for none in (None, np.zeros(len(price), np.int64)):
        assert np.array_equal(soft_floor(price, bid, none), second_price(price, bid))
    assert np.array_equal(soft_floor(price, bid, np.floor(bid).astype(np.int64) + 1), first_price(price, bid))


def test_the_soft_floor_splits_second_from_first_price() -> None:
    price, bid = np.array([4, 4, 9, 4, 4]), np.array([10.0, 10.0, 10.0, 10.9, np.inf])
    assert soft_floor(price, bid, np.array([0, 10, 7, 11, 11])).tolist() == [4, 10, 9, 10, 11]


def test_second_price_does_not_depend_on_the_bid() -> None:
    price = np.array([3, 5])
    assert second_price(price, np.array([3.0, 5.0])).tolist() == second_price(price, np.array([9.0, np.inf])).tolist()


def test_first_price_of_a_bid_rounded_below_the_price_is_the_price() -> None:
    assert first_price(np.array([7]), np.array([np.nextafter(7.0, 0.0)])).tolist() == [7]


def test_first_price_of_an_endless_bid_is_not_a_bargain() -> None:
    assert first_price(np.array([7, 7]), np.array([np.inf, 1e300])).tolist() == [UNWINNABLE, UNWINNABLE]


def test_rules_go_by_name() -> None:
    assert {name: pricing_rule(name) for name in AUCTIONS} == {
        "second_price": second_price,
        "first_price": first_price,
        "soft_floor": soft_floor,
    }
    with pytest.raises(InputError, match="unknown auction 'third_price'; known: first_price, second_price, soft_floor"):
        pricing_rule("third_price")
