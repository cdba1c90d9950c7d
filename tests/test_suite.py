"""The suite: days by role, records, verdicts that can go either way, and the whole of it on a small family."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from safetensors.numpy import save
from scipy.stats import trim_mean

from bidpilot.agents import learned, linear
from bidpilot.agents.bundle import policy_settings, policy_tensors
from bidpilot.agents.oracle import Oracle
from bidpilot.agents.registry import policies
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.envs.scenario import Limit
from bidpilot.experiments.suite.command import missing_policies, suite
from bidpilot.experiments.suite.days import Sizes, campaign_of, days_of, forecast_of, in_training, past_of
from bidpilot.experiments.suite.families import FAMILIES, Claim, Family, find_families
from bidpilot.experiments.suite.kept import made_with, policy_folder, stream_seed
from bidpilot.experiments.suite.learners import load_policy
from bidpilot.experiments.suite.picture import said, suite_figure
from bidpilot.experiments.suite.play import RECORD, always, play_days
from bidpilot.experiments.suite.run import SuiteConfig, run_suite
from bidpilot.experiments.suite.verdicts import Draws, claim_rows, profile_table, score_table, together

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.agents.learned import LearnedPolicy
    from bidpilot.ctr.types import FloatArray

SMALL = Sizes(train=8, tune=2, validate=2, test=4)


def small(name: str, **changes: object) -> Family:
    """Return a family on days of 1,500 opportunities with two baselines."""
    family = find_families([name])[0]
    assert isinstance(family, Family)
    scenario = replace(family.scenario, traffic=replace(family.scenario.traffic, opportunities=1_500.0), buckets=2)
    claims = (Claim(("incremental",), strict=False),)
    settings = {"scenario": scenario, "baselines": ("incremental", "linear"), "claims": claims} | changes
    return replace(family, **settings)  # type: ignore[arg-type]


def silent_policy(family: Family) -> LearnedPolicy:
    """Return the policy that never acts, so is the family's controller."""
    forecast = forecast_of(family, days_of(family, "train", SMALL.train))
    return learned.silent_policy(in_training(family.scenario), forecast, family.scenario.traffic.segments)


def keep(root: Path, family: Family, policy: LearnedPolicy, seed: int = 0) -> None:
    """Write a policy as training does."""
    folder = policy_folder(root, family, seed)
    write_atomically(folder / "policy.safetensors", save(policy_tensors(policy)))
    write_atomically(
        folder / "policy.json", json.dumps(policy_settings(policy) | {"trained": {"with": made_with(family, SMALL)}})
    )


def test_every_family_names_policies_that_there_are_and_trains_in_a_scenario_of_its_own() -> None:
    known = policies()
    for family in FAMILIES:
        assert set(family.baselines) <= set(known), family.name
        assert all(set(claim.against) <= set(family.baselines) for claim in family.claims), family.name
        assert family.trained_as in {each.name for each in FAMILIES if not each.of}
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    with pytest.raises(InputError, match="unknown family 'frist'; known: "):
        find_families(["frist"])


def test_days_of_a_role_are_the_same_again_and_never_those_of_another_role() -> None:
    family = small("segments")
    hashes = {role: [day.traffic_hash for day in days_of(family, role, 2)] for role in ("train", "tune", "test")}
    assert hashes["test"] == [day.traffic_hash for day in days_of(family, "test", 2)]
    assert len({h for each in hashes.values() for h in each}) == 6
    assert days_of(family, "train", 1)[0].belief is None
    assert days_of(family, "test", 1)[0].belief is not None


def test_a_shift_shows_on_test_days_alone() -> None:
    plain, shifted = small("segments"), small("segments", volume=0.5)
    counts = [[len(day) for day in days_of(family, "test", 6)] for family in (plain, shifted)]
    assert np.mean(counts[1]) == pytest.approx(0.5 * np.mean(counts[0]), rel=0.2)
    assert len(days_of(shifted, "train", 1)[0]) == len(days_of(plain, "train", 1)[0])
    limited = small("cpa")
    forecast = past_of(limited, days_of(limited, "train", 3)).forecast
    usual, strict = (campaign_of(replace(limited, strictness=s), forecast, 0.25).cost_limit for s in (1.0, 0.8))
    assert strict == pytest.approx(0.8 * usual)


