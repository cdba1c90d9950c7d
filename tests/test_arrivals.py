"""Late conversions: told when they are reported, counted when they are won."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.types import MICROS, IntArray
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.types import COLUMNS, Campaign, Feedback, Rules

SEEDS = st.integers(0, 2**32 - 1)
RULES = st.sampled_from([Rules(), Rules("first_price"), Rules(bid_tick=1e-4)])
CONVERSIONS, REVENUE = COLUMNS.index("conversions"), COLUMNS.index("revenue")


def with_delay(day: Day, delay: IntArray) -> Day:
    """Return the day with conversions reported some ticks after the win."""
    return Day(day.seen, replace(day.hidden, delay=delay), day.ticks, day.segments)


def eager(day: Day) -> Day:
    """Return the day with a conversion on every other row, so that there is something to report."""
    conversion = np.arange(len(day)) % 2 == 0
    revenue = np.where(conversion, 1000 + np.arange(len(day)), 0)
    return Day(day.seen, replace(day.hidden, conversion=conversion, revenue=revenue), day.ticks, day.segments)


def played(day: Day, at: list[float], budget: float, rules: Rules, groups: int) -> tuple[Episode, list[Feedback]]:
    """Play a multiplier per tick; return the books and what was told after every tick."""
    episode, told = Episode(day, Campaign(budget, day.ticks, 1.0, rules), groups), []
    for each in at:
        episode.bid_multipliers(np.array([each]))
        told.append(episode.state().last)
    return episode, told


@given(seed=SEEDS, rules=RULES, pooled=st.booleans(), budget=st.sampled_from([0.02, 1e6]), judged=st.booleans())
def test_conversions_are_told_only_after_their_delay_and_all_are_counted(
    messy_day: Callable[..., Day],
    seed: int,
    rules: Rules,
    pooled: bool,  # noqa: FBT001 - hypothesis
    budget: float,
    judged: bool,  # noqa: FBT001 - hypothesis
) -> None:
    rng = np.random.default_rng(seed)
    plain = eager(messy_day(seed, rows=120, ticks=6))
    delay = rng.integers(0, 4, len(plain))
    late, fresh = with_delay(plain, delay), Day(plain.seen, plain.hidden, plain.ticks, plain.segments, once=True)
    if judged:
        belief = rng.lognormal(0.0, 0.3, plain.segments)
        plain, late, fresh = (day.misjudged(belief) for day in (plain, late, fresh))
    at, groups = rng.lognormal(0.0, 1.5, 6).tolist(), 1 if pooled else plain.segments
    prompt, _ = played(plain, at, budget, rules, groups)
    episode, told = played(late, at, budget, rules, groups)
    assert episode.result().table.tobytes() == prompt.result().table.tobytes()
    scanned, expected = Episode(fresh, episode.campaign, groups), np.zeros((10, groups, 2))
    for tick, each in enumerate(at):  # a fresh day is scanned, and the scan says which rows were won
        for row in np.asarray(scanned.bid_multipliers(np.array([each])).rows):
            group = 0 if pooled else int(plain.seen.segment[row])
            count = [float(plain.hidden.conversion[row]), plain.hidden.revenue[row] / MICROS]
            expected[tick + delay[row], group] += count
    for tick, feedback in enumerate(told):
        assert feedback.conversions.tolist() == expected[tick, :, 0].tolist()
        np.testing.assert_allclose(feedback.revenue, expected[tick, :, 1], rtol=1e-12)


def test_without_delay_everything_is_told_at_once(smooth_day: Callable[..., Day]) -> None:
    day, at = eager(smooth_day(0)), [2.0] * 4
    told = played(day, at, 1e6, Rules(), 3)[1]
    for one, two in zip(told, played(with_delay(day, np.zeros(len(day), int)), at, 1e6, Rules(), 3)[1], strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(two))


@pytest.mark.parametrize("groups", [1, 3])
def test_what_would_arrive_after_the_end_is_never_told(smooth_day: Callable[..., Day], groups: int) -> None:
    day = eager(smooth_day(0))
    episode, told = played(with_delay(day, np.full(len(day), 99)), [9e9] * 4, 1e6, Rules(), groups)
    assert not any(feedback.conversions.any() or feedback.revenue.any() for feedback in told)
    assert not episode.state().total.conversions.any()
    assert episode.result().total("conversions") == day.hidden.conversion.sum() > 0
    assert episode.result().total("revenue") == day.hidden.revenue.sum()
    assert all(feedback.wins.any() and feedback.spend.any() for feedback in told)  # only conversions are late


def test_the_total_is_the_sum_of_what_was_told(smooth_day: Callable[..., Day]) -> None:
    day = eager(smooth_day(3, rows=200))
    episode, told = played(with_delay(day, np.arange(200) % 3), [2.0] * 4, 1e6, Rules(), 3)
    for name in ("conversions", "revenue", "clicks", "spend"):
        total = sum(getattr(feedback, name) for feedback in told)
        np.testing.assert_allclose(getattr(episode.state().total, name), total, rtol=1e-12)
