"""The figures of the money: shares of the spend by segment and hour, and the difference between two policies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection

from bidpilot.experiments import plots_money
from bidpilot.experiments.plots_style import inline_svg


@pytest.fixture
def money() -> pd.DataFrame:
    """Return two policies in three segments and four hours: ppo spends 6 in a, 3 in b, 0 in c; pid 3 in each."""
    spend = {"ppo": {"a": 6.0, "b": 3.0, "c": 0.0}, "pid": {"a": 3.0, "b": 3.0, "c": 3.0}}
    rows = [
        {
            "policy": policy,
            "segment": segment,
            "hour": 6.0 * hour,
            "spend": each / 4,
            "worth": 1.0,
            "expected": each / 2,
        }
        for policy, segments in spend.items()
        for segment, each in segments.items()
        for hour in range(4)
    ]
    return pd.DataFrame(rows)


def test_bars_are_shares_and_dots_worth_per_money(money: pd.DataFrame) -> None:
    """Two thirds of ppo's money went to a; a segment without spend has no worth per money."""
    spend, worth = plots_money.by_segment(money).axes
    widths = [bar.get_width() for bar in spend.patches]  # type: ignore[attr-defined]
    np.testing.assert_allclose(widths, [2 / 3, 1 / 3, 0, 1 / 3, 1 / 3, 1 / 3])
    dots = [np.asarray(line.get_xdata(), dtype=float) for line in worth.get_lines()]
    np.testing.assert_allclose(dots[0], [2.0, 2.0, np.nan])
    assert [label.get_text() for label in spend.get_yticklabels()] == ["a", "b", "c"]


def test_the_map_shows_the_first_and_its_difference_to_the_second(money: pd.DataFrame) -> None:
    """Above: eight cells with money. Below: ppo spent more in a and less in c, by a third each, over four hours."""
    figure = plots_money.by_hour(money)
    own, difference = figure.axes[0], figure.axes[2]
    assert [axes.get_title(loc="left") for axes in (own, difference)] == ["ppo: share of its spend", "ppo less pid"]
    count = [
        sum(len(c.get_paths()) for c in axes.collections if isinstance(c, PolyCollection)) for axes in (own, difference)
    ]
    assert count == [8, 8]
    assert own.get_xlim() == (0.0, 24.0)
    assert "+8.3 points" in inline_svg(figure)


def test_one_policy_alone_has_one_map_and_one_bar_each(money: pd.DataFrame) -> None:
    alone = money[money["policy"] == "pid"]
    assert len(plots_money.by_hour(alone).axes) == 2
    assert len(plots_money.by_segment(alone).axes[0].patches) == 3


def test_no_money_at_all_is_drawn(money: pd.DataFrame) -> None:
    """A policy that never won has empty bars and an empty map."""
    none = money.assign(spend=0.0, expected=0.0)
    assert "<svg" in inline_svg(plots_money.by_segment(none))
    assert "<svg" in inline_svg(plots_money.by_hour(none))
