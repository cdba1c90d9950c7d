"""Sample-ratio mismatch: the chi-square tail is the oracle's, and the alarm is rare but does go off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.srm import chi_square_tail, sample_ratio


@given(st.floats(0, 600), st.integers(1, 30))
def test_the_tail_is_the_oracles(statistic: float, freedom: int) -> None:
    assert chi_square_tail(statistic, freedom) == pytest.approx(chi2.sf(statistic, freedom), rel=1e-9, abs=1e-300)


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=6))
def test_the_test_is_the_oracles(counts: list[int]) -> None:
    found, oracle = sample_ratio({str(i): count for i, count in enumerate(counts)}), chisquare(counts)
    assert found.statistic == pytest.approx(oracle.statistic, rel=1e-9, abs=1e-9)
    assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-6, abs=1e-300)


def test_a_broken_split_is_seen() -> None:
    # the example of Fabijan et al. 2019: 821,588 against 815,482 of a half-and-half split
    found = sample_ratio({"control": 821_588, "treated": 815_482})
    assert found.p_value == pytest.approx(1.8e-6, rel=0.1)
    assert found.broken
    assert not sample_ratio({"a": 5_020, "b": 4_980}).broken


def test_planned_shares() -> None:
    found = sample_ratio({"a": 900, "b": 100}, {"a": 0.9, "b": 0.1})
    assert found.statistic == pytest.approx(0.0)
    assert found.expected == pytest.approx({"a": 900.0, "b": 100.0})
    assert sample_ratio({"a": 900, "b": 100}).broken


def test_p_values_of_sound_splits_are_uniform() -> None:
    rng = np.random.default_rng(0)
    p = [
        sample_ratio(dict(zip("abc", rng.multinomial(3000, [1 / 3] * 3).tolist(), strict=True))).p_value
        for _ in range(2000)
    ]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(np.array(p) < 0.5) == pytest.approx(0.5, abs=0.035)


@pytest.mark.parametrize(
    ("counts", "shares", "said"),
    [
        ({"a": 5}, None, "at least two arms"),
        ({}, None, "at least two arms"),
        ({"a": 5, "b": 5}, {"a": 0.5}, "name each arm once"),
        ({"a": 5, "b": 5}, {"a": 0.5, "b": 0.6}, "sum to 1"),
        ({"a": 5, "b": 5}, {"a": 1.0, "b": 0.0}, "above 0"),
    ],
)
def test_what_is_no_split_is_refused(counts: dict[str, int], shares: dict[str, float] | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sample_ratio(counts, shares)
