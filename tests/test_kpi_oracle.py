"""The oracle with a CPA or CPC limit: bids by the master formula, replayed."""

from collections.abc import Callable

import numpy as np
import pytest

from bidpilot.agents.kpi_oracle import AIMS, COUNTS, KpiOracle
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, FloatArray
from bidpilot.envs.day import Day, Opportunities
from bidpilot.envs.duals import best_within
from bidpilot.envs.episode import Episode
from bidpilot.envs.simulator import seen_at
from bidpilot.envs.types import Campaign


def amounts(seen: Opportunities, name: str) -> FloatArray:
    return {"worth": seen.value, "clicks": seen.pctr, "conversions": seen.pctr * seen.pcvr}[name]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("aim", AIMS)
def test_its_bids_win_the_optimum_but_for_two_impressions(smooth_day: Callable[..., Day], count: str, aim: str) -> None:
    bound_by_both = 0
    for seed, tightness in enumerate((0.3, 0.8, 0.9, 0.95, 0.98, 2.0)):
        day = smooth_day(seed, rows=500)
        seen, price = day.seen, day.hidden.price / MICROS
        asked = Campaign(0.3 * day.full_cost / MICROS, day.ticks, 1.0)
        free = best_within(amounts(seen, aim), price, amounts(seen, count), asked.budget, np.inf).taken
        limit = tightness * float(price @ free) / float(amounts(seen, count) @ free)
        policy = KpiOracle(day, limit, count, aim)
        policy.reset(asked, np.random.default_rng(0))
        episode, won = Episode(day, asked), []
        while not episode.over:
            tick = episode.tick
            bids = policy.bid(episode.state(), seen_at(day, tick))
            won.append(bids >= price[day.starts[tick] : day.starts[tick + 1]])
            episode.bid_amounts(bids)
        rows = np.concatenate(won)
        best, most = policy.solved, amounts(seen, aim)
        bound_by_both += best.money > 0 and best.strictness > 0
        assert abs(float(most @ rows) - best.value) <= 2 * most.max()
        assert price @ rows <= min(asked.budget, limit * float(amounts(seen, count) @ rows)) + 2 * price.max()
        assert episode.result().total("spend") <= asked.budget * MICROS
    if aim == "worth":  # the fixture's conversion rate is one for all, so clicks and conversions are one count
        assert bound_by_both > 0


def test_a_loose_limit_and_all_the_money_wins_everything(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(0)
    asked = Campaign(10.0 * day.full_cost / MICROS, day.ticks, 1.0)
    result = run_episode(KpiOracle(day, 1e9), day, asked, np.random.default_rng(0))
    assert result.total("wins") == len(day)


def test_trouble_in_the_day_breaks_nothing(messy_day: Callable[..., Day]) -> None:
    for seed in range(10):
        day = messy_day(seed)
        asked = Campaign(0.2 * day.full_cost / MICROS, day.ticks, 1.0)
        result = run_episode(KpiOracle(day, 0.1, "clicks"), day, asked, np.random.default_rng(0))
        assert 0 <= result.total("spend") <= asked.budget * MICROS


def test_unknown_names_are_refused(smooth_day: Callable[..., Day]) -> None:
    with pytest.raises(InputError, match="unknown count 'views'"):
        KpiOracle(smooth_day(0), 1.0, count="views")
    with pytest.raises(InputError, match="unknown aim 'fame'"):
        KpiOracle(smooth_day(0), 1.0, aim="fame")
