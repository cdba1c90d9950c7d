"""Money: never over budget, ties won, the skip rule, and what a win costs, against plain Python loops."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, FloatArray
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.simulator import affordable, play, play_bids, scan, seen_at
from bidpilot.envs.types import COLUMNS, Campaign

SEEDS = st.integers(0, 2**32 - 1)
AUCTIONS = st.sampled_from(["second_price", "first_price"])
BUDGETS = st.sampled_from([0, 1, 2, 500, 1500, 10_000, 40_001, 10**6, 2**51])
BUDGET, WINS = COLUMNS.index("spend"), COLUMNS.index("wins")


def wild(day: Day, groups: int, rng: np.random.Generator) -> FloatArray:
    """Draw multipliers, most of them exactly at some opportunity's own ratio."""
    ratio = day.ratio[np.isfinite(day.ratio)]
    return rng.choice(np.concatenate([ratio, ratio * 1.7, [0.0, -1.0, np.nan, np.inf, 1e300]]), groups)


def loop(day: Day, tick: int, multipliers: list[float], left: int, auction: str) -> FloatArray:
    """Play a tick one opportunity after the other: the rules as the README states them."""
    table = np.zeros((len(multipliers), len(COLUMNS)))
    for i in np.flatnonzero(day.seen.tick == tick).tolist():
        group = int(day.seen.segment[i]) if len(multipliers) > 1 else 0
        multiplier, value, price = multipliers[group], float(day.seen.value[i]), int(day.hidden.price[i])
        if not (value > 0 and multiplier > 0 and price < UNWINNABLE and multiplier >= price / (value * MICROS)):
            continue
        bid = min(multiplier * value * MICROS, UNWINNABLE)
        cost = price if auction == "second_price" else max(price, int(bid))
        if cost > left:
            continue
        left -= cost
        click, conversion = bool(day.hidden.click[i]), bool(day.hidden.conversion[i])
        worths = (float(day.seen.pctr[i]), value, float(day.hidden.expected[i]))
        table[group] += [1, cost, click, conversion, int(day.hidden.revenue[i]), *worths]
    return table


def one_by_one(day: Day) -> Day:
    """Give every opportunity a tick of its own."""
    return Day(replace(day.seen, tick=np.arange(len(day))), day.hidden, len(day), day.segments)


@given(seed=SEEDS, left=BUDGETS, auction=AUCTIONS, pooled=st.booleans())
def test_play_is_the_plain_loop(
    messy_day: Callable[..., Day],
    seed: int,
    left: int,
    auction: str,
    pooled: bool,  # noqa: FBT001 - hypothesis
) -> None:
    day, rng = messy_day(seed), np.random.default_rng(seed)
    for tick in range(day.ticks):
        multipliers = wild(day, 1 if pooled else day.segments, rng)
        outcome = play(day, tick, multipliers, left, auction)
        assert outcome.table.tobytes() == loop(day, tick, multipliers.tolist(), left, auction).tobytes()
        assert outcome.spend <= left
        assert outcome.offered.tolist() == ([day.offered[tick].sum()] if pooled else day.offered[tick].tolist())


@given(seed=SEEDS, left=BUDGETS, auction=AUCTIONS)
def test_bids_in_currency_are_the_plain_loop(
    smooth_day: Callable[..., Day], seed: int, left: int, auction: str
) -> None:
    day = smooth_day(seed, segments=1)
    micros = np.random.default_rng(seed).integers(0, 9000, len(day))
    for tick in range(day.ticks):
        rows = np.flatnonzero(day.seen.tick == tick)
        got = play_bids(day, tick, micros[rows] / MICROS, left, auction).table[0]
        wins, rest = [], left
        for i in rows:
            cost = int(day.hidden.price[i] if auction == "second_price" else micros[i])
            if micros[i] >= day.hidden.price[i] and cost <= rest:
                rest -= cost
                wins.append(i)
        assert got[:2].tolist() == [len(wins), left - rest]


@given(costs=st.lists(st.integers(0, 60), max_size=40), left=st.integers(0, 400))
def test_affordable_is_the_skip_rule(costs: list[int], left: int) -> None:
    wanted, rest = [], left
    for cost in costs:
        wanted.append(cost <= rest)
        rest -= cost if cost <= rest else 0
    assert affordable(np.array(costs, dtype=np.int64), left).tolist() == wanted


@given(seed=SEEDS, budget=st.sampled_from([1, 2, 1000, 1001, 30_000, 10**9]), auction=AUCTIONS, bids=st.booleans())
def test_an_episode_never_overspends(
    messy_day: Callable[..., Day],
    seed: int,
    budget: int,
    auction: str,
    bids: bool,  # noqa: FBT001 - hypothesis
) -> None:
    day, rng = messy_day(seed), np.random.default_rng(seed)
    episode = Episode(day, Campaign(budget / MICROS, day.ticks, 1.0, auction), 1 if bids else day.segments)
    assert episode.left == budget
    while not episode.over:
        before = episode.left
        if bids:
            amounts = rng.choice([np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-6, 0.002, 5.0, 1e308], len(day))
            outcome = episode.bid_amounts(amounts[: len(seen_at(day, episode.tick).value)])
        else:
            outcome = episode.bid_multipliers(wild(day, day.segments, rng))
        assert 0 <= outcome.spend <= before
        assert episode.left == before - outcome.spend
    assert episode.result().total("spend") == budget - episode.left <= budget


