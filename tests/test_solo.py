"""One multiplier in floats: the books of Episode, byte by byte."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.types import MICROS
from bidpilot.envs import solo
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.solo import Solo, episode_of, indexed
from bidpilot.envs.types import Campaign, CampaignState, Rules

SEEDS = st.integers(0, 2**32 - 1)
BUDGETS = st.sampled_from([1, 2, 1000, 1001, 20_000, 40_001, 10**9])
RULES = st.sampled_from([Rules(), Rules("first_price"), Rules("soft_floor"), Rules(bid_tick=0.0005, bid_cap=0.002)])
TOLD = ("offered", "wins", "spend", "clicks", "predicted_clicks", "predicted")


def numbers(state: CampaignState) -> list[float]:
    """Return everything that a float bidder reads of a state."""
    told = [float(getattr(part, name)) for part in (state.total, state.last) for name in TOLD]
    return [state.tick, state.spent, state.left, *told]


def agree(day: Day, campaign: Campaign, multipliers: list[float]) -> None:
    """Play both, and compare every number that either tells."""
    quick, plain = Solo(day, campaign), Episode(day, campaign)
    for at in multipliers:
        assert numbers(quick.glance()) == numbers(plain.glance())
        assert quick.advance(at) == plain.advance(at)
        assert (quick.tick, quick.left, quick.over) == (plain.tick, plain.left, plain.over)
    assert numbers(quick.glance()) == numbers(plain.glance())
    one, two = quick.result(), plain.result()
    assert one.table.tobytes() == two.table.tobytes()
    assert one.offered.tolist() == two.offered.tolist()
    assert (one.campaign, one.traffic_hash) == (two.campaign, two.traffic_hash)


@given(seed=SEEDS, budget=BUDGETS, rules=RULES, once=st.booleans())
def test_it_is_the_episode_to_the_bit(
    messy_day: Callable[..., Day],
    seed: int,
    budget: int,
    rules: Rules,
    once: bool,  # noqa: FBT001 - hypothesis
) -> None:
    stored, rng = messy_day(seed), np.random.default_rng(seed)
    day = Day(stored.seen, stored.hidden, stored.ticks, stored.segments, once=once)
    ratio = day.ratio[np.isfinite(day.ratio)]
    pool = np.concatenate([ratio, 1.7 * ratio, [0.0, -1.0, np.nan, np.inf, 1e300]])
    agree(day, Campaign(budget / MICROS, day.ticks, 1.0, rules), rng.choice(pool, day.ticks).tolist())


@given(seed=SEEDS, share=st.floats(0.01, 0.9))
def test_large_ticks_settled_by_blocks_are_the_episode_too(
    smooth_day: Callable[..., Day], seed: int, share: float
) -> None:
    day = smooth_day(seed, rows=2000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solo, "MANY", 3)
        budget = share * day.full_cost / MICROS
        agree(day, Campaign(budget, day.ticks, 1.0), np.random.default_rng(seed).lognormal(1.0, 1.0, 4).tolist())


def test_a_tick_of_more_wins_than_blocks_are_for(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(3, rows=30_000)
    assert day.offered.sum(axis=1).min() > solo.MANY
    for share in (0.05, 0.5, 0.95):
        agree(day, Campaign(share * day.full_cost / MICROS, 4, 1.0), [50.0, 1e9, 2.0, 1e9])


def test_it_is_chosen_where_it_plays_exactly(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(0)
    once = Day(day.seen, day.hidden, day.ticks, day.segments, once=True)
    plain = Campaign(1.0, 4, 1.0)
    assert isinstance(episode_of(day, plain, 1), Solo)
    assert isinstance(episode_of(once, plain, 1), Solo)
    assert isinstance(episode_of(day, plain, 3), Episode)
    assert isinstance(episode_of(day.misjudged(np.ones(3)), plain, 1), Episode)
    for rules in (Rules(reaction=0.5), Rules(censored=False)):
        assert isinstance(episode_of(day, Campaign(1.0, 4, 1.0, rules), 1), Episode)
    assert indexed(day, plain)
    assert not indexed(once, plain)
    assert not indexed(day, Campaign(1.0, 4, 1.0, Rules("first_price")))


def test_half_an_episode_has_half_a_result(smooth_day: Callable[..., Day]) -> None:
    day, campaign = smooth_day(0), Campaign(1.0, 4, 1.0)
    quick, plain = Solo(day, campaign), Episode(day, campaign)
    for episode in (quick, plain):
        episode.advance(2.0)
        episode.advance(2.0)
    assert quick.result().table.tobytes() == plain.result().table.tobytes()
    assert quick.result().offered.tolist() == plain.result().offered.tolist()
