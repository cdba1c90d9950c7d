"""The calibration table: known answers by slice, and the winner's curse of a noisy predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.calibration import logit, sigmoid
from bidpilot.ctr.slices import COLUMNS, Slice, by_decile, by_label, by_winning, calibration_table

if TYPE_CHECKING:
    import pandas as pd


def ratios(table: pd.DataFrame, kind: str) -> pd.Series[float]:
    return table[table["slice"] == kind].set_index("name")["ratio"]


def test_rates_and_ratios_by_slice_are_those_of_the_rows() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4])
    y = np.array([0, 1, 0, 1])
    table = calibration_table(y, p, by_label("hour", [3, 3, 11, 11]), np.random.default_rng(0))
    assert list(table.columns) == COLUMNS
    assert table["name"].tolist() == ["all", "3", "11"]
    assert table["predicted"].to_numpy() == pytest.approx([0.25, 0.15, 0.35])
    assert table["actual"].to_numpy() == pytest.approx([0.5, 0.5, 0.5])
    assert table["ratio"].to_numpy() == pytest.approx([0.5, 0.3, 0.7])
    assert table["count"].tolist() == [4, 2, 2]


def test_deciles_are_tenths_of_the_rows_in_order() -> None:
    p = np.random.default_rng(0).permutation(np.linspace(0.01, 0.5, 1_000))
    parts = list(by_decile(p))
    assert [part.name for part in parts] == [str(number) for number in range(1, 11)]
    assert [int(part.rows.sum()) for part in parts] == [100] * 10
    means = [p[part.rows].mean() for part in parts]
    assert means == sorted(means)


def test_the_rows_won_are_the_cheapest_for_their_worth() -> None:
    price, worth = np.array([10, 20, 30, 40]), np.array([1.0, 1.0, 10.0, 0.0])
    (half,) = by_winning(price, worth, [0.5])
    assert half.name == "50%"
    assert half.rows.tolist() == [True, False, True, False]


def test_what_is_worth_nothing_is_never_won() -> None:
    (every,) = by_winning(np.array([10, 20]), np.zeros(2), [1.0])
    assert not every.rows.any()


def test_a_perfect_model_is_calibrated_on_what_it_wins_too() -> None:
    rng = np.random.default_rng(1)
    p = sigmoid(rng.normal(-3.0, 1.0, 100_000))
    price = rng.lognormal(8.0, 0.5, 100_000).astype(np.int64)
    table = calibration_table(rng.random(100_000) < p, p, by_winning(price, p), rng)
    assert ((table["ratio_low"] < 1.05) & (table["ratio_high"] > 0.95)).all()


def test_the_winners_curse_of_a_noisy_predictor_shows_in_the_rows_it_wins() -> None:
    """Predictions of the right mean whose noise passes for signal: the fewer rows won, the more overrated."""
    rng = np.random.default_rng(2)
    truth = sigmoid(rng.normal(-3.0, 0.5, 200_000))
    noisy = sigmoid(logit(truth) + rng.normal(0.0, 0.7, 200_000))
    noisy *= truth.mean() / noisy.mean()
    price = rng.lognormal(8.0, 0.5, 200_000).astype(np.int64)
    table = calibration_table(rng.random(200_000) < truth, noisy, by_winning(price, noisy), rng)
    assert ratios(table, "overall")["all"] == pytest.approx(1.0, abs=0.03)
    won = ratios(table, "won")
    assert won.is_monotonic_increasing
    assert won.iloc[0] > 1.1
    assert won.iloc[-1] > 1.5
    assert (table[table["slice"] == "won"]["ratio_low"] > 1.0).all()


def test_slices_without_rows_are_left_out() -> None:
    nobody = Slice("segment", "none", np.zeros(3, dtype=bool))
    table = calibration_table([0, 1, 0], np.full(3, 0.3), [nobody], np.random.default_rng(0))
    assert table["slice"].tolist() == ["overall"]


def test_without_rows_the_table_is_empty_but_has_its_columns() -> None:
    table = calibration_table([], np.zeros(0), by_decile(np.zeros(0)), np.random.default_rng(0))
    assert table.empty
    assert list(table.columns) == COLUMNS