@given(seed=SEEDS)
def test_losers_pay_nothing_and_winners_at_most_their_bid(messy_day: Callable[..., Day], seed: int) -> None:
    day = one_by_one(messy_day(seed))
    at = wild(day, 1, np.random.default_rng(seed))
    for tick in range(day.ticks):
        second, first = (play(day, tick, at, 2**51, name).table[0] for name in ("second_price", "first_price"))
        assert second[WINS] == first[WINS]
        if second[WINS]:
            bid = min(at[0], 1e300) * day.seen.value[tick] * MICROS
            assert day.hidden.price[tick] == second[BUDGET] <= first[BUDGET] <= max(bid * (1 + 1e-12), second[BUDGET])
        else:
            assert not second.any()
            assert not first.any()


@given(seed=SEEDS, auction=AUCTIONS)
def test_a_higher_bid_never_loses_what_a_lower_one_won(messy_day: Callable[..., Day], seed: int, auction: str) -> None:
    day = one_by_one(messy_day(seed))
    low, high = np.sort(np.abs(wild(day, 2, np.random.default_rng(seed))))
    for tick in range(day.ticks):
        wins = [play(day, tick, np.array([at]), 2**51, auction).table[0, WINS] for at in (low, high)]
        assert wins[0] <= wins[1] or np.isnan(high)


@given(seed=SEEDS, auction=AUCTIONS, left=BUDGETS)
def test_a_thousandfold_currency_changes_no_decision(
    smooth_day: Callable[..., Day], seed: int, auction: str, left: int
) -> None:
    day, rng = smooth_day(seed), np.random.default_rng(seed)
    dear = Day.build(
        replace(day.seen, value=day.seen.value * 1000),
        replace(day.hidden, price=day.hidden.price * 1000, expected=day.hidden.expected * 1000),
        day.ticks,
        day.segments,
    )
    multipliers = rng.lognormal(0.0, 1.0, day.segments)
    if auction == "first_price":
        left = 2**41  # a bid is rounded to whole units, and those are not the same
    for tick in range(day.ticks):
        small = play(day, tick, multipliers, left, auction).table
        large = play(dear, tick, multipliers, left * 1000, auction).table
        np.testing.assert_array_equal(small[:, WINS], large[:, WINS])
        np.testing.assert_array_equal(small[:, 2:4], large[:, 2:4])
        np.testing.assert_allclose(small[:, BUDGET] * 1000, large[:, BUDGET], atol=1000 * small[:, WINS].sum())


def test_a_budget_that_fits_exactly_is_spent(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(4, ticks=1)
    everything = play(day, 0, np.array([np.inf]), day.full_cost)
    assert (everything.spend, everything.table[0, WINS]) == (day.full_cost, len(day))
    assert play(day, 0, np.array([np.inf]), day.full_cost - 1).table[0, WINS] < len(day)


def test_what_is_sold_exactly_at_the_reserve_is_sold(smooth_day: Callable[..., Day]) -> None:
    day = one_by_one(smooth_day(6, rows=3000))
    reserve = day.hidden.price / MICROS
    for auction in ("second_price", "first_price"):
        outcomes = [play_bids(day, t, reserve[t : t + 1], 2**51, auction).table[0, :2] for t in range(day.ticks)]
        np.testing.assert_array_equal(outcomes, np.column_stack([np.ones(len(day)), day.hidden.price]))
        below = [play_bids(day, t, reserve[t : t + 1] - 1e-6, 2**51, auction).table[0, 0] for t in range(day.ticks)]
        assert not np.any(below)


def test_free_impressions_cost_nothing_and_need_a_bid(messy_day: Callable[..., Day]) -> None:
    day = messy_day(3, rows=400, ticks=1)
    free = (day.hidden.price == 0) & (day.seen.value > 0)
    assert free.sum() > 5
    assert play(day, 0, np.array([1e-300]), 0).table[0, :2].tolist() == [free.sum(), 0]
    for nothing in (0.0, -1.0, np.nan):
        assert not play(day, 0, np.array([nothing]), 10**9).table.any()


def test_the_scan_answers_where_the_ladder_cannot(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(7, rows=500, ticks=1)
    left = day.full_cost // 3
    capped = play(day, 0, np.array([50.0]), left)
    full = np.full(len(day), 50.0)
    assert capped.table.tobytes() == scan(day, 0, full, left, "second_price", groups=1).table.tobytes()
    assert left - day.hidden.price.max() < capped.spend <= left


def test_multipliers_are_one_or_one_per_segment(smooth_day: Callable[..., Day]) -> None:
    with pytest.raises(InputError, match="expected 1 or 3 multipliers"):
        play(smooth_day(0), 0, np.ones(2), 1)
