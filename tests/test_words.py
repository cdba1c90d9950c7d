"""The plain words say what the intervals allow, no more."""

from __future__ import annotations

import pandas as pd
import pytest

from bidpilot.experiments.words import summary


def _results(gain: float, low: float, high: float) -> pd.DataFrame:
    base = {"budget": 0.125, "budget_label": "1/8", "best_baseline": "pid"}
    rows = [
        {"policy": "pid", "role": "baseline", "r_over_rstar": 0.95, "difference": 0.0},
        {"policy": "ppo", "role": "learner", "r_over_rstar": 0.95 + gain, "difference": gain},
        {"policy": "oracle", "role": "oracle", "r_over_rstar": 0.99, "difference": 0.04},
    ]
    bounds = {"difference_low": low, "difference_high": high}
    return pd.DataFrame([base | bounds | row for row in rows])


@pytest.mark.parametrize(
    ("gain", "low", "high", "said"),
    [
        (0.02, 0.01, 0.03, "earns 2.00 % of the possible more than pid"),
        (-0.02, -0.03, -0.01, "earns 2.00 % of the possible less than pid"),
        (0.02, -0.01, 0.05, "cannot be told apart"),
    ],
)
def test_the_claim_follows_the_interval(gain: float, low: float, high: float, said: str) -> None:
    lines = summary(_results(gain, low, high), {"evaluated_on": "30 days"})
    assert lines[0] == "Compared on 30 days."
    assert said in lines[1]


def test_the_oracles_gap_is_named() -> None:
    assert "misses up to 1.0 %" in " ".join(summary(_results(0.0, -0.01, 0.01), {}))
