"""The oracle of a class: it reaches what the class can, within the budget."""

from collections.abc import Callable

import numpy as np
import pytest

from bidpilot.agents.class_oracle import ClassOracle
from bidpilot.agents.oracle import Oracle
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.policy_class import AUCTIONS, best_of_class
from bidpilot.envs.types import Campaign, EpisodeResult, Rules

BELIEF = np.array([0.5, 1.3, 2.1])


def won(policy: Oracle | ClassOracle, day: Day, campaign: Campaign) -> EpisodeResult:
    return run_episode(policy, day, campaign, np.random.default_rng(0))


@pytest.mark.parametrize("auction", AUCTIONS)
@pytest.mark.parametrize("share", [0.02, 0.2, 0.8])
def test_it_plays_the_best_of_its_class(smooth_day: Callable[..., Day], share: float, auction: str) -> None:
    for seed in range(5):
        day = smooth_day(seed, rows=400).misjudged(BELIEF)
        asked = Campaign(share * day.full_cost / MICROS, day.ticks, 1.0, Rules(auction))
        for by in ("day", "segment", "cell"):
            result = won(ClassOracle(day, by), day, asked)
            best = best_of_class(day, asked.budget, by, auction)
            assert result.total("expected") == pytest.approx(best.value, rel=1e-9)
            assert result.total("spend") <= asked.budget * MICROS


def test_a_multiplier_per_segment_undoes_what_is_misjudged(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(1, rows=2000).misjudged(BELIEF)
    asked = Campaign(0.1 * day.full_cost / MICROS, day.ticks, 1.0)
    best = best_value(day, np.array([asked.budget]))[0]
    one, each = (won(policy, day, asked).total("expected") / best for policy in (Oracle(day), ClassOracle(day)))
    assert one < 0.95
    assert each > 0.998
