"""Counterfactual replay against a known truth: prices above random bids are hidden, and imputed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from bidpilot.agents.base import Past
from bidpilot.agents.constant import Config as Constant
from bidpilot.agents.pid import Config as Pid
from bidpilot.ctr.log import SECONDS_PER_DAY, AuctionLog
from bidpilot.ctr.price_models.table import Config as Table
from bidpilot.ctr.types import MICROS, Response
from bidpilot.envs.beliefs import Beliefs, Segments
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.goal import Goal
from bidpilot.envs.replay import replay_days
from bidpilot.envs.timeline import Timeline
from bidpilot.experiments.coverage import HIGH, LEAST, Coverage, _student, imputed
from bidpilot.experiments.replay import Plan, replay, results_table

if TYPE_CHECKING:
    from typing import Any

    import pandas as pd

    from bidpilot.agents.base import BiddingPolicy

TICKS, DAYS, ROWS = 12, 2, 6000
NEVER = 2**39
"""A bid above all prices that the law knows: what lies above it cannot be won."""


@dataclass(frozen=True)
class Told:
    """Predicts what the log's pctr column says; nothing converts."""

    def predict(self, log: AuctionLog) -> Response:
        """Predict every row."""
        pctr = log.frame["pctr"].to_numpy()
        return Response(pctr, np.zeros(len(pctr)), np.ones(len(pctr)))


def exchange(seed: int, n: int = ROWS * DAYS) -> tuple[AuctionLog, AuctionLog]:
    """Return a log of a buyer who bid at random, and the same log with all prices and all clicks told."""
    rng = np.random.default_rng(seed)
    price = rng.lognormal(np.log(2000.0), 0.6, n).astype(np.int64)
    bid = np.where(rng.random(n) < 0.15, rng.uniform(4_000, 60_000, n), rng.lognormal(np.log(1500.0), 0.5, n))
    bid = bid.astype(np.int64)
    pctr = rng.uniform(0.01, 0.05, n)
    click = rng.random(n) < pctr
    won = bid >= price
    columns: dict[str, Any] = {"time": np.sort(rng.uniform(0, DAYS * SECONDS_PER_DAY, n)), "pctr": pctr, "bid": bid}
    hidden = {"price": np.where(won, price, 0), "price_known": won, "won": won, "click": click & won}
    truth = {"price": price, "price_known": np.ones(n, bool), "won": np.ones(n, bool), "click": click}
    return AuctionLog.from_columns(columns | hidden), AuctionLog.from_columns(columns | truth | {"bid": price})


def beliefs_of(log: AuctionLog) -> Beliefs:
    """Return beliefs with the price law fitted to what the log tells."""
    half = len(log) // 2
    law = Table(groups=1).fit(log.rows(slice(0, half)), log.rows(slice(half, None)), np.random.default_rng(0))
    return Beliefs(Told(), law, Segments(("all",)), Goal("clicks", 0.1), Timeline(0.0, SECONDS_PER_DAY / TICKS, TICKS))


@pytest.fixture(scope="module")
def ground() -> tuple[Beliefs, Past]:
    """Return a law known as well as can be, since intervals are not about that, and days to plan with."""
    beliefs = beliefs_of(exchange(999, 200_000)[0])
    days = replay_days(exchange(998)[1], beliefs, np.random.default_rng(5))
    return beliefs, Past(days, Forecast.of(days))


def plan_of(past: Past, worlds: int, whole: float | None) -> Plan:
    """Return a plan of a policy that bids the same all day, and one that reacts, at two budgets."""
    policies: dict[tuple[str, float], BiddingPolicy] = {}
    for name, config in (("constant", Constant()), ("pid", Pid())):
        policies |= {(name, share): config.build(past) for share in (1 / 2, 1 / 8)}
    return Plan(policies, past.forecast.full_cost, whole=whole, worlds=worlds)


def table(log: AuctionLog, ground: tuple[Beliefs, Past], worlds: int = 1, whole: float | None = None) -> pd.DataFrame:
    found = replay(lambda: iter([log]), ground[0], plan_of(ground[1], worlds, whole))
    return results_table(found).set_index(["policy", "budget"])


