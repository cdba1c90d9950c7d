"""Orders of policies: rank correlations against SciPy's, and simulators that are true, or price too high."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.experiments.evaluate import Contender, Field
from bidpilot.experiments.fidelity_correlation import kendall, mid_ranks, spearman
from bidpilot.experiments.fidelity_ranks import Measured, Side, agreement_table, rank_table, regret
from bidpilot.experiments.metrics import RECORD
from bidpilot.experiments.plots_ranks import ranks_figure
from bidpilot.experiments.tuning import campaign_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign, CampaignState

SHARE = 0.25
LEVELS = np.exp(np.linspace(-2.5, 3.0, 10))


class Fixed(MultiplierPolicy):
    """Bids the same multiple of worth all day."""

    def __init__(self, multiplier: float) -> None:
        """Take the multiple."""
        self.multiplier = np.array([multiplier])

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Forget nothing."""

    def multipliers(self, state: CampaignState) -> FloatArray:  # noqa: ARG002 - never looks
        """Return the multiples."""
        return self.multiplier


def contenders() -> list[Contender]:
    """Return ten policies, from far too low to far too high."""
    policies = {f"times {level:.2f}": Fixed(level) for level in LEVELS}
    return [
        Contender(name, "baseline", lambda _day, _share, policy=policy: policy, lambda _share: "{}")  # type: ignore[misc]
        for name, policy in policies.items()
    ]


def dearer(day: Day, factor: float) -> Day:
    price = np.rint(day.hidden.price * factor).astype(np.int64)
    return replace(day, hidden=replace(day.hidden, price=price))


def side(days: Sequence[Day], seed: int) -> Side:
    field = Field.of(days, 30, 2, np.random.default_rng(seed))
    campaigns = {SHARE: campaign_for(days, SHARE, "second_price", 1.0)}
    return Side.played(contenders(), field, campaigns, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def real(smooth_day: Callable[..., Day]) -> Side:
    return side([smooth_day(seed, rows=400, ticks=8) for seed in range(12)], 1)


def simulated(smooth_day: Callable[..., Day], factor: float) -> Side:
    return side([dearer(smooth_day(seed, rows=400, ticks=8), factor) for seed in range(100, 112)], 2)


def agreed(first: Side, second: Side) -> dict[str, float]:
    table = agreement_table([each.name for each in contenders()], [SHARE], first, second)
    return {str(name): value for name, value in table.iloc[0].items()}


@pytest.mark.parametrize("seed", range(20))
def test_rank_correlations_are_scipys_with_and_without_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(2 + seed, size=(2, 12)).astype(float) if seed % 2 else rng.random((2, 12))
    assert mid_ranks(x) == pytest.approx(stats.rankdata(x))
    assert float(spearman(x, y)) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert float(kendall(x, y)) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_many_replicates_at_once_are_as_one_after_another() -> None:
    x, y = np.random.default_rng(0).integers(5, size=(2, 7, 11)).astype(float)
    for formula in (spearman, kendall):
        assert formula(x, y) == pytest.approx([float(formula(a, b)) for a, b in zip(x, y, strict=True)])


def test_equal_values_have_no_order() -> None:
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))
    assert np.isnan(kendall(np.ones(4), np.arange(4.0)))


def test_a_true_simulator_orders_policies_as_reality_does(smooth_day: Callable[..., Day], real: Side) -> None:
    found = agreed(simulated(smooth_day, 1.0), real)
    assert found["spearman"] > 0.95
    assert found["kendall"] > 0.85
    assert found["spearman_low"] <= found["spearman"] <= found["spearman_high"] <= 1.0
    assert found["regret"] < 0.01
    assert found["policies"] == 10


def test_a_simulator_of_far_too_high_prices_chooses_wrongly(smooth_day: Callable[..., Day], real: Side) -> None:
    """Who bids right at ten times the price overbids in reality."""
    found = agreed(simulated(smooth_day, 10.0), real)
    assert found["spearman_high"] < 0.6
    assert found["regret_low"] > 0.05
    assert found["winner"] != found["best"]


def by_hand(values: dict[str, list[float]]) -> Side:
    """Return a side of two days with these shares of the possible, both drawn once in every replicate."""
    records = {}
    for name, shares in values.items():
        table = np.zeros((2, len(RECORD)))
        table[:, RECORD.index("best")] = 1.0
        table[:, RECORD.index("expected")] = shares
        records[name, SHARE] = table
    return Side(records, np.ones((1, 2)), np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]]))


def test_regret_and_ranks_by_hand() -> None:
    """Means: simulated a .9, b .8, c .8; real a .5, b .7, c .6. The winner is a, and it loses .2."""
    first = by_hand({"a": [0.9, 0.9], "b": [0.7, 0.9], "c": [0.8, 0.8]})
    second = by_hand({"a": [0.5, 0.5], "b": [0.6, 0.8], "c": [0.6, 0.6]})
    row = agreement_table("abc", [SHARE], first, second).iloc[0]
    assert (row["winner"], row["best"]) == ("a", "b")
    assert row["regret"] == pytest.approx(0.2)
    assert row["chance"] == pytest.approx(0.1)
    assert row["spearman"] == pytest.approx(stats.spearmanr([0.9, 0.8, 0.8], [0.5, 0.7, 0.6]).statistic)
    named = [Contender(name, "baseline", lambda *_: Fixed(1.0), lambda _: "{}") for name in "abc"]
    table = rank_table(named, [SHARE], first, second)
    assert table["simulated_rank"].tolist() == [1.0, 2.5, 2.5]
    assert table["real_rank"].tolist() == [3.0, 1.0, 2.0]
    assert table["real"].tolist() == pytest.approx([0.5, 0.7, 0.6])


def test_regret_is_what_the_chosen_one_lacks() -> None:
    simulated_values, real_values = np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([[5.0, 4.0], [5.0, 4.0]])
    assert regret(simulated_values, real_values).tolist() == [1.0, 0.0]


def test_figures_subtract_replicate_by_replicate() -> None:
    """Replicates that move together leave a difference without spread; ratios of nothing are undefined."""
    moving = np.linspace(0.0, 1.0, 50)
    difference = Measured(0.7, 0.2 + moving).less(Measured(0.5, moving))
    assert difference.interval == pytest.approx((0.2, 0.2))
    assert Measured(1.0, moving).over(Measured(2.0, np.full(50, 2.0))).estimate == 0.5
    assert np.isnan(Measured(0.0, moving).over(Measured(0.0, np.zeros(50))).estimate)


def test_the_figure_names_every_policy_once_and_no_name_lies_on_another(
    smooth_day: Callable[..., Day], real: Side
) -> None:
    first = simulated(smooth_day, 1.0)
    names = [each.name for each in contenders()]
    table, alike = rank_table(contenders(), [SHARE], first, real), agreement_table(names, [SHARE], first, real)
    figure = ranks_figure(pd.concat([table]), alike, "12 days")
    axes = figure.axes[0]
    written = [text for text in axes.texts if text.get_text() in names]
    assert sorted(text.get_text() for text in written) == sorted(names)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in written]
    overlaps = [
        (i, j)
        for i, one in enumerate(boxes)
        for j in range(i)
        if one.shrunk(0.9, 0.8).overlaps(boxes[j].shrunk(0.9, 0.8))
    ]
    assert not overlaps
    assert axes.get_xlabel() == "R/R* in the simulator"
