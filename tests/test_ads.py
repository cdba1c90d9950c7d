"""Several ads on one day: the law of their outcomes, and a tick played against a plain Python loop."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, FloatArray, IntArray
from bidpilot.envs.ads import AdDay, AdMarket, ad_day, play_ads, true_rate
from bidpilot.envs.auctions import AUCTIONS
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.hindsight import best_of
from bidpilot.envs.market import Market
from bidpilot.envs.simulator import Memory, play
from bidpilot.envs.types import COLUMNS, Rules

SEEDS = st.integers(0, 2**32 - 1)
BUDGETS = st.sampled_from([0, 1, 500, 1500, 10_000, 40_001, 10**6, 2**51])
SPEND = COLUMNS.index("spend")


def with_ads(day: Day, seed: int, ads: int = 3, spread: float = 0.7) -> AdDay:
    """Draw ads for a day."""
    rng = np.random.default_rng([seed, 1])
    fits = rng.lognormal(0.0, spread, (ads, day.segments)) if spread else np.ones((ads, day.segments))
    return ad_day(day, fits, rng.random(len(day)), rng.random(len(day)))


def even_day(rows: int, rate: float = 0.2, pcvr: float = 0.3, worth: float = 2.0, *, by_click: bool = False) -> Day:
    """Make a day of alike opportunities, whose clicks or conversions pay, believed to click half as often."""
    rng = np.random.default_rng(0)
    click = rng.random(rows) < rate
    conversion = click & (rng.random(rows) < pcvr)
    revenue = (click if by_click else conversion) * int(worth * MICROS)
    chance = rate if by_click else rate * pcvr
    full, half = np.full(rows, chance * worth), np.full(rows, chance * worth / 2)
    seen = Opportunities(
        np.full(rows, rate / 2), np.full(rows, pcvr), half, 0 * half, np.zeros(rows, int), np.zeros(rows, int)
    )
    hidden = Hidden(np.full(rows, 1000), click, conversion, revenue, full)
    return Day.build(seen, hidden, 1)


def loop(
    ads: AdDay, choice: list[int], tick: int, multipliers: list[float], left: int, *, first: bool = False
) -> FloatArray:
    """Play a tick one opportunity after the other: the rules as the README states them."""
    day = ads.base
    belief = [1.0] * day.segments if day.belief is None else day.belief.tolist()
    table = np.zeros((day.segments, len(COLUMNS)))
    for i in np.flatnonzero(day.seen.tick == tick).tolist():
        s = int(day.seen.segment[i])
        at, value, price = min(multipliers[s] * belief[s], 1e308), float(day.seen.value[i]), int(day.hidden.price[i])
        if not (value > 0 and at > 0 and price < UNWINNABLE and at >= price / (value * MICROS)):
            continue
        cost = max(price, int(min(at * value * MICROS, UNWINNABLE))) if first else price
        if cost > left:
            continue
        left -= cost
        shown = ads[choice[s]].hidden
        judged = [float(day.seen.pctr[i]) * belief[s], value * belief[s]]
        came = [1, cost, int(shown.click[i]), int(shown.conversion[i]), int(shown.revenue[i])]
        table[s] += [*came, *judged, float(shown.expected[i])]
    return table


def drawn(ads: AdDay, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
    """Draw an ad and a multiplier per segment, most of these exactly at some opportunity's own ratio."""
    day = ads.base
    ratio = day.ratio[np.isfinite(day.ratio)]
    pool = np.concatenate([ratio, ratio * 1.7, [0.0, -1.0, np.nan, np.inf, 1e300]])
    return rng.integers(len(ads), size=day.segments), rng.choice(pool, day.segments)


# --- a tick -------------------------------------------------------------------------------------------------------


@given(seed=SEEDS, left=BUDGETS, auction=st.sampled_from(["second_price", "first_price"]), once=st.booleans())
@pytest.mark.parametrize("segments", [1, 3])
def test_a_tick_is_the_plain_loop(
    messy_day: Callable[..., Day],
    segments: int,
    seed: int,
    left: int,
    auction: str,
    once: bool,  # noqa: FBT001 - hypothesis
) -> None:
    ads, rng = replace(with_ads(messy_day(seed, segments=segments), seed), once=once), np.random.default_rng(seed)
    for tick in range(ads.base.ticks):
        choice, multipliers = drawn(ads, rng)
        outcome = play_ads(ads, choice, tick, multipliers, left, Rules(auction))
        wanted = loop(ads, choice.tolist(), tick, multipliers.tolist(), left, first=auction == "first_price")
        assert outcome.table.tobytes() == wanted.tobytes()
        assert outcome.spend <= left
        assert outcome.offered.tolist() == ads.base.offered[tick].tolist()


