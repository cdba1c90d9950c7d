"""Hillstrom's e-mail test: the counts of the file by hand, and what CUPED by history is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.words import markdown
from bidpilot.experiments.benchmarks.hillstrom import CONTROL, LOG, hillstrom

if TYPE_CHECKING:
    from pathlib import Path


def test_the_emails_brought_visits_orders_and_sales(data: Path) -> None:
    result = hillstrom(data)
    people = pd.read_csv(data / LOG).groupby("segment")[["visit", "conversion", "spend"]].mean()
    assert not result.split.broken
    assert len(result.lifts) == 12
    for row in result.lifts[:6]:
        assert row.value == pytest.approx(people.loc[row.arm, row.metric])
        assert row.control == pytest.approx(people.loc[CONTROL, row.metric])
        assert row.difference.interval()[0] > 0
        assert row.p_holm < 0.05
    for plain, adjusted in zip(result.lifts[:6], result.lifts[6:], strict=True):
        assert adjusted.difference.value == pytest.approx(plain.difference.value, abs=0.1 * plain.difference.error)
        assert 0.99 < adjusted.factor < 1.0, "what people spent last year says little of this fortnight"
        assert adjusted.difference.error == pytest.approx(plain.difference.error * adjusted.factor**0.5, rel=1e-3)
    assert markdown(result.lifts).count("\n") == 13


def test_a_folder_without_the_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hillstrom_email/dev_half.csv.gz is not in .*give --data"):
        hillstrom(tmp_path)
