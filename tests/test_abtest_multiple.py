"""Adjusted p-values: known answers, the oracle, and that order does not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.multiple import benjamini_hochberg, holm

levels = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04, times 4 3 2 1, then never falling
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_untested_claims_do_not_count() -> None:
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    np.testing.assert_allclose(benjamini_hochberg([np.nan, 0.01]), [np.nan, 0.01])
    assert holm([]).shape == (0,)


@given(levels)
def test_benjamini_hochberg_is_the_oracles(p: list[float]) -> None:
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12)


@given(levels, st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p: list[float], alpha: float) -> None:
    rejected = np.zeros(len(p), dtype=bool)
    for step, claim in enumerate(np.argsort(p, kind="stable")):
        if p[claim] * (len(p) - step) > alpha:
            break
        rejected[claim] = True
    np.testing.assert_array_equal(holm(p) <= alpha, rejected)


@given(levels)
def test_holm_is_between_no_correction_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(np.array(p) * len(p), 1)).all()
    assert (adjusted >= benjamini_hochberg(p) - 1e-12).all()


def test_holm_keeps_the_rate_of_any_false_claim() -> None:
    worlds = np.random.default_rng(0).random((4000, 5))
    any_false = np.mean([holm(p).min() <= 0.05 for p in worlds])
    assert 0.04 < any_false < 0.06


@pytest.mark.parametrize("bad", [[1.2], [-0.1], [[0.1]], 0.5])
def test_what_is_no_p_value_is_refused(bad: object) -> None:
    with pytest.raises(InputError, match="p-values"):
        holm(bad)  # type: ignore[arg-type]