def test_the_record_of_an_episode_counts_broken_limits() -> None:
    family = small("cpa", scenario=replace(small("cpa").scenario, limit=Limit("tightness", 0.3, 0.3)), limit=0.3)
    past = past_of(family, days_of(family, "train", 4))
    campaign = campaign_of(family, past.forecast, 0.25)
    spends_all = replace(campaign, cost_limit=np.inf)
    day = days_of(family, "test", 1)[0]
    free = play_days(lambda _: Oracle(day), [day], spends_all)[0]
    kept = play_days(always(linear.Config().build(past)), [day], campaign)[0]
    row, plain = dict(zip(RECORD, kept, strict=True)), dict(zip(RECORD, free, strict=True))
    assert plain["excess"] == 0.0
    assert plain["earned"] == plain["expected"] <= plain["best"]
    assert row["excess"] > 1.5
    assert row["earned"] == pytest.approx(row["expected"] / row["excess"] ** 2)
    assert row["best"] < plain["best"]


def records_of(gain: float, seeds: int = 3) -> dict[str, FloatArray]:
    """Return made-up records of a baseline and of a learner that earns `gain` more of R*."""
    rng = np.random.default_rng(5)
    score = {"base": 0.9 + 0.02 * rng.standard_normal((1, 2, 40))}
    score["ppo"] = score["base"] + gain + 0.01 * rng.standard_normal((seeds, 2, 40))
    made = {}
    for name, values in score.items():
        table = np.ones((*values.shape, len(RECORD)))
        table[..., RECORD.index("earned")] = values
        made[name] = table
    return made


@pytest.mark.parametrize(
    ("gain", "claim", "holds"),
    [
        (0.02, Claim(("base",)), True),
        (0.02, Claim(("base",), least=0.03), False),
        (0.0, Claim(("base",), least=-1.0), False),  # the interval holds 0
        (0.0, Claim(("base",), least=-1.0, strict=False), True),
        (-0.02, Claim(("base",), least=-1.0, strict=False), False),
    ],
)
def test_a_claim_holds_by_its_interval_and_by_what_was_asked(gain: float, claim: Claim, holds: bool) -> None:  # noqa: FBT001
    draws = Draws(records_of(gain), np.random.default_rng(0))
    row = claim_rows(small("segments", claims=(claim,)), "ppo", draws).iloc[0]
    assert row["low"] < row["difference"] < row["high"]
    assert (row["p"] < 0.05) == (row["low"] > 0 or row["high"] < 0)
    assert row["poi_low"] <= row["probability_of_improvement"] <= row["poi_high"]
    assert row["probability_of_improvement"] == pytest.approx(0.5 + np.sign(gain) * 0.45, abs=0.06)
    assert row["difference"] == pytest.approx(gain, abs=0.005)
    assert bool(row["holds"]) is holds


def test_the_interquartile_mean_and_the_profile_are_those_of_single_days() -> None:
    """One broken day in 40 pulls the score down, hardly the interquartile mean, and shows in the profile."""
    records = records_of(0.02)
    records["base"][0, :, 7, RECORD.index("earned")] = 0.1
    draws = Draws(records, np.random.default_rng(0))
    family = small("segments")
    table = score_table(family, {"base": "baseline", "ppo": "learner"}, (1 / 4, 1 / 16), draws)
    rows = table[table["policy"] == "base"]
    told = {row["budget"]: row for row in rows.to_dict("records")}
    for budget, part in ((0.0, slice(None)), (1 / 4, slice(0, 1)), (1 / 16, slice(1, 2))):
        scores = records["base"][:, part, :, RECORD.index("earned")].ravel()
        assert told[budget]["iqm"] == pytest.approx(trim_mean(scores, 0.25))
        assert told[budget]["score"] == pytest.approx(scores.mean())
    assert (rows["iqm"] > rows["score"] + 0.01).all()
    assert ((table["iqm_low"] < table["iqm"]) & (table["iqm"] < table["iqm_high"])).all()
    profile = profile_table(family, draws)
    assert list(profile.columns) == ["family", "policy", "tau", "share", "low", "high"]
    base = profile[profile["policy"] == "base"].set_index("tau")["share"]
    assert base.iloc[0] == 1.0
    assert base.is_monotonic_decreasing
    assert base[0.5] == pytest.approx(39 / 40)
    assert ((profile["low"] <= profile["share"] + 1e-9) & (profile["share"] <= profile["high"] + 1e-9)).all()


def test_holm_is_over_all_claims_of_the_suite() -> None:
    rows = [pd.DataFrame({"p": [p]}) for p in (0.02, 0.5, 0.01)]
    assert together(rows)["p_holm"].tolist() == pytest.approx([0.04, 0.5, 0.03])
    claims = pd.concat(
        [claim_rows(small(name, claims=(Claim(("base",)),)), "ppo", draws_of(gain)) for name, gain in GAINS]
    )
    lines = said(together([claims]), {"segments": "Segments", "cpa": "CPA"})
    assert lines[-1].startswith("2 claims at once: 1 differences have p < 0.05, each taken alone; 1 are left")


