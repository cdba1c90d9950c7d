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
from bidpilot.envs.simulator import Memory, climb, play, play_bids, posted, scan, seen_at, spread
from bidpilot.envs.types import COLUMNS, Campaign, Rules

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
        outcome = play(day, tick, multipliers, left, Rules(auction))
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
        got = play_bids(day, tick, micros[rows] / MICROS, left, Rules(auction)).table[0]
        wins, rest = [], left
        for i in rows:
            cost = int(day.hidden.price[i] if auction == "second_price" else micros[i])
            if micros[i] >= day.hidden.price[i] and cost <= rest:
                rest -= cost
                wins.append(i)
        assert got[:2].tolist() == [len(wins), left - rest]


@given(seed=SEEDS, budget=st.sampled_from([1, 2, 1000, 1001, 30_000, 10**9]), auction=AUCTIONS, bids=st.booleans())
def test_an_episode_never_overspends(
    messy_day: Callable[..., Day],
    seed: int,
    budget: int,
    auction: str,
    bids: bool,  # noqa: FBT001 - hypothesis
) -> None:
    day, rng = messy_day(seed), np.random.default_rng(seed)
    episode = Episode(day, Campaign(budget / MICROS, day.ticks, 1.0, Rules(auction)), 1 if bids else day.segments)
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
        second, first = (play(day, tick, at, 2**51, Rules(name)).table[0] for name in ("second_price", "first_price"))
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
        wins = [play(day, tick, np.array([at]), 2**51, Rules(auction)).table[0, WINS] for at in (low, high)]
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
        small = play(day, tick, multipliers, left, Rules(auction)).table
        large = play(dear, tick, multipliers, left * 1000, Rules(auction)).table
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
        rules = Rules(auction)
        outcomes = [play_bids(day, t, reserve[t : t + 1], 2**51, rules).table[0, :2] for t in range(day.ticks)]
        np.testing.assert_array_equal(outcomes, np.column_stack([np.ones(len(day)), day.hidden.price]))
        below = [play_bids(day, t, reserve[t : t + 1] - 1e-6, 2**51, rules).table[0, 0] for t in range(day.ticks)]
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
    assert capped.table.tobytes() == scan(day, 0, full, left, Rules(), groups=1).table.tobytes()
    assert left - day.hidden.price.max() < capped.spend <= left


def test_multipliers_are_one_or_one_per_segment(smooth_day: Callable[..., Day]) -> None:
    with pytest.raises(InputError, match="expected 1 or 3 multipliers"):
        play(smooth_day(0), 0, np.ones(2), 1)


# --- the exchange's further rules ---------------------------------------------------------------------------------

STEPS = st.sampled_from([0.0, 1e-6, 3e-6, 0.0005, 0.001, 0.04])
CAPS = st.sampled_from([0.0, 1e-6, 0.0005, 0.0015, 0.003, 1.0])


