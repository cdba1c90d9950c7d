"""The best of a class: replayed to the coin, above every policy of the class, and below R*."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.hindsight import best_multiplier, best_value
from bidpilot.envs.policy_class import AUCTIONS, GROUPINGS, best_of_class
from bidpilot.envs.types import Campaign, EpisodeResult, Rules

SEEDS = st.integers(0, 2**32 - 1)
BELIEF = np.array([0.5, 1.3, 2.1])


def played(
    day: Day, plan: np.ndarray[tuple[int, int], np.dtype[np.float64]], money: float, auction: str
) -> EpisodeResult:
    """Play multipliers (ticks, segments)."""
    episode = Episode(day, Campaign(money, day.ticks, 1.0, Rules(auction)), day.segments)
    while not episode.over:
        episode.bid_multipliers(plan[episode.tick])
    return episode.result()


@pytest.mark.parametrize("auction", AUCTIONS)
@pytest.mark.parametrize("by", GROUPINGS)
@given(seed=SEEDS, share=st.sampled_from([0.001, 0.1, 0.5, 1.0, 3.0]))
def test_it_is_what_its_multipliers_win(
    messy_day: Callable[..., Day], smooth_day: Callable[..., Day], by: str, auction: str, seed: int, share: float
) -> None:
    for day in (messy_day(seed), smooth_day(seed), smooth_day(seed).misjudged(BELIEF)):
        budget = share * day.full_cost / MICROS + 1e-6
        best = best_of_class(day, budget, by, auction)
        won = played(day, best.multipliers, 1e6, auction)  # with money to spare nothing is refused
        assert won.total("expected") == pytest.approx(best.value, rel=1e-9, abs=1e-12)
        assert won.total("spend") <= budget * MICROS + 1e-6
        assert won.total("spend") == pytest.approx(best.spend * MICROS, abs=1 + won.total("wins"))  # bids are cut
        assert best.value <= best.bound * (1 + 1e-12) + 1e-12


@pytest.mark.parametrize("auction", AUCTIONS)
@given(seed=SEEDS, share=st.floats(0.01, 1.2))
def test_finer_classes_reach_more_and_none_more_than_the_optimum(
    smooth_day: Callable[..., Day], auction: str, seed: int, share: float
) -> None:
    day = smooth_day(seed).misjudged(BELIEF)
    budget = share * day.full_cost / MICROS
    bounds = [best_of_class(day, budget, by, auction).bound for by in GROUPINGS]
    top = float(best_value(day, np.array([budget]))[0])
    assert bounds[0] <= bounds[1] * (1 + 1e-9)
    assert bounds[1] <= bounds[2] * (1 + 1e-9)
    assert bounds[2] <= top * (1 + 1e-9)
    if auction == "second_price":  # predictions are right within a segment
        assert bounds[1] == pytest.approx(top, rel=1e-9)


@pytest.mark.parametrize("auction", AUCTIONS)
def test_one_group_is_the_best_multiplier(smooth_day: Callable[..., Day], auction: str) -> None:
    for seed in range(20):
        day = smooth_day(seed).misjudged(BELIEF)
        budget = 0.2 * day.full_cost / MICROS
        at = best_multiplier(day, budget, auction)
        assert (best_of_class(day, budget, "day", auction).multipliers == at).all()


@pytest.mark.parametrize("auction", AUCTIONS)
def test_no_random_policy_of_the_class_beats_its_bound(smooth_day: Callable[..., Day], auction: str) -> None:
    rng = np.random.default_rng(5)
    for number in range(1000):
        day = smooth_day(number % 10).misjudged(BELIEF)
        budget = float(rng.uniform(0.05, 1.0)) * day.full_cost / MICROS
        plan = rng.lognormal(0.5, 1.0, (day.ticks, day.segments))
        episode = Episode(day, Campaign(1e6, day.ticks, 1.0, Rules(auction)), day.segments)
        spent = earned = 0.0
        for row in plan:  # what fits whole: at the budget's end the exchange would refuse some
            episode.bid_multipliers(row)
        spent, earned = episode.result().total("spend"), episode.result().total("expected")
        slack = len(day) * (auction == "first_price")  # bids are cut to whole micro-currency
        if spent + slack <= budget * MICROS:
            assert earned <= best_of_class(day, budget, "cell", auction).bound * (1 + 1e-9)
        else:
            assert earned <= best_of_class(day, (spent + slack) / MICROS, "cell", auction).bound * (1 + 1e-9)


def test_at_first_price_the_price_of_knowing_every_price_is_out_of_reach(smooth_day: Callable[..., Day]) -> None:
    reached = []
    for seed in range(5):
        day = smooth_day(seed, rows=2000)
        budget = 0.125 * day.full_cost / MICROS
        top = float(best_value(day, np.array([budget]))[0])
        reached.append([best_of_class(day, budget, by, "first_price").value / top for by in GROUPINGS])
    one, segment, cell = np.mean(reached, axis=0)
    assert one < segment < cell < 0.97


def test_other_auctions_and_groupings_are_refused(smooth_day: Callable[..., Day]) -> None:
    with pytest.raises(InputError, match="soft_floor"):
        best_of_class(smooth_day(0), 1.0, auction="soft_floor")
    with pytest.raises(InputError, match="unknown grouping 'hour'"):
        best_of_class(smooth_day(0), 1.0, by="hour")
