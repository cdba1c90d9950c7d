"""Episodes in lockstep: which form is chosen, and that each plays as it would alone."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.envs.bank import Bank
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.fleet import Fleet, Squad, fleet_of
from bidpilot.envs.herd import Herd
from bidpilot.envs.types import Campaign, Rules

SEEDS = st.integers(0, 2**32 - 1)
BUDGETS = st.lists(st.sampled_from([0.5e-6, 1e-6, 0.0005, 0.004, 0.05, 1e3]), min_size=1, max_size=4)


def fresh(day: Day) -> Day:
    return Day(day.seen, day.hidden, day.ticks, day.segments, once=True)


@given(seed=SEEDS, budgets=BUDGETS, pooled=st.booleans(), judged=st.integers(0, 2))
def test_a_fleet_is_its_episodes(
    messy_day: Callable[..., Day],
    seed: int,
    budgets: list[float],
    pooled: bool,  # noqa: FBT001 - hypothesis
    judged: int,
) -> None:
    rng, groups = np.random.default_rng(seed), 1 if pooled else 3
    days = [messy_day(seed + i % 2, rows=int(rng.integers(0, 90))) for i in range(len(budgets))]
    for i in range(len(days)):
        if judged == 2 or (judged == 1 and i % 2):
            days[i] = days[i].misjudged(rng.lognormal(0.0, 0.5, 3))
    campaigns = [Campaign(budget, 4, 1.0) for budget in budgets]
    fleet = Fleet(days, campaigns, groups)
    plain = [Episode(day, campaign, groups) for day, campaign in zip(days, campaigns, strict=True)]
    ratio = np.concatenate([[0.0, np.inf, np.nan, 1e300, -1.0], *[day.ratio[np.isfinite(day.ratio)] for day in days]])
    while fleet.tick < fleet.ticks:
        at = rng.choice(ratio, (len(days), groups))
        rows = np.array([episode.advance(each) for episode, each in zip(plain, at, strict=True)])
        assert np.ascontiguousarray(fleet.advance(at)).tobytes() == rows.tobytes()
        assert fleet.left.tolist() == [episode.left for episode in plain]


@given(seed=SEEDS)
def test_the_order_of_episodes_does_not_matter(messy_day: Callable[..., Day], seed: int) -> None:
    rng = np.random.default_rng(seed)
    days = [messy_day(seed + i) for i in range(3)]
    campaigns = [Campaign(budget, 4, 1.0) for budget in (0.001, 0.02, 5.0)]
    order = rng.permutation(3)
    one = Fleet(days, campaigns, 3)
    two = Fleet([days[i] for i in order], [campaigns[i] for i in order], 3)
    for _ in range(4):
        at = rng.lognormal(0.0, 1.5, (3, 3))
        assert one.advance(at)[order].tolist() == two.advance(at[order]).tolist()


def test_the_quickest_form_that_plays_exactly_is_chosen(smooth_day: Callable[..., Day]) -> None:
    stored, plain = smooth_day(0), Campaign(1.0, 4, 1.0)
    assert isinstance(fleet_of([stored] * 2, [plain] * 2, 1, None), Fleet)
    assert isinstance(fleet_of([fresh(stored)] * 2, [plain] * 2, 3, None), Herd)
    assert isinstance(fleet_of([stored, fresh(stored)], [plain] * 2, 1, None), Squad)
    for rules in (Rules("first_price"), Rules(censored=False), Rules(reaction=0.1), Rules(bid_tick=0.001)):
        other = Campaign(1.0, 4, 1.0, rules)
        for day in (stored, fresh(stored)):
            assert isinstance(fleet_of([day] * 2, [plain, other], 1, None), Squad)


def test_a_bank_is_used_again_where_it_has_all_days(messy_day: Callable[..., Day]) -> None:
    one, two, three = (messy_day(seed) for seed in range(3))
    campaigns = [Campaign(0.01, 4, 1.0)] * 2
    first = Fleet([one, two], campaigns, 1)
    again = Fleet([two, two], campaigns, 1, first.bank)
    assert again.bank is first.bank
    assert Fleet([one, three], campaigns, 1, first.bank).bank is not first.bank
    assert Fleet([one, two], campaigns, 3, first.bank).bank is not first.bank  # of other cells
    fresh_bank = Fleet([two, two], campaigns, 1, Bank([two.pooled]))
    at = np.array([[0.7], [2.0]])
    for _ in range(4):
        assert again.advance(at).tobytes() == fresh_bank.advance(at).tobytes()


def test_a_state_is_not_changed_by_what_comes_later(messy_day: Callable[..., Day]) -> None:
    days, campaigns = [messy_day(0), messy_day(1)], [Campaign(0.01, 4, 1.0)] * 2
    for books in (
        Fleet(days, campaigns, 3),
        Herd([fresh(day) for day in days], campaigns, 3),
        Squad(days, campaigns, 3),
    ):
        books.advance(np.full((2, 3), 1.0))
        state = books.glance()
        kept = [np.array(amount) for amount in (state.left, *state.last)]
        books.advance(np.full((2, 3), 2.0))
        for before, after in zip(kept, (state.left, *state.last), strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("form", [Fleet, Herd, Squad])
def test_what_does_not_fit_is_refused(smooth_day: Callable[..., Day], form: type[Fleet | Herd | Squad]) -> None:
    day = smooth_day(0)
    with pytest.raises(InputError, match="the campaign runs 5 ticks, the day has 4"):
        form([day, day], [Campaign(1.0, 4, 1.0), Campaign(1.0, 5, 1.0)], 1)
    with pytest.raises(InputError, match="the day has 3, not 2"):
        form([day], [Campaign(1.0, 4, 1.0)], 2)
    with pytest.raises(ValueError, match="argument 2 is shorter"):  # a day without a campaign is not dropped
        form([day, day], [Campaign(1.0, 4, 1.0)], 1)
