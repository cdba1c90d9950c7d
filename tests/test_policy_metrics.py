"""Metrics of policies: ratios of sums, undefined where a denominator is 0."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.experiments.metrics import METRICS, RECORD, metric


def _record(**known: float) -> list[float]:
    return [known.get(name, 0.0) for name in RECORD]


RECORDS = np.array(
    [
        _record(
            episodes=1, budget=10, offered=100, wins=20, spend=8, clicks=4, value=12, expected=11, best=12, pace=0.1
        ),
        _record(episodes=1, budget=10, offered=300, wins=40, spend=2, clicks=0, value=0, expected=1, best=8, pace=0.3),
    ]
)
BOTH = np.ones((1, 2))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spend", 5.0),
        ("utilisation", 0.5),
        ("win_rate", 60 / 400),
        ("ecpc", 10 / 4),
        ("roi", 0.2),
        ("roas", 1.2),
        ("r_over_rstar", 12 / 20),
        ("pacing_error", 0.2),
        ("wins", 30.0),
    ],
)
def test_hand_made_table(name: str, expected: float) -> None:
    """Ratios of sums: eCPC is 10 / 4, although the second day alone has none."""
    assert metric(name, RECORDS, BOTH)[0] == pytest.approx(expected)


def test_no_conversions_leave_the_cpa_undefined() -> None:
    assert np.isnan(metric("cpa", RECORDS, BOTH)).all()


def test_weights_count_days() -> None:
    assert metric("spend", RECORDS, np.array([[3.0, 0.0]]))[0] == pytest.approx(8.0)


def test_every_metric_says_how_it_is_written() -> None:
    assert {entry.kind for entry in METRICS} <= {"ratio", "money", "count"}
    assert len({entry.name for entry in METRICS}) == len(METRICS)
