"""Numbers as a person reads them."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.experiments.report_format import decimals, flatten, number


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.4, "12,345"), (0.0123456, "0.0123"), (-4.2, "\N{MINUS SIGN}4.20"), (0.0, "0"), (98.76, "98.8")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    """Known answers."""
    assert number(value) == text


def test_a_rounded_zero_has_no_sign() -> None:
    """A difference of -0.001 points is written 0.00."""
    assert number(-0.001, 2) == "0.00"
    assert decimals([np.nan, 0.0]) == 0


def test_metadata_is_flattened_with_dotted_names() -> None:
    """Counts get separators, seeds and hashes do not."""
    nested = {"seed": 12345, "log": {"rows": 200_000, "columns": ["a", "b"]}, "hash": "00123", "gpu": False}
    assert dict(flatten(nested)) == {
        "seed": "12345",
        "log.rows": "200,000",
        "log.columns": "a, b",
        "hash": "00123",
        "gpu": "False",
    }
