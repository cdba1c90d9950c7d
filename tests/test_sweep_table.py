"""The summary of a sweep: paired differences with intervals that know of seeds, and sentences no stronger than they."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bidpilot.experiments.sweep.grid import SweepConfig, cells_of
from bidpilot.experiments.sweep.table import rows_table, summary_table
from bidpilot.experiments.sweep.words import sentences

SEEDS, DAYS = 6, 15


def made(shift: dict[str, float], seed_effect: float = 0.0, noise: float = 0.01) -> pd.DataFrame:
    """Return rows of policies whose scores differ by a shift, on days that differ much more than they do."""
    rng = np.random.default_rng(0)
    days, rows = rng.uniform(0.3, 0.9, (SEEDS, DAYS)), []
    for policy, by in shift.items():
        scores = days + by + rng.normal(0, noise, days.shape) + rng.normal(0, seed_effect, (SEEDS, 1))
        rows += [
            {"scenario": "S", "budget": 1 / 8, "policy": policy, "seed": s, "day": d, "score": scores[s, d]}
            | {"spend": 0.5, "budget_currency": 1.0, "excess": 1.2 if policy == "c" and d == 0 else 0.0}
            for s in range(SEEDS)
            for d in range(DAYS)
        ]
    return pd.DataFrame(rows)


def told(rows: pd.DataFrame, against: str = "a") -> dict[str, dict[Any, Any]]:
    return {row["policy"]: row for row in summary_table(rows, against).to_dict("records")}


def test_differences_are_paired_so_small_ones_are_seen() -> None:
    found = told(made({"a": 0.0, "b": 0.02, "c": -0.02}))
    assert found["b"]["difference"] == pytest.approx(0.02, abs=0.004)
    assert found["b"]["difference_low"] > 0.01
    assert found["c"]["difference_high"] < -0.01
    assert found["b"]["score_high"] - found["b"]["score_low"] > 0.05  # alone, days tell little
    assert (found["a"]["difference"], found["a"]["difference_high"], found["a"]["ahead"]) == (0.0, 0.0, 0.0)
    assert found["b"]["ahead"] > 0.8
    assert (found["b"]["pairs"], found["b"]["utilisation"]) == (SEEDS * DAYS, 0.5)
    assert (found["b"]["limit_broken"], found["c"]["limit_broken"]) == (0.0, 1 / DAYS)


def test_what_seeds_share_widens_the_interval() -> None:
    """Days of a seed share their past: with an effect of the seed, more days of it would not help."""
    plain, shared = (told(made({"a": 0.0, "b": 0.0}, effect))["b"] for effect in (0.0, 0.05))
    width = [one["difference_high"] - one["difference_low"] for one in (plain, shared)]
    # an interval is some 4 standard errors of the difference; drawing twice makes it wider where seeds share nothing
    assert width[1] == pytest.approx(4 * 0.05 * np.sqrt(2 / SEEDS), rel=0.5)
    least = 4 * 0.01 * np.sqrt(2 / (SEEDS * DAYS))
    assert least < width[0] < 2 * least


def test_a_policy_that_was_played_less_is_compared_where_both_were() -> None:
    rows = made({"a": 0.0, "b": 0.02})
    part = rows[(rows["policy"] == "a") | (rows["seed"] > 2)]
    found = told(part)
    assert found["b"]["pairs"] == 3 * DAYS
    assert found["b"]["difference"] == pytest.approx(0.02, abs=0.006)
    alone = told(rows[rows["policy"] == "b"])["b"]
    assert np.isnan(alone["difference_low"])
    assert np.isnan(told(rows[(rows["seed"] == 0) & (rows["day"] == 0)])["b"]["score_low"])  # one day, no interval


def test_sentences_name_the_best_and_what_cannot_be_told() -> None:
    summary = summary_table(made({"a": 0.0, "b": 0.02, "c": -0.02, "d": 0.0}), "a")
    config = SweepConfig(policies=("a", "b", "c", "d"), seeds=(0, 1))
    lines = sentences(summary, config)
    assert lines[0].startswith("S, budget 1/8: b scores most, 0.")
    assert lines[0].endswith("of 4")
    assert lines[1].startswith("  points against a: more b +")
    assert "; less c -" in lines[1]
    assert "; cannot be told d " in lines[1]
    assert lines[2] == "  cost limit broken by more than a tenth, share of days: c 7 %"
    assert "seeds (2) x days (20)" in lines[3]
    assert "give --seeds 5" in lines[4]
    assert lines[-1].startswith("Policies play their default settings; ")
    five = SweepConfig(seeds=tuple(range(5)), settings={"pid": {}})
    assert len(sentences(summary, five)) == len(lines) - 1
    assert "default settings but for pid" in sentences(summary, five)[-1]


def test_many_comparisons_are_warned_of() -> None:
    summary = summary_table(made({f"p{i}": 0.0 for i in range(31)}), "p0")
    assert "Of 30 intervals of differences, some 2 would miss 0" in "\n".join(sentences(summary, SweepConfig()))


def test_rows_carry_where_they_come_from() -> None:
    config = SweepConfig(policies=("pid",), budgets=(1 / 8,), seeds=(4,), days=1)
    (cell,) = cells_of(config, Path())
    row = rows_table([(cell, [{"day": 0, "score": 0.5}])]).to_dict("records")[0]
    expected: dict[str, Any] = {"scenario": "bidpilot/Pacing-v0", "budget": 1 / 8, "budget_label": "1/8", "seed": 4}
    assert row == expected | {"policy": "pid", "day": 0, "score": 0.5, "cell": cell.key}
