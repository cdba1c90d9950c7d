"""The family in the marketplace: common arenas, contenders in the same seat, a learner that is trained and played."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.agents.actor import Actor
from bidpilot.agents.marketplace_policy import MarketplacePolicy
from bidpilot.ctr.errors import InputError
from bidpilot.envs.features import bounds
from bidpilot.envs.marketplace_traffic import POLICIES, MarketplaceConfig
from bidpilot.envs.seats import FEATURES
from bidpilot.experiments.suite import marketplace_learner
from bidpilot.experiments.suite.contenders import (
    BASELINES,
    Dice,
    Learner,
    Level,
    Limited,
    Pacing,
    Ramp,
    Truthful,
    trials,
)
from bidpilot.experiments.suite.days import Sizes
from bidpilot.experiments.suite.families import MARKETS, SEATS, Claim, MarketFamily, find_families
from bidpilot.experiments.suite.kept import policy_folder
from bidpilot.experiments.suite.marketplace import (
    EXPECTED,
    arena_of,
    habits,
    play_arena,
    play_arenas,
    play_market,
    tuned,
    worth_table,
)
from bidpilot.experiments.suite.marketplace_learner import load_seat, train_seat
from bidpilot.experiments.suite.play import RECORD
from bidpilot.experiments.suite.run import SuiteConfig, run_suite

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.experiments.suite.contenders import Contender

CONFIG = MarketplaceConfig(buyers=8, ticks=6, opportunities=600.0)
CLAIMS = (Claim(("pacing", *SEATS), strict=False),)
SMALL = MarketFamily("marketplace", "one of 8 buyers", SEATS, CLAIMS, config=CONFIG)
RICH = replace(SMALL, name="rivals", claims=(), rivals=1.5, of="marketplace")
SIZES = Sizes(train=1, tune=2, validate=2, test=4)


def steady(action: float) -> Learner:
    """Return a learner that always takes this action."""
    size = len(bounds(FEATURES, CONFIG.slots)[0])
    layer, bias = np.zeros((1, size), np.float32), np.full(1, action, np.float32)
    return Learner(MarketplacePolicy(Actor(np.zeros(size), np.ones(size), (layer,), (bias,)), CONFIG))


def column(contender: Contender, name: str, family: MarketFamily = SMALL, count: int = 4) -> list[float]:
    """Return one figure of each test arena."""
    return list(play_arenas(contender, family, "test", count)[:, RECORD.index(name)])


def test_arenas_are_the_same_again_differ_by_role_and_number_and_seats_are_drawn() -> None:
    def told(role: str, number: int) -> tuple[int, bytes]:
        arena, seat = arena_of(SMALL, role, number)
        return seat, arena.buyers.budget.tobytes()

    assert told("test", 3) == told("test", 3)
    every = [told(role, number) for role in ("validate", "tune", "test") for number in range(8)]
    assert len({budgets for _, budgets in every}) == len(every)
    assert len({seat for seat, _ in every}) > 4


def test_richer_rivals_show_in_test_arenas_alone_and_leave_the_seat_its_budget() -> None:
    for role, factor in (("test", 1.5), ("tune", 1.0), ("validate", 1.0)):
        (plain, seat), (rich, again) = (arena_of(family, role, 1) for family in (SMALL, RICH))
        assert seat == again
        wanted = np.where(np.arange(8) == seat, 1.0, factor)
        assert np.allclose(rich.buyers.budget / plain.buyers.budget, wanted, rtol=1e-4)
        assert np.array_equal(rich.buyers.rate, plain.buyers.rate)


def test_richer_rivals_leave_less_worth() -> None:
    plain, rich = (sum(column(Pacing(), "expected", family, 12)) for family in (SMALL, RICH))
    assert rich < 0.97 * plain


def test_the_zero_action_pacing_and_a_flat_ramp_are_the_same() -> None:
    same = [column(each, "expected") for each in (Pacing(), steady(0.0), Ramp())]
    assert same[0] == same[1] == same[2]
    _, way = play_arena(steady(0.25), SMALL, "test", 0)
    assert way[:, 1] == pytest.approx(0.25)
    assert column(steady(0.25), "expected") == column(Ramp(level=0.25), "expected")


@pytest.mark.parametrize(
    ("name", "contender"),
    [("constant", Level()), ("truthful", Truthful()), ("pacing", Pacing()), ("limited", Limited())],
)
def test_default_settings_are_the_built_in_policies(name: str, contender: Contender) -> None:
    config = replace(CONFIG, policies=tuple(float(each == name) for each in POLICIES))
    family = replace(SMALL, config=config)
    arena, seat = arena_of(family, "test", 0)
    while not arena.over:
        arena.play(arena.multipliers({}))
    record, _ = play_arena(contender, family, "test", 0)
    assert record[EXPECTED] == arena.total.expected[seat]


def test_settings_change_what_is_bought_and_nobody_overspends() -> None:
    for one, two in (
        (Level(), Level(0.5)),
        (Pacing(), Pacing(4.0)),
        (Ramp(), Ramp(slope=0.8)),
        (Truthful(), Truthful(0.5)),
    ):
        assert column(one, "expected") != column(two, "expected")
    for contender in (Truthful(2.0), Dice(), Pacing(8.0)):
        assert all(
            spend <= budget
            for spend, budget in zip(column(contender, "spend"), column(contender, "budget"), strict=True)
        )


def test_dice_fall_alike_for_all_and_anew_in_every_arena() -> None:
    ways = [play_arena(Dice(), SMALL, "test", number)[1][:, 1] for number in (0, 0, 1)]
    assert np.array_equal(ways[0], ways[1])
    assert not np.array_equal(ways[0], ways[2])
    assert ((ways[0] >= -1.0) & (ways[0] <= 1.0)).all()


def test_every_baseline_has_as_many_trials_and_the_best_on_the_tuning_arenas_is_taken() -> None:
    assert set(SEATS) == set(BASELINES)
    assert {name: len(trials(name)) for name in SEATS} == dict.fromkeys(SEATS, 9) | {"random": 1}
    chosen = tuned(SMALL, 3)
    for name in ("constant", "ramp"):
        worths = {each: play_arenas(each, SMALL, "tune", 3)[:, EXPECTED].sum() for each in trials(name)}
        assert worths[chosen[name]] == max(worths.values())


def test_scores_are_multiples_of_what_the_controller_earns_in_the_same_arenas() -> None:
    roles, records = play_market(SMALL, "ppo", [steady(0.0), steady(-0.5)], 2, 4)
    assert roles == {"pacing": "baseline", **dict.fromkeys(SEATS, "baseline"), "ppo": "learner"}
    assert records["ppo"].shape == (2, 1, 4, len(RECORD))
    earned, best = (records["ppo"][..., RECORD.index(name)] for name in ("earned", "best"))
    assert np.array_equal(earned[0], best[0])
    assert not np.array_equal(earned[1], best[1])
    assert best[0, 0].tolist() == column(Pacing(), "expected")


def test_the_loss_under_a_shift_is_paired_by_arena() -> None:
    _, plain = play_market(SMALL, "ppo", [steady(0.0)], 2, 6)
    _, rich = play_market(RICH, "ppo", [steady(0.0)], 2, 6)
    table = worth_table(plain, rich).set_index("policy")
    worth, poorer = (sum(column(Pacing(), "expected", family, 6)) for family in (SMALL, RICH))
    assert table.loc["pacing", "worth"] == pytest.approx(worth / sum(column(Pacing(), "budget", count=6)))
    assert table.loc["pacing", "loss"] == pytest.approx(100.0 * (1.0 - poorer / worth))
    assert list(table.loc["ppo"]) == list(table.loc["pacing"])
    same = worth_table(plain, plain)
    assert np.abs(same[["loss", "loss_low", "loss_high"]].to_numpy()).max() == 0.0


def test_habits_tell_the_way_through_the_day() -> None:
    table = habits(steady(-0.25), SMALL, 3, parts=3)
    assert len(table) == 3
    assert table["action"].tolist() == pytest.approx([-0.25] * 3)
    assert table["time_left"].is_monotonic_decreasing
    assert table["spent"].is_monotonic_increasing
    assert table["earned"].iloc[-1] == pytest.approx(
        np.mean(np.array(column(steady(-0.25), "expected", count=3)) / column(steady(-0.25), "budget", count=3))
    )


def test_a_small_suite_trains_plays_and_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marketplace_learner, "ARENAS", 2)
    monkeypatch.setattr(marketplace_learner, "CHAIRS", 4)
    folder = policy_folder(tmp_path, SMALL, 0)
    assert policy_folder(tmp_path, RICH, 0) == folder
    train_seat(folder, replace(SMALL, steps=96), 0, Sizes(validate=2))
    assert pd.read_csv(folder / "learning.csv")["steps"].tolist() == [0, 48, 96]
    few = [replace(each, baselines=("constant", "random")) for each in (SMALL, RICH)]
    few[0] = replace(few[0], claims=(Claim(("pacing", "constant"), strict=False),))
    scores, claims = run_suite(tmp_path, few, SuiteConfig(seeds=1, sizes=SIZES))
    assert scores["family"].value_counts().tolist() == [4, 4]
    assert scores[scores["policy"] == "pacing"]["score"].tolist() == [1.0, 1.0]
    learner = scores[(scores["policy"] == "ppo") & (scores["family"] == "marketplace")].iloc[0]
    assert learner["score"] == pytest.approx(1.0, abs=0.05)  # hardly trained: the controller
    assert claims["learner"].tolist() == ["ppo"]


def test_a_missing_policy_is_named_and_one_of_another_market_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no trained policy .*; run bidpilot suite --train first"):
        load_seat(tmp_path, CONFIG)
    (tmp_path / "policy.json").write_text("{}")
    with pytest.raises(InputError, match="no trained policy"):
        load_seat(tmp_path, CONFIG)


def test_the_families_are_found_by_name_and_share_their_policies() -> None:
    plain, rich = find_families(["marketplace", "rivals"])
    assert (plain, rich) == MARKETS
    assert rich.trained_as == plain.name
    assert MARKETS[0].config == MARKETS[1].config
    assert MARKETS[1].rivals == pytest.approx(1.1)
