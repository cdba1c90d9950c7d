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
        (0.019, 0.0095, 0.0285, "At budget 1/8 ppo earns 2.0 % more than pid, between 1.0 and 3.0. That is 96.9 %"),
        (-0.019, -0.0285, -0.0095, "ppo earns 2.0 % less than pid, between 1.0 and 3.0."),
        (-0.019, -0.0475, 0.0095, "ppo earns 2.0 % less than pid, between 5.0 less and 1.0 more."),
    ],
)
def test_a_gain_is_told_in_per_cent_of_the_rivals_worth(gain: float, low: float, high: float, said: str) -> None:
    assert said in summary(_results(gain, low, high), {})[1]


@pytest.mark.parametrize(
    ("gain", "low", "high", "said"),
    [
        (0.02, 0.01, 0.03, "ppo earns more than the best tuned baseline at budget 1/8."),
        (-0.02, -0.03, -0.01, "ppo earns less than the best tuned baseline at budget 1/8."),
        (0.02, -0.01, 0.05, "ppo cannot be told from the best tuned baseline at budget 1/8."),
    ],
)
def test_the_claim_follows_the_interval(gain: float, low: float, high: float, said: str) -> None:
    lines = summary(_results(gain, low, high), {"evaluated_on": "30 days"})
    assert lines[0] == said
    assert f"{100 * gain:+.2f} points against pid (95 % interval {100 * low:+.2f} to {100 * high:+.2f})" in lines[1]
    assert lines[-1] == "Compared on 30 days."


def test_several_claims_are_counted_and_what_holm_leaves() -> None:
    found = {"claims": 12, "ahead": 7, "behind": 2, "ahead_holm": 5, "behind_holm": 0}
    lines = summary(_results(0.02, 0.01, 0.03), {"claims": {"ppo": found}})
    assert "12 claims at once: ppo earns more in 7 and less in 2 at p < 0.05" in lines[1]
    assert "of them 5 and 0 are left" in lines[1]
    alone = summary(_results(0.02, 0.01, 0.03), {"claims": {"ppo": found | {"claims": 1}}})
    assert not any("Holm" in line for line in alone)


def test_without_a_learner_the_best_policy_is_named() -> None:
    results = _results(0.0, -0.01, 0.01)
    assert summary(results[results["role"] == "baseline"], {})[0] == "The best policy played is pid (budget 1/8)."


def test_the_oracles_gap_is_named() -> None:
    said = " ".join(summary(_results(0.0, -0.01, 0.01), {"truth_known": True}))
    assert "misses up to 1.0 %" in said
    assert "replayed" not in said


def test_on_a_replayed_log_the_yardstick_is_named_and_no_gap_claimed() -> None:
    said = " ".join(summary(_results(0.0, -0.01, 0.01), {"truth_known": False}))
    assert "misses" not in said
    assert "not the predictions" in said


def test_without_a_baseline_nothing_is_claimed_against_one() -> None:
    results = _results(0.0, -0.01, 0.01).query("policy != 'pid'").assign(difference=float("nan"), best_baseline="")
    assert summary(results, {})[0] == "ppo was played without a baseline beside it."
