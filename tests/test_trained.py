"""Rows of a learning curve: mean and interval over days; what cannot be compared is refused."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.agents.trained import judged
from bidpilot.ctr.errors import InputError


def test_a_row_is_the_mean_with_its_interval() -> None:
    row = judged(7, np.array([0.8, 0.9, 1.0, 0.9]))
    reach = 1.96 * np.std([0.8, 0.9, 1.0, 0.9], ddof=1) / 2
    assert row == pytest.approx({"steps": 7, "score": 0.9, "low": 0.9 - reach, "high": 0.9 + reach})
    assert judged(0, np.array([0.5])) == {"steps": 0, "score": 0.5, "low": 0.5, "high": 0.5}


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_score_that_is_no_number_ends_the_training(wrong: float) -> None:
    with pytest.raises(InputError, match="validation scores must be finite numbers; after 1,200 steps some are not"):
        judged(1_200, np.array([0.9, wrong]))
