"""Search spaces: ranges mean what they say, and trials are spread evenly over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.agents import incremental, pid
from bidpilot.agents.space import Choice, Span, spread
from bidpilot.ctr.errors import InputError


def test_a_span_is_even_in_the_logarithm_or_in_the_number() -> None:
    assert Span(0.01, 1.0).at(0.5) == pytest.approx(0.1)
    assert Span(0.0, 1.0, log=False).at(0.25) == 0.25
    assert Span(4, 48, whole=True).at(0.5) == 14
    assert isinstance(Span(4, 48, whole=True).at(0.5), int)


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_values_stay_within_their_field(share: float) -> None:
    assert 0.03 * (1 - 1e-12) <= Span(0.03, 0.6).at(share) <= 0.6 * (1 + 1e-12)
    assert Choice(("a", "b", "c")).at(share) == "abc"[int(3 * share)]


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (1.0, np.inf), (np.nan, 1)])
def test_an_empty_span_is_refused(low: float, high: float) -> None:
    with pytest.raises(InputError, match="a span goes from a lower to a higher number"):
        Span(low, high)


def test_no_gap_between_trials_is_much_wider_than_the_even_one() -> None:
    gains = np.log(np.sort([config.gain for config in spread(incremental.Config, 33)[1:]]))
    reach = np.log(0.45 / 0.01)
    assert np.diff(gains).max() < 2.0 * reach / 32


def test_two_fields_fill_their_square() -> None:
    tried = spread(pid.Config, 65)[1:]
    cells = {(int(4 * np.log(c.kp / 0.03) / np.log(20)), int(4 * np.log(c.ki / 0.005) / np.log(40))) for c in tried}
    assert len(cells) == 16
