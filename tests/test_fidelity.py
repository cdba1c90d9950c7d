"""A true simulator passes the check of fidelity, a wrong one fails it; totals are those of the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fidelity import (
    PRICES,
    QUANTITIES,
    DayNoise,
    HeldOutRows,
    arrivals,
    failures,
    fidelity_table,
    periods,
)
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.price_models.table import TableLaws
from bidpilot.ctr.prices import HourlyPrices

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

OUTCOMES = (*QUANTITIES[1:], *PRICES)
STILL = DayNoise()


def law() -> HourlyPrices:
    """Return a law of prices by two groups, dearer in the evening."""
    rng = np.random.default_rng(0)
    hour, group = rng.integers(24, size=40_000), rng.integers(2, size=40_000)
    price = np.rint(2_000 * np.exp(0.3 * group + 0.02 * hour + 0.5 * rng.standard_normal(40_000))).astype(np.int64)
    return HourlyPrices.fit(price, np.ones(40_000, dtype=bool), hour, group)


def period(prices: HourlyPrices, seed: int, scale: float = 1.0, rows: int = 12_000) -> HeldOutRows:
    """Return two days that happened as the law has it, prices times scale."""
    rng = np.random.default_rng(seed)
    hour, group, pctr = rng.integers(24, size=rows), rng.integers(2, size=rows), rng.uniform(0.02, 0.2, rows)
    laws = TableLaws(prices, hour, group)
    price = np.rint(laws.sample(rng) * scale).astype(np.int64)
    bid = rng.integers(1_000, 6_000, rows)
    won = bid >= price
    click = won & (rng.random(rows) < pctr)
    reserve, day = np.zeros(rows, dtype=np.int64), rng.integers(2, size=rows)
    return HeldOutRows(bid, np.where(won, price, 0), reserve, won, won, click, hour, day, laws, pctr[None, :])


def compared(rows: HeldOutRows, noise: DayNoise = STILL, copies: int = 200) -> pd.DataFrame:
    streams = np.random.default_rng(9).spawn(copies)
    drawn = np.array([rows.simulate(noise, each)[0] for each in streams]).swapaxes(0, 1)
    return fidelity_table(dict(zip(OUTCOMES, drawn, strict=True)), dict(zip(OUTCOMES, rows.logged, strict=True)))


def total(table: pd.DataFrame, quantity: str) -> dict[str, float]:
    row = table[(table["hour"] == "all") & (table["quantity"] == quantity)].iloc[0]
    return {str(name): value for name, value in row.items()}


def test_a_true_simulator_passes_and_its_gaps_are_those_of_chance() -> None:
    """Each total of a true simulator is unexplained one time in twenty: of 36 about 2, and 7 once in 500."""
    prices = law()
    tables = [compared(period(prices, seed, rows=4_000), copies=100) for seed in range(12)]
    assert sum(len(failures(table)) for table in tables) < 7
    assert sum(not failures(table) for table in tables) > 6
    share = pd.concat(tables)["explained_by_noise"].mean()
    assert 0.91 < share < 0.98


@pytest.mark.parametrize("noise", [STILL, DayNoise(0.1, 0.05)])
def test_prices_that_are_a_third_higher_than_simulated_fail(noise: DayNoise) -> None:
    prices = law()
    table = compared(period(prices, 1, scale=1.3), noise)
    assert "wins" in failures(table)
    assert total(table, "wins")["low"] > 1.0
    assert total(table, "price q50")["ratio"] < 0.95


def test_days_that_differ_widen_the_range_of_what_chance_explains() -> None:
    prices = law()
    rows = period(prices, 2)
    still, moving = (total(compared(rows, noise), "wins") for noise in (STILL, DayNoise(0.15, 0.1)))
    assert moving["high"] - moving["low"] > 3 * (still["high"] - still["low"])


def test_twice_the_click_rate_shows_in_clicks_alone() -> None:
    prices = law()
    rows = period(prices, 3)
    table = compared(replace(rows, pctr=2.0 * rows.pctr))
    assert failures(table) == ["clicks"]
    assert total(table, "clicks")["ratio"] == pytest.approx(2.0, abs=0.25)


def test_each_copy_follows_one_member_of_an_ensemble() -> None:
    prices = law()
    rows = period(prices, 4)
    none, always = np.zeros(len(rows.hour)), np.ones(len(rows.hour))
    both = replace(rows, pctr=np.array([none, always]))
    drawn = [both.simulate(STILL, each)[0][:, -1] for each in np.random.default_rng(0).spawn(20)]
    assert {clicks in {0.0, wins} for wins, _, clicks, *_ in drawn} == {True}
    assert len({clicks > 0 for _, _, clicks, *_ in drawn}) == 2


def rows_by_hand(**columns: object) -> AuctionLog:
    given = {"time": [10.0, 20.0, 3_700.0, 90_000.0], "bid": [5_000_000, 1, 4_000_000, 9_000_000]}
    given |= {"price": [2_000_000, 0, 3_000_000, 7_000_000], "price_known": [True, False, True, True]}
    given |= {"won": [True, False, True, True], "click": [1, 0, 0, 1]} | columns
    return AuctionLog.from_columns({name: np.array(value) for name, value in given.items()}, source="by hand")


def laws_by_hand(rows: int) -> TableLaws:
    """Return the same law for every row: 10 or 20 micro-currency."""
    zeros = np.zeros(2, dtype=np.int64)
    prices = HourlyPrices.fit(np.array([10, 20]), np.ones(2, dtype=bool), zeros, zeros)
    return TableLaws(prices, np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64))


def test_all_prices_are_compared_and_a_wrong_level_shows_in_them() -> None:
    """The median of a simulator a third too cheap is off, that of a true one is not; lost rows are counted."""
    prices, found = law(), {}
    for scale in (1.0, 1.3):
        rows = period(prices, 5, scale=scale)
        drawn = np.array([rows.simulate(STILL, each)[1] for each in np.random.default_rng(1).spawn(40)])
        table = rows.prices(drawn)
        found[scale] = table[(table["hour"] == "all") & (table["level"] == 0.5)].iloc[0]
    assert found[1.0]["ratio"] == pytest.approx(1.0, abs=0.02)
    assert found[1.0]["explained_by_noise"]
    assert found[1.3]["ratio"] == pytest.approx(1 / 1.3, abs=0.03)
    assert not found[1.3]["explained_by_noise"]


def test_logged_totals_are_those_of_the_rows() -> None:
    log = rows_by_hand()
    rows = HeldOutRows.of(log, np.full((1, 4), 0.1), laws_by_hand(4))
    wins, spend, clicks, _, median, _ = rows.logged
    assert wins[[0, 1, 24]].tolist() == [1.0, 2.0, 3.0]
    assert spend[[0, 1, 24]].tolist() == [2.0, 10.0, 12.0]
    assert clicks[[0, 1, 24]].tolist() == [1.0, 1.0, 2.0]
    assert median[[0, 1, 24]].tolist() == [2.0, 3.0, 3.0]
    assert np.isnan(median[2])
    assert rows.day.tolist() == [0, 0, 0, 1]


def test_at_first_price_what_is_won_costs_the_bid() -> None:
    rows = HeldOutRows.of(rows_by_hand(), np.full((1, 4), 0.1), laws_by_hand(4), first_price=True)
    assert rows.logged[1][24] == 18.0


def test_impressions_bought_without_recorded_bids_are_always_won() -> None:
    columns = {"time": [1.0, 2.0], "price": [10, 20], "price_known": [True, True]}
    log = AuctionLog.from_columns({name: np.array(value) for name, value in columns.items()})
    rows = HeldOutRows.of(log, np.full((1, 2), 0.5), laws_by_hand(2))
    assert rows.simulate(STILL, np.random.default_rng(0))[0][0, 24] == 2.0


def test_lost_rows_without_bids_are_refused() -> None:
    log = AuctionLog.from_columns({"time": np.arange(2.0), "won": np.array([True, False])}, source="mine.csv")
    with pytest.raises(InputError, match=r"mine\.csv: no bids are recorded.*map the column bid"):
        HeldOutRows.of(log, np.full((1, 2), 0.5), laws_by_hand(2))


def test_arrivals_count_rows_and_the_days_that_have_an_hour() -> None:
    count, covered = arrivals(rows_by_hand())
    assert count[[0, 1, 24]].tolist() == [2.0, 2.0, 4.0]
    assert covered[:3].tolist() == [1, 2, 0]


def test_periods_add_up_as_many_days_as_an_hour_has() -> None:
    days = np.full((5, 24), 3.0)
    covered = np.array([2, 1, *[0] * 22])
    made = periods(days, covered, 4, np.random.default_rng(0))
    assert made[:, [0, 1, 2, 24]].tolist() == [[6.0, 3.0, 0.0, 9.0]] * 4


def test_day_noise_has_the_spread_it_names() -> None:
    drawn = np.log(DayNoise(0.2, 0.1).draw(20_000, np.random.default_rng(0)))
    assert drawn[:, -1].std() == pytest.approx((0.2**2 + 0.1**2) ** 0.5, rel=0.03)
    assert drawn.mean() == pytest.approx(0.0, abs=0.01)


def known(logged: float, low: float, high: float) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Return a quantity whose simulated totals lie evenly between low and high."""
    drawn = np.tile(np.linspace(low, high, 101)[:, None], (1, 25))
    return {"wins": drawn}, {"wins": np.full(25, logged)}


@pytest.mark.parametrize(
    ("logged", "low", "high", "close", "noise"),
    [(100, 101, 103, True, False), (100, 80, 140, False, True), (100, 120, 140, False, False), (0, 0, 2, False, False)],
)
def test_a_gap_counts_where_it_is_large_and_beyond_chance(
    logged: float, low: float, high: float, *, close: bool, noise: bool
) -> None:
    table = fidelity_table(*known(logged, low, high))
    row = total(table, "wins")
    assert (row["within_5_percent"], row["explained_by_noise"]) == (close, noise)
    assert failures(table) == ([] if close or noise else ["wins"])
