"""Quantiles with the lost auctions: by hand, and intervals that hold the truth as often as they say."""

import numpy as np
import pytest

from bidpilot.ctr.price_ranges import LEVELS, price_table, product_limit, quantiles


def test_the_estimate_by_hand() -> None:
    """Prices 1, 2, 4 and bids 2, 3 that lost (ties win, so the bid of 2 was at risk at 2): S = 4/5, 3/5, 0."""
    found = product_limit(np.array([1, 2, 2, 3, 4]), np.array([True, True, False, False, True]))
    np.testing.assert_allclose(found.cdf, [0.2, 0.4, 1.0])
    deviation = np.sqrt(0.2 * 0.8 / 5)  # Greenwood without censoring before: the binomial one
    scale = np.abs(np.log(0.8)) * 0.8  # delta method of log(-log S)
    expected = 1 - 0.8 ** np.exp(1.96 * deviation / scale * np.array([-1, 1]))
    np.testing.assert_allclose([found.low[0], found.high[0]], expected, rtol=1e-3)


def test_intervals_hold_the_true_median_nineteen_times_in_twenty() -> None:
    rng, held, bound = np.random.default_rng(0), 0, 400
    for _ in range(bound):
        price, bid = (np.rint(1e6 * rng.lognormal(0.0, 0.5, 300)).astype(np.int64) for _ in range(2))
        _, low, high = quantiles(product_limit(np.minimum(price, bid), bid >= price), 0.5)
        held += low <= 1e6 <= high
    assert 0.92 < held / bound < 0.98


def test_what_no_bid_reached_is_not_compared() -> None:
    amount, known = np.array([10, 20, 30, 30, 30, 30]), np.array([True, True, False, False, False, False])
    middle = quantiles(product_limit(amount, known), 0.5)
    assert np.isnan(middle[0])
    drawn = np.full((20, len(LEVELS), 1), 1e-5)
    table = price_table(amount, known, np.zeros(6, dtype=np.int64), ["all"], drawn)
    assert table["level"].tolist() == [0.1, 0.25]
    assert table["identified_share"].iloc[0] == pytest.approx(1 / 3)
    assert table["identified"].iloc[0] == pytest.approx(30e-6)