GAINS = (("segments", 0.02), ("cpa", 0.0))


def draws_of(gain: float) -> Draws:
    return Draws(records_of(gain), np.random.default_rng(0))


def test_pairing_makes_the_interval_of_a_difference_narrower_than_those_of_the_scores() -> None:
    draws = Draws(records_of(0.02), np.random.default_rng(0))
    table = score_table(small("segments"), {"base": "baseline", "ppo": "learner"}, (1 / 4, 1 / 16), draws)
    assert len(table) == 6
    row = claim_rows(small("segments", claims=(Claim(("base",)),)), "ppo", draws).iloc[0]
    whole = table[(table["policy"] == "base") & (table["budget"] == 0.0)].iloc[0]
    assert row["high"] - row["low"] < whole["high"] - whole["low"]


@pytest.mark.parametrize("name", ["budget", "segments", "first_price", "campaigns"])
def test_a_small_suite_plays_scores_and_says_what_came_out(tmp_path: Path, name: str) -> None:
    family = small(name)
    keep(tmp_path, family, silent_policy(family))
    config = SuiteConfig(seeds=1, budgets=(1 / 4,), sizes=SMALL)
    scores, claims = run_suite(tmp_path, [family], config)
    assert set(scores["policy"]) == {"incremental", "linear", family.learner, "oracle"}
    assert ((scores["score"] > 0.2) & (scores["score"] <= 1.0)).all()
    again, _ = run_suite(tmp_path, [family], config)
    pd.testing.assert_frame_equal(scores, again)
    assert (tmp_path / "suite.csv").read_text().count("\n") == len(scores) + 1
    assert set(pd.read_csv(tmp_path / "profile.csv")["policy"]) == set(scores["policy"])
    assert {"p", "p_holm", "probability_of_improvement"} <= set(pd.read_csv(tmp_path / "claims.csv").columns)
    assert scores["iqm"].between(0.2, 1.0).all()
    sentence = said(claims, {family.name: family.title})[0]
    assert f"{family.learner} against incremental {100 * claims['difference'].iloc[0]:+.2f} points" in sentence
    if name == "budget":
        assert claims["difference"].iloc[0] == pytest.approx(0.0, abs=0.03)  # the untrained policy is the controller
        assert suite_figure(scores, {family.name: family.title}).axes[0].get_title("left") == family.title


def test_a_missing_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"budget/ppo-3: no trained policy .*; run bidpilot suite --train first"):
        load_policy(tmp_path, small("budget"), 3)


def test_what_is_not_trained_is_named_and_trained_only_where_asked(tmp_path: Path) -> None:
    family = small("budget")
    with pytest.raises(InputError, match=r"2 policies are not trained \(budget\); add --train, or name --family"):
        suite(tmp_path, [family], SuiteConfig(seeds=2), Console(quiet=True), train=False)
    keep(tmp_path, family, silent_policy(family), 0)
    assert missing_policies(tmp_path, [family], SuiteConfig(seeds=2, sizes=SMALL)) == [(family, 1)]
    assert len(missing_policies(tmp_path, [family], SuiteConfig(seeds=2))) == 2  # made with fewer days
    assert len(missing_policies(tmp_path, [replace(family, steps=7)], SuiteConfig(seeds=2, sizes=SMALL))) == 2


def test_training_seeds_lie_far_apart() -> None:
    """SB3 seeds copy i with the seed + i."""
    assert np.diff(sorted(map(stream_seed, range(20)))).min() > 1_000


@pytest.mark.slow
@pytest.mark.timeout(900)  # trained in full, as it ships
@pytest.mark.parametrize("name", ["cpa", "segments"])
def test_a_learner_is_trained_kept_and_beats_the_controller_that_it_stands_on(tmp_path: Path, name: str) -> None:
    family = find_families([name])[0]
    assert isinstance(family, Family)
    config = SuiteConfig(seeds=1, budgets=(1 / 8,), sizes=Sizes(train=30, tune=2, validate=6, test=20))
    suite(tmp_path, [family], config, Console(quiet=True), train=True)
    claims = pd.read_csv(tmp_path / "claims.csv")
    assert (claims["low"] > 0).all(), claims
    curve = pd.read_csv(policy_folder(tmp_path, family, 0) / "learning.csv")
    assert curve["score"].iloc[0] < curve["score"].max()
