"""Weights undo selection by winning where the law of winning is known; clipping keeps them in bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fitting import ResponseConfig
from bidpilot.ctr.selection import compare_weighting, effective_rows, excess_loss, group_rates, selection_weights
from bidpilot.ctr.synthetic import Exchange, ExchangeConfig


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60), st.floats(1.001, 80.0))
def test_weights_have_mean_1_stay_below_the_cap_and_fall_with_the_probability(chance: list[float], cap: float) -> None:
    p = np.array(chance)
    found = selection_weights(p, cap)
    assert found.weight.mean() == pytest.approx(1.0)
    assert found.weight.max() <= cap * (1 + 1e-9)
    assert (np.diff(found.weight[np.argsort(p)]) <= 1e-12).all()
    assert 0 < found.effective <= len(p) * (1 + 1e-9)


def test_unclipped_weights_are_the_inverse_probabilities() -> None:
    p = np.array([0.5, 0.25, 1.0])
    found = selection_weights(p, cap=3.0)
    assert found.weight == pytest.approx(np.array([2.0, 4.0, 1.0]) / (7.0 / 3.0))
    assert found.clipped == 0.0
    assert found.effective == pytest.approx(7.0**2 / 21.0)


def test_the_cap_binds_exactly() -> None:
    """Weights 100, 1, 1, 1 at a cap of 2: c = 2 (c + 3) / 4, so c = 3."""
    found = selection_weights(np.array([0.01, 1.0, 1.0, 1.0]), cap=2.0)
    assert found.weight == pytest.approx([2.0, 2 / 3, 2 / 3, 2 / 3])
    assert found.clipped == 0.25


def test_effective_rows_of_equal_weights_are_the_rows() -> None:
    assert effective_rows(np.full(7, 3.0)) == pytest.approx(7.0)


def test_weights_recover_the_rates_of_all_opportunities_from_those_won() -> None:
    """Each group holds people who click more and cost more; the wins alone show the cheap ones."""
    rng = np.random.default_rng(0)
    group, keen = rng.integers(3, size=200_000), rng.random(200_000) < 0.3
    rate = np.array([0.05, 0.1, 0.2])[group] * np.where(keen, 2.0, 0.5)
    chance = np.where(keen, 0.2, 0.8)
    won, click = rng.random(200_000) < chance, rng.random(200_000) < rate
    every = group_rates(click, np.ones(200_000), group, 3)
    naive = group_rates(click[won], np.ones(won.sum()), group[won], 3)
    weighted = group_rates(click[won], selection_weights(chance[won]).weight, group[won], 3)
    assert (np.abs(naive / every - 1.0) > 0.25).all()
    assert weighted == pytest.approx(every, rel=0.06)


def test_a_group_without_rows_has_no_rate() -> None:
    assert np.isnan(group_rates([1], np.ones(1), np.array([0]), 2)[1])


@pytest.mark.parametrize(
    ("chance", "cap", "said"),
    [([0.5], 1.0, "above 1"), ([0.5, np.nan], 5.0, "row 1 has nan"), ([1.5], 5.0, "row 0"), ([], 5.0, "no rows")],
)
def test_what_gives_no_weights_is_refused(chance: list[float], cap: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        selection_weights(np.array(chance), cap)


def test_excess_loss_of_the_truth_is_0_and_of_a_constant_known() -> None:
    truth = np.array([0.1, 0.3])
    assert excess_loss(truth, truth) == 0.0
    entropy = -(truth * np.log(truth) + (1 - truth) * np.log(1 - truth)).mean()
    flat = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    assert excess_loss(truth, np.full(2, 0.2)) == pytest.approx(100 * (flat / entropy - 1))


def test_the_comparison_on_the_exchange_judges_both_fits_by_the_truth() -> None:
    """Without weights clicks on what was lost are underrated: dear impressions click more, and the cheap are won."""
    log, truth = Exchange(ExchangeConfig(opportunities=4_000, bid=0.8)).logged(2, np.random.default_rng(1))
    config = ResponseConfig(model="logistic", epochs=2)
    table = compare_weighting(log, truth, np.ones(len(log)), config, np.random.default_rng(2))
    off, on = (table[table["weighting"] == name].set_index("rows") for name in ("off", "on"))
    assert set(table["weighting"]) == {"off", "on"}
    assert (table["excess_percent"] > 0).all()
    assert off["ratio"]["lost"] < off["ratio"]["won"]
    assert on["count"].equals(off["count"])
    assert off["count"]["won"] + off["count"]["lost"] == off["count"]["all"] == len(log)
