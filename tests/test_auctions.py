"""What a won impression costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import UNWINNABLE
from bidpilot.envs.auctions import AUCTIONS, first_price, pricing_rule, second_price

WINNERS = st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 1e6)), min_size=1, max_size=20)


@given(winners=WINNERS)
def test_a_winner_pays_between_the_price_to_beat_and_the_bid(winners: list[tuple[int, float]]) -> None:
    price = np.array([p for p, _ in winners])
    bid = price + np.array([more for _, more in winners])
    assert (second_price(price, bid) == price).all()
    paid = first_price(price, bid)
    assert paid.dtype == np.int64
    assert ((price <= paid) & (paid <= bid)).all()
    assert (paid > bid - 1).all()


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
    }
    with pytest.raises(InputError, match="unknown auction 'third_price'; known: first_price, second_price"):
        pricing_rule("third_price")
