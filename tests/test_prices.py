"""The price law under censoring: it recovers what was hidden, and the naive fit does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.price_models.base import load_prices, save_prices
from bidpilot.ctr.price_models.table import Table, TableLaws
from bidpilot.ctr.prices import HourlyPrices, PriceConfig, kaplan_meier
from bidpilot.ctr.types import UNWINNABLE, BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from pathlib import Path

N = 60_000
MEDIAN = 70_000.0


def censored(rng: np.random.Generator, step: int = 1) -> tuple[IntArray, IntArray, BoolArray]:
    """Draw log-normal prices and bids that lose to about 60 % of them: (observed, true price, known)."""
    price = (np.rint(MEDIAN * rng.lognormal(0.0, 0.6, N) / step) * step).astype(np.int64)
    bid = (np.rint(MEDIAN * rng.lognormal(-0.2, 0.7, N) / step) * step).astype(np.int64)
    known = bid >= price
    return np.where(known, price, bid), price, known


def fitted(rng: np.random.Generator) -> tuple[HourlyPrices, IntArray]:
    observed, price, known = censored(rng)
    assert 0.55 < (~known).mean() < 0.65
    hour = rng.integers(0, 24, N)
    return HourlyPrices.fit(observed, known, hour, np.zeros(N, dtype=np.int64)), price


def test_recovers_the_median_under_60_percent_censoring_and_winners_only_does_not() -> None:
    rng = np.random.default_rng(0)
    law, _ = fitted(rng)
    draws = law.quantile(rng.random(100_000), rng.integers(0, 24, 100_000), np.zeros(100_000, dtype=np.int64))
    assert np.median(draws) == pytest.approx(MEDIAN, rel=0.02)
    observed, _, known = censored(np.random.default_rng(0))
    assert abs(np.median(observed[known]) / MEDIAN - 1) > 0.1


def test_win_probability_is_a_distribution() -> None:
    law, price = fitted(np.random.default_rng(1))
    bids = np.linspace(0, 400_000, 500).astype(np.int64)
    hour, group = np.full(500, 7), np.zeros(500, dtype=np.int64)
    won = law.win_probability(bids, hour, group)
    assert won[0] == 0.0
    assert (np.diff(won) >= 0).all()
    assert won[-1] <= 1.0
    truth = np.array([(price <= bid).mean() for bid in bids])
    assert np.abs(won - truth)[bids < 200_000].max() < 0.03


def test_a_loss_at_a_price_is_still_at_risk_there_because_ties_win() -> None:
    """Coarse prices make ties frequent: the right convention is off by little, the other by several times that."""
    observed, price, known = censored(np.random.default_rng(2), step=10_000)
    grid, cdf = kaplan_meier(observed, known)
    truth = np.array([(price <= p).mean() for p in grid])
    inside = grid <= 150_000
    right = np.abs(cdf - truth)[inside].max()
    at_risk = np.array([((observed > p) | (known & (observed == p))).sum() for p in grid])
    deaths = np.array([(known & (observed == p)).sum() for p in grid])
    wrong = np.abs(1 - np.cumprod(1 - deaths / np.maximum(at_risk, 1)) - truth)[inside].max()
    assert right < 0.01
    assert wrong > 3 * right


def test_sampling_above_a_bid_stays_above_it() -> None:
    rng = np.random.default_rng(3)
    law, _ = fitted(rng)
    above = rng.integers(0, 300_000, 5_000)
    drawn = TableLaws(law, rng.integers(0, 24, 5_000), np.zeros(5_000, dtype=np.int64)).sample(rng, above)
    assert (drawn > above).all()


def test_what_lies_above_every_bid_cannot_be_won() -> None:
    rng = np.random.default_rng(4)
    bid = np.full(2_000, 50_000)
    price = rng.integers(1, 100_000, 2_000)
    known = price <= bid
    zeros = np.zeros(2_000, dtype=np.int64)
    law = HourlyPrices.fit(np.where(known, price, bid), known, zeros, zeros)
    drawn = law.quantile(rng.random(2_000), zeros, zeros)
    assert 0.4 < (drawn == UNWINNABLE).mean() < 0.6
    assert law.identified[0, 0] <= 50_000


def test_an_empty_hour_borrows_from_the_others() -> None:
    rng = np.random.default_rng(5)
    price = rng.integers(1, 100, 3_000)
    known, zeros = np.ones(3_000, dtype=bool), np.zeros(3_000, dtype=np.int64)
    law = HourlyPrices.fit(price, known, zeros + 9, zeros)
    probe = np.array([50])
    there, elsewhere = (law.win_probability(probe, np.array([h]), np.array([0]))[0] for h in (9, 21))
    assert elsewhere == pytest.approx(there, abs=0.02)


def test_same_stream_same_prices_and_saved_is_loaded(tmp_path: Path) -> None:
    law, _ = fitted(np.random.default_rng(6))
    save_prices(tmp_path / "prices", "table", Table(law, np.empty(0)))
    again = load_prices(tmp_path / "prices")
    assert isinstance(again, Table)
    hour, group = np.arange(24), np.zeros(24, dtype=np.int64)
    laws = [TableLaws(each, hour, group) for each in (law, again.prices)]
    draws = [each.sample(np.random.default_rng(7)).tolist() for each in laws]
    assert draws[0] == draws[1]
    weights = tmp_path / "prices/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="SHA-256"):
        load_prices(tmp_path / "prices")


def test_a_log_without_any_price_is_refused() -> None:
    zeros = np.zeros(5, dtype=np.int64)
    with pytest.raises(InputError, match="known in none of 5 rows"):
        HourlyPrices.fit(zeros, np.zeros(5, dtype=bool), zeros, zeros)


def test_product_limit_by_hand() -> None:
    """Prices 1, 3 and a loss at 2 in between: S = 3/4, then 3/4 x 1/2; the loss at 3 stays at risk there."""
    grid, cdf = kaplan_meier(np.array([1, 2, 3, 3]), np.array([True, False, True, False]))
    assert grid.tolist() == [1, 3]
    np.testing.assert_allclose(cdf, [1 / 4, 1 - 3 / 4 * 1 / 2])


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 23), st.integers(0, 2)), min_size=1))
def test_every_stratum_is_a_law_and_draws_follow_it(rows: list[tuple[int, bool, int, int]]) -> None:
    price, known, hour, group = (np.array(column) for column in zip(*rows, strict=True))
    known[0] = True
    law = HourlyPrices.fit(price, known, hour, group, PriceConfig(enough=1))
    assert (np.diff(law.cdf, axis=2) >= 0).all()
    assert (law.cdf >= 0).all()
    assert (law.cdf <= 1).all()
    if known.all():
        np.testing.assert_allclose(law.cdf[..., -1], 1.0)
    h, g = np.divmod(np.arange(24 * law.cdf.shape[1]), law.cdf.shape[1])
    for q in (0.0, 0.3, 1.0 - 2.0**-53):
        drawn = law.quantile(np.full(len(h), q), h, g)
        winnable = drawn < UNWINNABLE
        assert (law.win_probability(drawn, h, g) >= q)[winnable].all()
        assert (law.win_probability(drawn - 1, h, g) <= q)[winnable].all()
        assert (law.cdf[h, g, -1] <= q)[~winnable].all()
    assert (TableLaws(law, h, g).sample(np.random.default_rng(0), np.full(len(h), 4)) > 4).all()


H, G = np.divmod(np.arange(24 * 4), 4)
"""Every stratum of 24 hours and 4 groups."""


def _by_strata(rows: int, swing: float, strength: float = PriceConfig.strength) -> tuple[HourlyPrices, FloatArray]:
    """Fit prices whose log-level moves with hour and group, seen by independent bids; return the levels (96,), too."""
    rng = np.random.default_rng(8)
    hour, group = rng.integers(0, 24, rows), rng.integers(0, 4, rows)
    level = swing * np.sin(np.arange(24) * np.pi / 12)[:, None] + 0.25 * np.arange(4)
    price = (MEDIAN * np.exp(level[hour, group] + rng.normal(0.0, 0.5, rows))).astype(np.int64)
    bid = (MEDIAN * rng.lognormal(0.6, 0.6, rows)).astype(np.int64)
    config = PriceConfig(strength=strength)
    return HourlyPrices.fit(np.minimum(price, bid), bid >= price, hour, group, config), level[H, G]


def test_hours_and_groups_keep_their_own_levels() -> None:
    law, level = _by_strata(96_000, swing=0.3)
    median = law.quantile(np.full(96, 0.5), H, G)
    assert np.abs(np.log(median / MEDIAN) - level).max() < 0.15


def test_few_rows_borrow_and_so_are_nearer_to_the_truth_than_alone() -> None:
    """At 60 rows a stratum, what is borrowed takes away at least a third of the error."""
    errors = []
    for strength in (PriceConfig.strength, 1e-6):
        law, level = _by_strata(96 * 60, swing=0.1, strength=strength)
        even = (MEDIAN * np.exp(level)).astype(np.int64)
        errors.append(np.sqrt(np.mean((law.win_probability(even, H, G) - 0.5) ** 2)))
    assert errors[0] < 0.67 * errors[1]


def test_a_price_everybody_saw_is_never_unwinnable() -> None:
    rng = np.random.default_rng(10)
    price, group = rng.integers(1, 301, 5_000), rng.integers(0, 5, 5_000)
    law = HourlyPrices.fit(price, np.ones(5_000, dtype=bool), rng.integers(0, 24, 5_000), group)
    assert (
        law.quantile(rng.random(12_000), np.tile(np.arange(24), 500), np.zeros(12_000, dtype=np.int64)) <= 300
    ).all()


def test_a_group_that_bid_low_is_not_identified_above_its_bids() -> None:
    rng = np.random.default_rng(11)
    group = np.repeat([0, 1], 5_000)
    bid, price = np.where(group == 0, 40, 200), rng.integers(1, 100, 10_000)
    law = HourlyPrices.fit(np.minimum(price, bid), bid >= price, rng.integers(0, 24, 10_000), group)
    assert law.identified[:, 0].tolist() == [40] * 24
    top = np.full(2, 1_000)
    won = law.win_probability(top, np.array([5, 5]), np.array([0, 1]))
    np.testing.assert_allclose(won, [40 / 99, 1.0], atol=0.05)
