"""Judging price laws: spread, likelihood and hiding are what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.price_models.base import ABOVE, AT_MOST, EXACT, Observed, knots_of
from bidpilot.ctr.price_models.kaplan_meier import Same
from bidpilot.ctr.price_quality import likelihood, pit, win_rates
from bidpilot.experiments.benchmarks.price_quality import hidden, quality_table

if TYPE_CHECKING:
    from pathlib import Path


def uniform(count: int) -> Same:
    """Return the law of log price uniform between 1 and e, in thousands."""
    grid = np.rint(1_000 * np.exp(np.linspace(0.0, 1.0, 101))).astype(np.int64)
    return Same(grid, np.linspace(0.0, 1.0, 101), int(grid[-1]), count)


def seen(kind: int, amount: list[int]) -> Observed:
    amounts = np.array(amount, dtype=np.int64)
    return Observed(amounts, np.full(len(amount), kind, dtype=np.int8), amounts)


def test_likelihood_is_the_density_or_the_probability_of_the_censoring() -> None:
    middle = round(1_000 * np.exp(0.5))
    for kind, expected in ((EXACT, 0.0), (ABOVE, np.log(2.0)), (AT_MOST, np.log(2.0))):
        found = likelihood(uniform(2), seen(kind, [middle, middle]), uniform(2))
        assert found["anlp"] == pytest.approx(expected, abs=0.05)
        assert found["gain"] == 0.0


def test_a_censored_row_is_spread_over_what_it_may_be() -> None:
    """Half of the mass above the middle: the upper five bins share each such row; exact rows fill their own bin."""
    middle = round(1_000 * np.exp(0.5))
    above = pit(uniform(4), seen(ABOVE, [middle] * 4), np.random.default_rng(0))
    np.testing.assert_allclose(above.shares, [0.0] * 5 + [0.2] * 5, atol=0.01)
    exact = pit(uniform(20), seen(EXACT, [1_050] * 20), np.random.default_rng(0))
    assert exact.shares[0] == pytest.approx(1.0)
    assert not exact.passes


def test_a_law_that_drew_the_prices_passes_19_times_in_20() -> None:
    passed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        price = np.rint(1_000 * np.exp(rng.random(400))).astype(np.int64)
        bid = np.rint(1_000 * np.exp(rng.random(400))).astype(np.int64)
        won = bid >= price
        told = Observed(np.where(won, price, bid), np.where(won, EXACT, ABOVE).astype(np.int8), bid)
        passed += pit(uniform(400), told, rng).passes
    assert 52 <= passed <= 60


def test_win_rates_by_bid() -> None:
    rng = np.random.default_rng(0)
    bid = np.rint(1_000 * np.exp(rng.random(2_000))).astype(np.int64)
    won = bid >= np.rint(1_000 * np.exp(rng.random(2_000)))
    table = win_rates(uniform(2_000), Observed(bid, np.where(won, AT_MOST, ABOVE).astype(np.int8), bid))
    assert ((table["low"] <= table["predicted"]) & (table["predicted"] <= table["high"])).sum() >= 8
    assert table["count"].sum() == 2_000


def test_prices_above_the_drawn_bids_are_hidden_and_nothing_else() -> None:
    price = np.arange(1, 1_001)
    log = AuctionLog.from_columns({"time": np.arange(1_000.0), "price": price, "price_known": np.ones(1_000, bool)})
    shown, true = hidden(log, np.random.default_rng(0))
    frame = shown.frame
    assert (true == price).all()
    assert ((frame["bid"] >= price) == frame["won"]).all()
    assert (frame["price"] == np.where(frame["won"], price, 0)).all()
    assert 0.3 < frame["won"].mean() < 0.7


def test_real_prices_are_found_and_the_winners_only_fit_fails(data: Path) -> None:
    """Errors on 2,088 rows, whose own distribution is off by .02 now and then; the wins' are ten times that."""
    models = ("hazard", "kaplan_meier")
    table = quality_table(data, "ipinyou_raw/2259_train_1pct.csv.gz", models).set_index(["model", "fitted to"])
    kinds = ("all rows", "wins")
    for model in models:
        error, anlp, hidden_loss = (
            {kind: float(table[name].loc[(model, kind)]) for kind in kinds} for name in ("error", "anlp", "hidden")
        )
        assert error["all rows"] < 0.06
        assert error["wins"] > 5.0 * error["all rows"]
        assert anlp["wins"] > anlp["all rows"] + 0.3
        assert hidden_loss["wins"] > hidden_loss["all rows"] + 0.5
    assert float(table["gain_low"].loc[("hazard", "all rows")]) > 0.4, "features help"


def test_a_price_that_many_pay_keeps_its_jump() -> None:
    """An eighth of 1,000 prices is 700: the points kept hold it and 699, and no more than were asked for."""
    mass = np.full(1_000, 0.875 / 999)
    mass[700] = 0.125
    cdf = np.cumsum(mass)
    kept = knots_of(cdf, 40)
    assert len(kept) <= 40
    assert {0, 699, 700, 999} <= set(kept.tolist())
    assert knots_of(cdf, 1_000).tolist() == list(range(1_000))


def test_a_folder_without_the_logs_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ipinyou_hourly/1458.*give --data"):
        quality_table(tmp_path, "ipinyou_hourly/1458.csv.gz")