def capped_loop(day: Day, tick: int, multipliers: list[float], left: int, rules: Rules) -> FloatArray:
    """Play a tick one opportunity after the other on a grid of bids with a highest one."""
    step, table = max(1, round(rules.bid_tick * MICROS)), np.zeros((len(multipliers), len(COLUMNS)))
    for i in np.flatnonzero(day.seen.tick == tick).tolist():
        group = int(day.seen.segment[i]) if len(multipliers) > 1 else 0
        multiplier, value, price = multipliers[group], float(day.seen.value[i]), int(day.hidden.price[i])
        least = -(-price // step) * step  # the lowest bid on the grid that wins
        highest = round(rules.bid_cap * MICROS) // step * step if rules.bid_cap else UNWINNABLE
        if not (value > 0 and multiplier > 0 and price < UNWINNABLE and least <= highest):
            continue
        if not multiplier >= least / (value * MICROS):
            continue
        bid = max(int(min(multiplier * value * MICROS, highest)) // step * step, least)
        cost = price if rules.auction == "second_price" else max(price, bid)
        if cost > left:
            continue
        left -= cost
        click, conversion = bool(day.hidden.click[i]), bool(day.hidden.conversion[i])
        worths = (float(day.seen.pctr[i]), value, float(day.hidden.expected[i]))
        table[group] += [1, cost, click, conversion, int(day.hidden.revenue[i]), *worths]
    return table


@given(seed=SEEDS, left=BUDGETS, auction=AUCTIONS, step=STEPS, cap=CAPS, pooled=st.booleans())
def test_bid_ticks_and_caps_are_the_plain_loop(
    messy_day: Callable[..., Day],
    seed: int,
    left: int,
    auction: str,
    step: float,
    cap: float,
    pooled: bool,  # noqa: FBT001 - hypothesis
) -> None:
    day, rng, rules = messy_day(seed), np.random.default_rng(seed), Rules(auction, bid_tick=step, bid_cap=cap)
    for tick in range(day.ticks):
        multipliers = wild(day, 1 if pooled else day.segments, rng)
        outcome = play(day, tick, multipliers, left, rules)
        assert outcome.table.tobytes() == capped_loop(day, tick, multipliers.tolist(), left, rules).tobytes()


@given(seed=SEEDS, auction=AUCTIONS, step=st.integers(1, 4000), cap=st.integers(0, 9000))
def test_bids_in_currency_are_cut_to_the_grid_and_the_cap(
    smooth_day: Callable[..., Day], seed: int, auction: str, step: int, cap: int
) -> None:
    day, rules = smooth_day(seed, ticks=1), Rules(auction, bid_tick=step / MICROS, bid_cap=cap / MICROS)
    micros = np.random.default_rng(seed).integers(0, 20_000, len(day))
    wins = spent = 0
    for bid, price in zip(micros.tolist(), day.hidden.price.tolist(), strict=True):
        placed = min(bid, cap or bid) // step * step
        if placed >= price:
            wins += 1
            spent += price if auction == "second_price" else placed
    assert play_bids(day, 0, micros / MICROS, 2**51, rules).table[0, :2].tolist() == [wins, spent]


def with_users(day: Day, seed: int, users: int = 6) -> Day:
    """Return the day with a few people who come again and again."""
    user = np.random.default_rng(seed).integers(users, size=len(day))
    return Day(replace(day.seen, user=user), day.hidden, day.ticks, day.segments)


@given(seed=SEEDS, budget=st.sampled_from([1, 3000, 20_000, 10**9]), auction=AUCTIONS, cap=st.integers(1, 4))
def test_nobody_sees_the_campaign_more_often_than_the_cap_allows(
    messy_day: Callable[..., Day], seed: int, budget: int, auction: str, cap: int
) -> None:
    day, rules = with_users(messy_day(seed, rows=120), seed), Rules(auction, frequency_cap=cap)
    episode, rng = (
        Episode(day, Campaign(budget / MICROS, day.ticks, 1.0, rules), day.segments),
        np.random.default_rng(1),
    )
    shown, left, users = np.zeros(6, dtype=int), budget, np.asarray(day.seen.user)
    for tick in range(day.ticks):
        at = wild(day, day.segments, rng)
        rows = []
        for i in np.flatnonzero(day.seen.tick == tick).tolist():
            multiplier, value = at[day.seen.segment[i]], day.seen.value[i]
            price = int(day.hidden.price[i])
            if not (value > 0 and multiplier > 0 and price < UNWINNABLE and multiplier >= price / (value * MICROS)):
                continue
            first = max(price, int(min(multiplier * value * MICROS, UNWINNABLE)))
            cost = price if auction == "second_price" else first
            if cost <= left and shown[users[i]] < cap:
                left -= cost
                shown[users[i]] += 1
                rows.append(i)
        outcome = episode.bid_multipliers(at)
        assert outcome.rows is not None
        assert outcome.rows.tolist() == rows
        assert episode.left == left
    assert shown.max() <= cap


def test_without_users_nothing_can_be_capped(smooth_day: Callable[..., Day]) -> None:
    with pytest.raises(InputError, match="the day does not say who looks"):
        Episode(smooth_day(0), Campaign(1.0, 4, 1.0, Rules(frequency_cap=2)))


@given(seed=SEEDS, heat=st.floats(0.0, 1.0), reaction=st.floats(0.01, 3.0), auction=AUCTIONS)
def test_rivals_who_react_raise_every_price_by_the_factor(
    messy_day: Callable[..., Day], seed: int, heat: float, reaction: float, auction: str
) -> None:
    day, rules, at = messy_day(seed), Rules(auction, reaction=reaction), np.array([1.3])
    hot = np.rint(day.hidden.price * np.exp(reaction * heat)).astype(np.int64)
    hot = np.where(day.hidden.price < UNWINNABLE, hot, day.hidden.price)
    dear = Day(day.seen, replace(day.hidden, price=hot), day.ticks, day.segments)
    for tick in range(day.ticks):
        got = play(day, tick, at, 30_000, rules, Memory(heat))
        assert got.table.tobytes() == play(dear, tick, at, 30_000, Rules(auction)).table.tobytes()
        assert posted(day, tick, rules, Memory(heat)).tolist() == dear.posted[tick].tolist()
        assert got.table[0, WINS] <= play(day, tick, at, 2**51, Rules(auction)).table[0, WINS]


def test_who_wins_much_meets_dearer_auctions_and_a_pause_calms_them(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(2, rows=4000, ticks=8)

    def price_paid(multipliers: list[float]) -> list[float]:
        episode = Episode(day, Campaign(1e6, 8, 1.0, Rules(reaction=2.0)))
        tables = [episode.bid_multipliers(np.array([at])).table[0] for at in multipliers]
        return [table[BUDGET] / max(table[WINS], 1) for table in tables]

    dear, rest = price_paid([1e6] * 8), price_paid([1e6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1e6])
    calm = day.full_cost / len(day)
    assert dear[0] == pytest.approx(calm, rel=0.1)
    assert dear[1] == pytest.approx(calm * np.exp(2.0 * 0.5), rel=0.15)
    assert dear[-1] == pytest.approx(calm * np.exp(2.0), rel=0.15)
    assert rest[-1] == pytest.approx(calm, rel=0.1)


@given(seed=SEEDS, floor=st.lists(st.sampled_from([0, 700, 2000, 9000]), min_size=60, max_size=60))
def test_below_its_soft_floor_an_impression_costs_the_bid(
    smooth_day: Callable[..., Day], seed: int, floor: list[int]
) -> None:
    plain = smooth_day(seed, ticks=1)
    soft = np.array(floor) / MICROS
    day = Day(replace(plain.seen, soft_floor=soft), plain.hidden, 1, plain.segments)
    at, cost = 1.4, 0
    for i in range(len(day)):
        price, bid = int(day.hidden.price[i]), at * float(day.seen.value[i]) * MICROS
        if at >= price / (float(day.seen.value[i]) * MICROS):
            cost += max(price, floor[i]) if bid >= floor[i] else max(price, int(bid))
    assert play(day, 0, np.array([at]), 2**51, Rules("soft_floor")).spend == cost


# --- a bidder who misjudges, and what is told ---------------------------------------------------------------------


@given(seed=SEEDS, pooled=st.booleans(), left=BUDGETS)
def test_misjudged_views_give_the_same_bytes_by_ladder_and_by_scan(
    messy_day: Callable[..., Day],
    seed: int,
    pooled: bool,  # noqa: FBT001 - hypothesis
    left: int,
) -> None:
    plain, rng = messy_day(seed), np.random.default_rng(seed)
    once = Day(plain.seen, plain.hidden, plain.ticks, plain.segments, once=True)
    belief = rng.lognormal(0.0, 0.5, plain.segments)
    day, fresh = plain.misjudged(belief), once.misjudged(belief)
    groups = 1 if pooled else plain.segments
    for tick in range(day.ticks):
        at = wild(day, groups, rng) / rng.choice([1.0, *belief], groups)
        scanned = scan(day, tick, spread(day, tick, at), 2**51, Rules(), groups)
        assert climb(day, tick, at, groups).table.tobytes() == scanned.table.tobytes()
        assert play(day, tick, at, left).table.tobytes() == play(fresh, tick, at, left).table.tobytes()


@given(seed=SEEDS)
def test_one_group_under_a_belief_is_the_sum_over_segments(messy_day: Callable[..., Day], seed: int) -> None:
    plain, rng = messy_day(seed), np.random.default_rng(seed)
    day = plain.misjudged(rng.lognormal(0.0, 0.5, plain.segments))
    at = wild(day, 1, rng)
    for tick in range(day.ticks):
        for rules in (Rules(), Rules("first_price")):
            played = play(day, tick, at, 2**51, rules)
            parts = play(day, tick, np.repeat(at, day.segments), 2**51, rules)
            assert played.table.tobytes() == parts.table.sum(axis=0, keepdims=True).tobytes()
            assert played.offered.sum() == parts.offered.sum()


@given(seed=SEEDS)
def test_a_view_bids_what_it_believes_and_pays_what_is_asked(smooth_day: Callable[..., Day], seed: int) -> None:
    day = smooth_day(seed)
    belief = np.random.default_rng(seed).lognormal(0.0, 0.7, day.segments)
    view = day.misjudged(belief)
    wrong = Day.build(replace(day.seen, value=view.believed), day.hidden, day.ticks, day.segments)
    for tick in range(day.ticks):
        got, copy = play(view, tick, np.array([1.1]), 2**51), play(wrong, tick, np.array([1.1]), 2**51)
        np.testing.assert_allclose(got.table[:, :5], copy.table[:, :5])
        np.testing.assert_allclose(got.table[:, 6:], copy.table[:, 6:])
