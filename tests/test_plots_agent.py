"""The figures of the agent: its learning, its moves, its answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection

from bidpilot.experiments import plots_agent
from bidpilot.experiments.plots_style import Look, inline_svg

LOOKS = {"ppo": Look("learner", plots_agent.COLOURS[0], "o")}


@pytest.fixture
def curve() -> pd.DataFrame:
    """Return a learning curve of four points."""
    score = np.array([0.9, 0.93, 0.95, 0.96])
    columns = {
        "steps": [0, 1e4, 2e4, 3e4],
        "score": score,
        "low": score - 0.01,
        "high": score + 0.01,
        "reference": 0.94,
    }
    return pd.DataFrame(columns)


@pytest.fixture
def moves() -> pd.DataFrame:
    """Return a day of 24 ticks of two policies at four budgets: the multiplier rises, what is left falls evenly."""
    tick = np.arange(24)
    parts = [
        pd.DataFrame(
            {"tick": tick, "hour": 1.0 * tick, "multiplier": (0.3 + tick / 100) * budget, "left": 1 - tick / 24}
        ).assign(policy=policy, budget=budget, budget_label=f"1/{round(1 / budget)}")
        for policy in ("ppo", "pid")
        for budget in (1 / 16, 1 / 8, 1 / 4, 1 / 2)
    ]
    table = pd.concat(parts, ignore_index=True)
    ends = {
        f"{name}_{end}": table[name] * by
        for name in ("multiplier", "left")
        for end, by in (("low", 0.9), ("high", 1.1))
    }
    return table.assign(**ends)


def test_learning_carries_the_curve_and_the_controllers_score(curve: pd.DataFrame) -> None:
    axes = plots_agent.learning(curve).axes[0]
    agent, controller = axes.get_lines()
    np.testing.assert_allclose(np.asarray(agent.get_ydata(), dtype=float), curve["score"])
    np.testing.assert_allclose(np.asarray(controller.get_ydata(), dtype=float), curve["reference"])
    assert axes.get_ylabel() == "R/R* on validation days [%]"


def test_moves_have_a_panel_for_few_budgets_and_a_line_for_each_policy(moves: pd.DataFrame) -> None:
    """Of four budgets the smallest, the largest and one between; a policy of no colour gets the second one."""
    figure = plots_agent.moves(moves, LOOKS)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["budget 1/16", "budget 1/4", "budget 1/2"]
    lines = figure.axes[0].get_lines()
    assert {line.get_color() for line in lines} == set(plots_agent.COLOURS)
    np.testing.assert_allclose(np.asarray(lines[0].get_ydata(), dtype=float)[:2], [0.3 / 16, 0.31 / 16])


def test_answers_are_cells_whose_strength_is_the_change(moves: pd.DataFrame) -> None:
    """More left, more bid: orange above, blue below; the strongest change is full colour, the legend says how much."""
    own = moves[(moves["policy"] == "ppo") & (moves["budget"] == 0.125)]
    hours, left = np.meshgrid(np.arange(0.0, 24.0, 4.0), np.arange(10) / 10 + 0.05)
    table = pd.DataFrame({"hour": hours.ravel(), "left": left.ravel(), "change": 0.2 * (left.ravel() - 0.5)})
    figure = plots_agent.answers(table, own)
    more, less = (
        each for each in figure.axes[0].collections if isinstance(each, PolyCollection) and len(each.get_paths()) > 1
    )
    assert len(more.get_paths()) == len(less.get_paths()) == 30
    assert np.asarray(more.get_facecolor())[:, 3].max() == pytest.approx(1.0)
    assert "+9 %" in inline_svg(figure)


def test_answers_that_change_nothing_have_no_colour(moves: pd.DataFrame) -> None:
    table = pd.DataFrame({"hour": [0.0, 1.0], "left": [0.5, 0.5], "change": [0.0, np.nan]})
    figure = plots_agent.answers(table, moves[(moves["policy"] == "ppo") & (moves["budget"] == 0.125)])
    assert "+1 %" in inline_svg(figure)