@given(seed=SEEDS, left=BUDGETS)
def test_a_misjudged_tick_is_the_plain_loop(messy_day: Callable[..., Day], seed: int, left: int) -> None:
    rng = np.random.default_rng(seed)
    ads = with_ads(messy_day(seed).misjudged(rng.lognormal(0.0, 0.5, 3)), seed)
    choice, multipliers = drawn(ads, rng)
    for tick in range(ads.base.ticks):
        outcome = play_ads(ads, choice, tick, multipliers, left)
        np.testing.assert_allclose(
            outcome.table, loop(ads, choice.tolist(), tick, multipliers.tolist(), left), rtol=1e-12
        )
        assert outcome.spend <= left


@given(seed=SEEDS)
def test_the_index_and_the_scan_agree(smooth_day: Callable[..., Day], seed: int) -> None:
    ads, rng = with_ads(smooth_day(seed), seed), np.random.default_rng(seed)
    for tick in range(ads.base.ticks):
        choice, multipliers = drawn(ads, rng)
        tables = [play_ads(replace(ads, once=o), choice, tick, multipliers, 2**51).table for o in (False, True)]
        assert tables[0].tobytes() == tables[1].tobytes()


@given(seed=SEEDS, left=BUDGETS, auction=st.sampled_from(sorted(AUCTIONS)))
def test_every_rule_stays_within_the_budget(messy_day: Callable[..., Day], seed: int, left: int, auction: str) -> None:
    rng = np.random.default_rng(seed)
    day = messy_day(seed)
    day = replace(day, seen=replace(day.seen, user=rng.integers(5, size=len(day))))
    ads = with_ads(day, seed)
    rules = Rules(auction, bid_tick=0.0005, bid_cap=0.02, frequency_cap=2, reaction=0.5)
    shown = rng.integers(3, size=day.users)
    choice, multipliers = drawn(ads, rng)
    outcome = play_ads(ads, choice, 1, multipliers, left, rules, Memory(0.4, shown))
    alone = play(day, 1, multipliers, left, rules, Memory(0.4, shown))
    assert outcome.spend <= left
    np.testing.assert_array_equal(outcome.table[:, :2], alone.table[:, :2])  # what is won does not depend on the ads


def test_what_cannot_be_played_is_refused(smooth_day: Callable[..., Day]) -> None:
    ads, at = with_ads(smooth_day(0), 0), np.ones(3)
    for choice, multipliers in ((np.zeros(2, int), at), (np.zeros(3, int), at[:1])):
        with pytest.raises(InputError, match="expected an ad and a multiplier for each of 3 segments; got"):
            play_ads(ads, choice, 0, multipliers, 1000)
    for wrong in (-1, 3):
        with pytest.raises(InputError, match=r"ads are numbered 0\.\.2; got"):
            play_ads(ads, np.array([0, wrong, 0]), 0, at, 1000)


# --- the law of the ads -------------------------------------------------------------------------------------------


@given(seed=SEEDS)
def test_ads_that_fit_alike_are_the_base_day(messy_day: Callable[..., Day], seed: int) -> None:
    day = messy_day(seed)
    ads = with_ads(day, seed, ads=1, spread=0.0)
    assert ads[0].traffic_hash == day.traffic_hash
    for each in with_ads(day, seed, ads=3, spread=0.0).days:
        for name in ("click", "conversion", "revenue"):
            np.testing.assert_array_equal(getattr(each.hidden, name), getattr(day.hidden, name))


@given(seed=SEEDS)
def test_what_a_worse_ad_gets_a_better_one_gets(smooth_day: Callable[..., Day], seed: int) -> None:
    ads = with_ads(smooth_day(seed), seed)
    segment = ads.base.seen.segment
    for one in range(3):
        for other in range(3):
            better = (ads.factors[one] >= ads.factors[other])[segment]
            for part in (ads.click, ads.conversion, ads.expected):
                assert (part[one] >= part[other])[better].all()


