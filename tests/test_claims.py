"""Claims of a comparison: made-up records whose differences, profiles and p-values are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.experiments.aggregates import above
from bidpilot.experiments.claims import COMPARISON, PROFILE, comparison_table, outcome, profile_table
from bidpilot.experiments.evaluate import Contender, Field, Played
from bidpilot.experiments.metrics import RECORD
from bidpilot.experiments.statistics import day_weights

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

DAYS, SHARES = 30, (1 / 2, 1 / 8)
ROLES = {"ppo": "learner", "good": "baseline", "bad": "baseline", "same": "baseline", "oracle": "oracle"}


def contenders(roles: dict[str, str]) -> list[Contender]:
    def nothing(*_: object) -> None:
        raise AssertionError

    return [Contender(name, role, nothing, lambda _share: "{}") for name, role in roles.items()]  # type: ignore[arg-type]


def field(replicates: int = 2000) -> Field:
    """Return a field of as many days as DAYS, resampled whole; the days themselves are not looked at."""
    draws = day_weights(DAYS, replicates, np.random.default_rng(1))
    return Field((), (), np.ones((1, DAYS)), draws)


def records(scores: FloatArray) -> FloatArray:
    """Return records (e, len(RECORD)) of days on which 2 was possible."""
    table = np.ones((len(scores), len(RECORD)))
    table[:, RECORD.index("best")] = 2.0
    table[:, RECORD.index("expected")] = 2.0 * scores
    return table


@pytest.fixture(scope="module")
def played() -> Played:
    """Give a learner much better than bad, hardly better than good, and a baseline that is the learner."""
    rng = np.random.default_rng(0)
    kept: dict[tuple[str, float], FloatArray] = {}
    for share in SHARES:
        day = rng.normal(0.8, 0.05, DAYS)
        luck = {name: day + rng.normal(0.0, 0.02, DAYS) for name in ROLES}
        luck["ppo"] += 0.1
        luck["good"] += 0.098
        luck["same"] = luck["ppo"]
        kept |= {(name, share): records(np.clip(score, 0.0, 1.0)) for name, score in luck.items()}
    return Played(kept, {}, {}, {})


def test_one_row_for_each_learner_budget_and_baseline(played: Played) -> None:
    table = comparison_table(played, field(), contenders(ROLES), SHARES)
    assert tuple(table.columns) == COMPARISON
    assert set(zip(table["budget"], table["policy"], strict=True)) == {
        (share, name) for share in SHARES for name in ("good", "bad", "same")
    }
    assert (table["learner"] == "ppo").all()
    assert (table["p_holm"] >= table["p"]).all()
    rows = {(row["policy"], row["budget"]): row for row in table.to_dict("records")}
    for share in SHARES:
        mine, theirs = (played.records[name, share][:, RECORD.index("expected")] / 2 for name in ("ppo", "bad"))
        bad, same = rows["bad", share], rows["same", share]
        assert bad["difference"] == pytest.approx(mine.mean() - theirs.mean())
        assert bad["probability_of_improvement"] == pytest.approx((mine > theirs).mean())
        assert bad["p_holm"] < 1e-4  # beyond what 2000 replicates can count, for six claims
        assert rows["good", share]["p_holm"] > 0.05
        assert [same[name] for name in ("difference", "low", "high")] == [0.0, 0.0, 0.0]
        assert [same[name] for name in ("probability_of_improvement", "poi_low", "poi_high", "p")] == [0.5, 0.5, 0.5, 1]


def test_the_outcome_counts_claims_alone_and_held_together() -> None:
    table = pd.DataFrame(
        {
            "learner": "ppo",
            "difference": [0.1, 0.1, -0.1, 0.1, np.nan],
            "p": [0.001, 0.04, 0.02, 0.5, np.nan],
            "p_holm": [0.004, 0.08, 0.06, 0.5, np.nan],
        }
    )
    assert outcome(table) == {"ppo": {"claims": 4, "ahead": 2, "behind": 1, "ahead_holm": 1, "behind_holm": 0}}


def test_without_a_learner_or_a_baseline_there_is_no_claim(played: Played) -> None:
    for role in ("learner", "baseline"):
        few = {name: each for name, each in ROLES.items() if each != role}
        table = comparison_table(played, field(20), contenders(few), SHARES)
        assert tuple(table.columns) == COMPARISON
        assert table.empty
        assert outcome(table) == {}


def test_the_profile_is_the_share_of_days_above_a_threshold(played: Played) -> None:
    table = profile_table(played, field(), contenders(ROLES), SHARES)
    assert tuple(table.columns) == PROFILE
    assert set(table["policy"]) == set(ROLES)
    scores = np.concatenate([played.records["bad", share][:, RECORD.index("expected")] / 2 for share in SHARES])
    rows = table[table["policy"] == "bad"]
    np.testing.assert_allclose(rows["share"], [(scores > tau).mean() for tau in rows["tau"]])
    assert (rows["low"] <= rows["share"] + 1e-12).all()
    assert (rows["share"] <= rows["high"] + 1e-12).all()
    middle = rows[(rows["tau"] > 0.79) & (rows["tau"] < 0.81)]
    assert (middle["high"] - middle["low"]).between(0.1, 0.4).all()  # 2 x 1.96 x sqrt(1/4 / 60) = 0.25


def test_copies_of_a_day_are_draws_of_their_own() -> None:
    """Where impressions are resampled within a day, the estimate is the day's and each replicate its copy's."""
    point, draws = np.array([[1.0, 0, 0, 0]]), np.concatenate([np.zeros((3, 1)), np.eye(3)], axis=1)
    of_copies = Field((), (), point, draws)
    values = np.array([0.5, 0.2, 0.4, 0.9])
    np.testing.assert_array_equal(of_copies.shares_of(values), values)
    np.testing.assert_array_equal(of_copies.shares_of(above(values, np.array([0.3, 0.6])))[0], [1.0, 0.0])