def test_the_truth_lies_within_the_interval(ground: tuple[Beliefs, Past]) -> None:
    """In 92.7 % of 96 cases of 12 such logs, measured; here of 5."""
    inside, whole = [], ground[1].forecast.full_cost / 2
    for seed in range(1, 6):
        log, truth = exchange(seed, 6000)
        true, found = table(truth, ground, whole=whole), table(log, ground, worlds=20, whole=whole)
        assert (true["worlds"].unique().tolist(), found["worlds"].unique().tolist()) == ([1], [20])
        for name in ("wins", "spend"):
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            inside.append((low <= true[name]) & (true[name] <= high))
            assert ((high - low) < 0.15 * found[name]).all(), "and says something"
    assert np.mean(inside) >= 0.85


@pytest.mark.parametrize("way", ["unwinnable", "winners only"])
def test_ignoring_lost_auctions_is_far_off(ground: tuple[Beliefs, Past], way: str) -> None:
    log, truth = exchange(1)
    lost = ~log.frame["won"].to_numpy()
    unwinnable = replace(log, frame=log.frame.assign(bid=np.where(lost, NEVER, log.frame["bid"])))
    wrong = unwinnable if way == "unwinnable" else log.rows(~lost)
    whole = ground[1].forecast.full_cost
    true, at_same_budget, at_own = (
        table(truth, ground, whole=whole),
        table(wrong, ground, whole=whole),
        table(wrong, ground),
    )
    gap = at_same_budget["wins"] / true["wins"] - 1.0  # with the interval above: within 4 %
    assert (gap < -0.05).all()
    assert (gap.xs(1 / 2, level="budget") < -0.3).all()
    assert (at_own["budget_currency"] < 0.6 * true["budget_currency"]).all(), "what winning everything costs"
    assert (at_own["wins"] < 0.6 * true["wins"]).all()


def test_coverage_falls_with_the_bid(ground: tuple[Beliefs, Past]) -> None:
    found = table(exchange(1)[0], ground, worlds=5)
    many, few = (found.xs(share, level="budget").loc["constant"] for share in (1 / 2, 1 / 8))
    for row in (many, few):
        assert 0.3 < row["coverage_spend"] < row["coverage_wins"] < 0.95, "the dear ones are hidden"
        assert 0.3 < row["coverage_auctions"] < 0.95
    assert many["coverage_wins"] < 0.7 < few["coverage_wins"]
    assert many["words"].startswith("no figure: only 4")
    assert (bool(many["headline"]), bool(few["headline"])) == (False, True)


def test_words_and_thresholds() -> None:
    assert Coverage(1.0, 1.0, 0.5).words() == ""
    assert Coverage(0.95, 0.9, 0.5).words() == (
        "90% of what it won is on auctions whose price the log knows; the rest is drawn from the price model"
    )
    assert Coverage(HIGH - 0.01, 0.9, 0.5).words().startswith("take with care: 79%")
    assert Coverage(LEAST - 0.01, 0.9, 0.5).words().startswith("no figure: only 49%")
    assert not Coverage(0.9, LEAST - 0.01, 1.0).tells()
    assert Coverage(0.3, 0.3, 1.0).tells(0.25)
    nothing = Coverage(float("nan"), float("nan"), float("nan"))
    assert nothing.tells()
    assert nothing.lowest == 1.0
    assert Coverage(0.9999, 0.9999, 1.0).words().startswith("99.99%"), "100% means all"


def test_the_interval_is_that_of_one_more_draw() -> None:
    assert imputed(np.array([3.0])) == (3.0, 3.0, 3.0)
    for worlds in (5, 20, 100):
        assert _student(worlds - 1) == pytest.approx(stats.t.ppf(0.975, worlds - 1), abs=1e-3)
    rng, inside = np.random.default_rng(0), 0
    for _ in range(2000):
        draws = rng.normal(10.0, 2.0, 21)
        mean, low, high = imputed(draws[:20])
        assert mean == pytest.approx(draws[:20].mean())
        inside += low <= draws[20] <= high
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)
    assert MICROS == 10**6