@pytest.mark.parametrize("factor", [0.25, 1.0, 2.0, 4.9, 80.0])
@pytest.mark.parametrize("by_click", [False, True])
def test_rates_and_revenue_follow_the_law(factor: float, by_click: bool) -> None:  # noqa: FBT001 - a table
    rows = 200_000
    day = even_day(rows, by_click=by_click)
    np.testing.assert_allclose(true_rate(day), 0.2)  # the market's rate, not the believed one
    rng = np.random.default_rng(1)
    (ad,) = ad_day(day, np.array([[factor]]), rng.random(rows), rng.random(rows)).days
    rate = min(0.2 * factor, 1.0)
    spread = 5 / np.sqrt(rows)
    assert ad.hidden.click.mean() == pytest.approx(rate, abs=spread)
    assert ad.hidden.conversion.mean() == pytest.approx(rate * 0.3, abs=spread)
    expected = rate * (1.0 if by_click else 0.3) * 2.0
    assert ad.hidden.expected.mean() == pytest.approx(expected)
    assert ad.hidden.revenue.mean() / MICROS == pytest.approx(expected, abs=2 * spread)


def test_clicks_that_are_worth_something_pay_where_nothing_converts() -> None:
    day = even_day(50_000, pcvr=0.0, by_click=True)
    quiet = replace(day, hidden=replace(day.hidden, click=day.hidden.click & False, revenue=day.hidden.revenue * 0))
    rng = np.random.default_rng(1)
    for base, rate in ((day, 0.4), (quiet, 0.25)):  # without clicks 0.2 / 0.8 of the rows get one
        (ad,) = ad_day(base, np.array([[2.0]]), rng.random(50_000), rng.random(50_000)).days
        assert ad.hidden.revenue.mean() / MICROS == pytest.approx(rate * 2.0, rel=0.05)


def test_factors_have_mean_one_and_the_spread(market: Market) -> None:
    ads = AdMarket(market, 500, 0.4).day(np.random.default_rng(0))
    assert ads.factors.shape == (500, market.segment_count)
    assert ads.factors.mean() == pytest.approx(1.0, abs=0.03)
    assert np.log(ads.factors).std() == pytest.approx(0.4, abs=0.02)


def test_the_best_day_bounds_every_ad(market: Market) -> None:
    ads = AdMarket(market).day(np.random.default_rng(3))
    for each in ads.days:
        assert (ads.best.hidden.expected >= each.hidden.expected).all()
        for budget in (1e-5, 0.1, 10.0):
            assert best_of(ads.best, budget) >= best_of(each, budget)
        assert each.hidden.price is ads.base.hidden.price
        assert each.seen is ads.base.seen


def test_traffic_does_not_depend_on_the_ads(market: Market) -> None:
    days = [AdMarket(market, ads, spread).day(np.random.default_rng(5)) for ads, spread in ((1, 0.1), (4, 0.5))]
    again = AdMarket(market).day(np.random.default_rng(5))
    assert days[0].base.traffic_hash == days[1].base.traffic_hash
    assert days[1].traffic_hash == again.traffic_hash != days[0].traffic_hash
    assert len(again) == len(again.days) == 4


def test_what_is_no_ad_is_refused(market: Market, smooth_day: Callable[..., Day]) -> None:
    with pytest.raises(InputError, match="at least 1 ad; got 0"):
        AdMarket(market, 0)
    for spread in (-0.1, np.nan, np.inf):
        with pytest.raises(InputError, match="spread of ads must be a number at least 0; got"):
            AdMarket(market, 2, spread)
    day = smooth_day(0)
    for fits in (np.ones(3), np.ones((2, 4)), np.zeros((2, 3)), np.full((2, 3), np.nan)):
        with pytest.raises(InputError, match=r"factors must be \(ads, 3\) numbers above 0; got"):
            ad_day(day, fits, np.zeros(60), np.zeros(60))
    with pytest.raises(InputError, match="a row for each of 4 ads; got 2"):
        AdMarket(market).over(day, np.random.default_rng(0), np.ones((2, 3)))
