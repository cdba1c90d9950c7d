"""Drawn traffic: every day is one that check_day lets pass, its sums are exact, and it follows the law's figures."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, to_micros
from bidpilot.envs.day import Day
from bidpilot.envs.day_checks import check_day
from bidpilot.envs.goal import Goal
from bidpilot.envs.grid import on_grid
from bidpilot.envs.market import Market, MiscalibratedMarket, draw_days
from bidpilot.envs.simulator import play
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.traffic_law import KINDS, Tables, TrafficLaw, lognormal, normal_quantiles

SEEDS = st.integers(0, 2**32 - 1)
SHARES, SPREADS = st.floats(0.0, 1.0), st.floats(0.0, 2.0)
LAWS = st.builds(
    TrafficLaw,
    opportunities=st.floats(0.1, 3000.0),
    ticks=st.integers(1, 60),
    segments=st.integers(1, 1024),
    ctr=SHARES,
    cvr=SHARES,
    goal=st.builds(Goal, st.sampled_from(["clicks", "conversions", "value"]), st.floats(1e-6, 1e4)),
    price=st.floats(1e-6, 1000.0),
    law_seed=st.integers(0, 9),
    diurnal=SHARES,
    price_follows_value=st.floats(-2.0, 2.0),
    users=st.integers(0, 2000),
    once=st.booleans(),
    **dict.fromkeys(("price_noise", "value_noise", "worth_noise", "segment_spread", "volume_noise"), SPREADS),
    **dict.fromkeys(("surge", "level", "drift", "shock"), SPREADS),
    **dict.fromkeys(("delay", "reserve", "soft_floor"), st.sampled_from([0.0, 0.5, 3.0])),
)
CALM = TrafficLaw(volume_noise=0.0, surge=0.0, level=0.0, drift=0.0, diurnal=0.0)
MANY = replace(CALM, opportunities=200_000.0)
SWITCHES: list[dict[str, Any]] = [
    {"delay": 3.0},
    {"users": 50},
    {"reserve": 0.7},
    {"soft_floor": 1.5},
    {"shock": 0.5},
    {"drift": 0.3},
    {"level": 0.4},
    {"price_noise": 0.1},
    {"price": 0.1},
    {"goal": Goal("value", 5.0)},
    {"goal": Goal("clicks", 1.0)},
    {"cvr": 0.5},
    {"once": False},
]


def draw(law: TrafficLaw, seed: int = 0) -> Day:
    return TrafficMarket(law).day(np.random.default_rng(seed))


def columns(day: Day) -> dict[str, Any]:
    return {name: getattr(part, name) for part in (day.seen, day.hidden) for name in part.__slots__}


def near(counts: npt.ArrayLike, expected: npt.ArrayLike, sigmas: float = 5.0) -> bool:
    """Tell whether counts are what independent events of these expected numbers give."""
    gap = np.abs(np.subtract(counts, expected))
    return bool((gap <= sigmas * np.sqrt(np.maximum(expected, 1.0))).all())


@given(law=LAWS, seed=SEEDS)
def test_every_day_is_one_that_may_be(law: TrafficLaw, seed: int) -> None:
    day = draw(law, seed)
    check_day(day)
    assert len({len(column) for column in columns(day).values() if column is not None}) == 1
    assert len(day) < law.most
    price, reserve = day.hidden.price, to_micros(day.seen.reserve)
    assert price.dtype == day.hidden.revenue.dtype == np.int64
    assert (price >= np.maximum(reserve, 1)).all()
    assert (price < UNWINNABLE).all()
    assert not (day.hidden.conversion & ~day.hidden.click).any()
    paying = day.hidden.click if law.goal.kind == "clicks" else day.hidden.conversion
    assert not day.hidden.revenue[~paying].any()
    assert np.isfinite(list(day.draws.values())).all()


@given(law=LAWS, seed=SEEDS)
def test_sums_are_exact_in_any_order(law: TrafficLaw, seed: int) -> None:
    day = draw(law, seed)
    order = np.random.default_rng(seed).permutation(len(day))
    for column in (day.seen.pctr, day.seen.value, day.hidden.expected, day.hidden.price, day.hidden.revenue):
        forward = float(np.cumsum(column, dtype=np.float64)[-1]) if len(day) else 0.0
        assert np.cumsum(column[order], dtype=np.float64)[-1:].tolist() == [forward][: len(day)]
        assert float(column.sum()) == forward


def test_the_grid_is_as_fine_as_it_may_be() -> None:
    day = draw(MANY)
    worth = day.seen.pctr * (0.12 * 4.0)
    assert np.abs(day.seen.value - worth).max() < 1e-6 * worth.mean()
    np.testing.assert_array_equal(on_grid(day.seen.value), day.seen.value)


def test_same_stream_same_day() -> None:
    law = TrafficLaw(users=100, delay=2.0, shock=0.5, reserve=0.5, soft_floor=1.5)
    first, again, other = (draw(law, seed) for seed in (1, 1, 2))
    assert first.traffic_hash == again.traffic_hash != other.traffic_hash
    assert first.draws == again.draws != other.draws


def test_no_two_days_of_a_stream_are_alike() -> None:
    market: Market = TrafficMarket(TrafficLaw())
    few, many = (draw_days(market, count, np.random.default_rng(5)) for count in (2, 4))
    assert [day.traffic_hash for day in few] == [day.traffic_hash for day in many[:2]]
    rng = np.random.default_rng(0)
    assert len({market.day(rng).traffic_hash for _ in range(10)}) == 10


@pytest.mark.parametrize("switch", SWITCHES, ids="-".join)
def test_a_switch_changes_only_what_it_is_about(switch: dict[str, Any]) -> None:
    about = {
        "delay": {"delay"},
        "users": {"user"},
        "reserve": {"reserve", "price"},
        "soft_floor": {"soft_floor"},
        "goal": {"value", "expected", "revenue"},
        "cvr": {"value", "expected", "revenue", "conversion", "pcvr", "delay"},
        "once": set(),
    }
    law = TrafficLaw() if set(switch) <= {"delay", "users", "soft_floor"} else TrafficLaw(delay=3.0, users=50)
    changed = about.get(next(iter(switch)), {"price"})
    before, after = columns(draw(law)), columns(draw(replace(law, **switch)))
    for name, column in before.items():
        assert (name in changed) != np.array_equal(column, after[name]), name


# --- what the figures mean ----------------------------------------------------------------------------------------


@given(law=LAWS)
def test_tables_have_the_means_of_the_law(law: TrafficLaw) -> None:
    tables = Tables.of(law)
    rate = tables.rate * 2.0**-law.rate_bits
    assert rate.mean() == pytest.approx(law.ctr, abs=2.0**-law.rate_bits)
    assert rate.max() <= 1.0
    assert tables.noise.mean(dtype=np.float64) == pytest.approx(np.exp(law.price_noise**2 / 2), rel=1e-6)


def test_quantiles_are_normal_and_even() -> None:
    normal = normal_quantiles()
    assert normal.shape == (KINDS,)
    assert normal.sum() == pytest.approx(0.0, abs=1e-9)
    assert normal.std() == pytest.approx(1.0, abs=1e-4)
    assert lognormal(0.7).mean() == pytest.approx(1.0, abs=1e-14)
    assert np.log(lognormal(0.7)).std() == pytest.approx(0.7, abs=1e-4)


@pytest.mark.parametrize(("ctr", "noise"), [(0.02, 0.8), (0.5, 1.5), (0.97, 2.0), (1.0, 0.5), (0.0, 0.5)])
def test_clicks_and_conversions_come_at_their_rates(ctr: float, noise: float) -> None:
    day = draw(replace(MANY, ctr=ctr, value_noise=noise))
    clicks, n = day.hidden.click.sum(), len(day)
    assert near(clicks, day.seen.pctr.sum())
    assert day.seen.pctr.mean() == pytest.approx(ctr, abs=5 * day.seen.pctr.std() / np.sqrt(n) + 1e-12)
    assert near(day.hidden.conversion.sum(), 0.12 * clicks)
    likely = day.seen.pctr > np.median(day.seen.pctr)
    assert near(day.hidden.click[likely].sum(), day.seen.pctr[likely].sum())


def test_prices_have_their_median_and_spread() -> None:
    law = replace(MANY, segments=1, price_follows_value=0.5)
    price = draw(law).hidden.price
    total = np.hypot(law.price_noise, 0.5 * law.value_noise)
    for place, normal in ((0.05, -1.645), (0.5, 0.0), (0.95, 1.645)):
        assert np.quantile(price, place) == pytest.approx(4000 * np.exp(normal * total), rel=0.02)


def test_prices_follow_value_as_asked() -> None:
    for exponent in (-0.5, 0.0, 0.35, 1.0):
        law = replace(MANY, segment_spread=0.0, price_follows_value=exponent)
        day = draw(law)
        slope, _ = np.polyfit(np.log(day.seen.value), np.log(day.hidden.price), 1)
        error = 5 * law.price_noise / law.value_noise / np.sqrt(len(day))
        assert slope == pytest.approx(exponent, abs=error)


def test_segments_are_equal_in_number_and_differ_by_a_fixed_law() -> None:
    law = replace(MANY, segments=5, segment_spread=0.5)
    first, other = draw(law, 1), draw(law, 2)
    assert near(first.offered.sum(axis=0), np.full(5, len(first) / 5))
    logs = [np.array([np.log(day.seen.pctr[day.seen.segment == s]).mean() for s in range(5)]) for day in (first, other)]
    np.testing.assert_allclose(logs[0], logs[1], atol=0.03)
    assert np.ptp(logs[0]) > 0.3
    assert first.seen.pctr.mean() == pytest.approx(law.ctr, rel=0.02)
    own = np.random.default_rng(law.law_seed).standard_normal((2, 5))[0] * 0.5
    np.testing.assert_allclose(logs[0] - logs[0].mean(), own - own.mean(), atol=0.03)
    assert draw(replace(law, law_seed=1), 1).traffic_hash != first.traffic_hash


def test_volume_is_as_asked_and_has_the_shape_of_a_day() -> None:
    flat, day = draw(MANY), draw(replace(MANY, diurnal=1.0))
    assert near(flat.volume[:, 0], np.full(48, 200_000 / 48))
    assert near(day.volume[:, 0], 200_000 * replace(MANY, diurnal=1.0).profile())
    hours = day.volume[:, 0].reshape(24, 2).sum(axis=1)
    assert hours[12] > 3 * hours[3]
    assert hours[20] > 1.1 * hours[17]
    assert hours[20] > 2 * hours[23]


def test_days_vary_in_volume_and_price_as_asked() -> None:
    law = TrafficLaw(opportunities=2000.0, volume_noise=0.3, level=0.4)
    market, rng = TrafficMarket(law), np.random.default_rng(3)
    days = [market.day(rng) for _ in range(600)]
    sizes = np.array([len(day) for day in days])
    volume, level = (np.array([day.draws[name] for day in days]) for name in ("volume", "price_level"))
    assert sizes.mean() == pytest.approx(2000, rel=5 * 0.31 / np.sqrt(600))
    assert near(sizes, 2000 * volume)
    for logs, spread in ((np.log(volume), 0.3), (np.log(level), 0.4)):
        assert logs.std() == pytest.approx(spread, rel=0.15)
    price = np.log([np.median(day.hidden.price) for day in days])
    assert np.corrcoef(price, np.log(level))[0, 1] > 0.95


def test_prices_and_volume_wander_within_the_day() -> None:
    market, rng = TrafficMarket(replace(CALM, drift=0.4, surge=0.5)), np.random.default_rng(4)
    days = [market.day(rng) for _ in range(400)]
    drift = np.log([day.draws["price_drift"] for day in days])
    assert drift.std() == pytest.approx(0.4, rel=0.2)
    last = np.array([np.log(day.hidden.price[day.starts[36] :]).mean() for day in days])
    assert np.corrcoef(last, drift)[0, 1] > 0.8
    halves = np.array([[day.volume[:24].sum(), day.volume[24:].sum()] for day in days])
    assert np.log(halves[:, 1] / halves[:, 0]).std() > 0.15
    assert near(halves.sum(axis=1), 5000.0)


def test_a_shock_comes_at_the_tick_that_is_told() -> None:
    market, rng = TrafficMarket(replace(MANY, shock=0.6)), np.random.default_rng(6)
    signs, ticks = set(), set()
    for _ in range(12):
        day = market.day(rng)
        shock, tick = day.draws["shock"], int(day.draws["shock_tick"])
        logs = np.log(day.hidden.price)
        means = np.array([logs[day.starts[t] : day.starts[t + 1]].mean() for t in range(48)])
        np.testing.assert_allclose(means[tick:].mean() - means[:tick].mean(), shock, atol=0.06)
        assert np.abs(np.diff(means)).argmax() == tick - 1
        signs.add(np.sign(shock))
        ticks.add(tick)
    assert signs == {-1.0, 1.0}
    assert len(ticks) > 6
    assert "shock" not in draw(CALM).draws


def test_reports_are_late_by_the_mean_delay() -> None:
    day = draw(replace(MANY, ctr=0.5, delay=2.5))
    delay = day.hidden.delay
    assert delay is not None
    late = delay[day.hidden.conversion]
    assert late.mean() == pytest.approx(2.5, abs=5 * np.sqrt(2.5 * 3.5 / len(late)))
    assert near((late == 0).sum(), len(late) / 3.5)
    assert not delay[~day.hidden.conversion].any()
    assert draw(MANY).hidden.delay is None


def test_users_come_by_their_law() -> None:
    day = draw(replace(MANY, users=100))
    assert day.seen.user is not None
    assert day.users == 100
    met = np.bincount(day.seen.user, minlength=100)
    assert near(met, len(day) * np.diff(np.sqrt(np.arange(101) / 100)))
    assert draw(MANY).seen.user is None


def test_floors_are_multiples_of_the_typical_price() -> None:
    law = replace(MANY, reserve=0.8, soft_floor=1.5)
    day, free = draw(law), draw(MANY)
    reserve, soft = day.seen.reserve, day.seen.soft_floor
    assert soft is not None
    np.testing.assert_allclose(soft / reserve, 1.5 / 0.8, rtol=0.01)
    np.testing.assert_array_equal(day.hidden.price, np.maximum(free.hidden.price, to_micros(reserve)))
    bound = (free.hidden.price < to_micros(reserve)).mean()
    assert bound == pytest.approx(0.3425, abs=0.01)  # Phi(ln 0.8 / 0.55)
    assert not free.seen.reserve.any()


@pytest.mark.parametrize("kind", ["clicks", "conversions", "value"])
def test_what_is_realised_is_what_is_expected(kind: Any) -> None:  # noqa: ANN401 - one of three words
    day = draw(replace(MANY, ctr=0.3, goal=Goal(kind, 2.0), worth_noise=0.6))
    revenue = day.hidden.revenue / MICROS
    assert revenue.sum() == pytest.approx(day.seen.value.sum(), abs=5 * np.sqrt((revenue**2).sum()))
    paid = revenue[revenue > 0]
    assert (np.log(paid).std() > 0.5) == (kind == "value")
    assert paid.mean() == pytest.approx(2.0, rel=0.05)
    assert day.hidden.expected is day.seen.value


# --- independence, speed and size ---------------------------------------------------------------------------------


def test_what_should_be_independent_is() -> None:
    law = replace(MANY, ctr=0.3, segment_spread=0.0, value_noise=0.0, users=1000, delay=3.0)
    day = draw(law)
    assert day.seen.user is not None
    parts = {
        "tick": day.seen.tick,
        "segment": day.seen.segment,
        "user": day.seen.user,
        "price": np.log(day.hidden.price),
        "click": day.hidden.click,
    }
    table = np.corrcoef(np.array([np.asarray(part, dtype=np.float64) for part in parts.values()]))
    assert np.abs(table[np.triu_indices(len(parts), 1)]).max() < 4 / np.sqrt(len(day))


def test_neighbours_and_days_are_independent() -> None:
    day, other = draw(MANY, 1), draw(MANY, 2)
    n = min(len(day), len(other)) - 1
    for first, second in ((day, day), (day, other)):
        for name in ("price", "click", "conversion"):
            one, two = getattr(first.hidden, name), getattr(second.hidden, name)
            assert abs(np.corrcoef(one[:n], two[1 : n + 1])[0, 1]) < 4.5 / np.sqrt(n), name


def test_outcomes_of_a_click_are_independent() -> None:
    day = draw(replace(MANY, ctr=0.9, cvr=0.5, goal=Goal("value", 4.0), delay=3.0))
    assert day.hidden.delay is not None
    rows = np.flatnonzero(day.hidden.conversion)
    table = np.corrcoef([day.hidden.delay[rows], np.log(day.hidden.revenue[rows]), np.log(day.hidden.price[rows])])
    assert np.abs(table[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(len(rows))


def test_a_day_and_its_index_are_small() -> None:
    day = draw(replace(MANY, opportunities=100_000.0, users=1000, delay=2.0))
    ladder = day.pooled
    arrays = {id(a): a for a in (*columns(day).values(), ladder.ratio, ladder.prefix, ladder.starts) if a is not None}
    size = sum(a.nbytes if 0 not in a.strides else a.itemsize for a in arrays.values())
    assert size / len(day) < 120


@given(law=LAWS, seeds=st.lists(SEEDS, min_size=1, max_size=4))
def test_days_drawn_together_are_those_drawn_one_by_one(law: TrafficLaw, seeds: list[int]) -> None:
    market = TrafficMarket(law)
    together = market.many([np.random.default_rng(seed) for seed in seeds])
    for day, seed in zip(together, seeds, strict=True):
        check_day(day)
        alone = market.day(np.random.default_rng(seed))
        assert day.traffic_hash == alone.traffic_hash
        assert day.draws == alone.draws


def test_a_market_is_sent_as_its_law() -> None:
    market = TrafficMarket(TrafficLaw(shock=0.2))
    day = market.day(np.random.default_rng(1))
    sent = pickle.dumps(market)
    assert len(sent) < 2000
    assert pickle.loads(sent).day(np.random.default_rng(1)).traffic_hash == day.traffic_hash  # noqa: S301 - our own
    assert pickle.loads(sent) == market  # noqa: S301


@given(law=LAWS, seed=SEEDS, multiplier=st.floats(0.0, 10.0))
def test_scan_and_index_agree(law: TrafficLaw, seed: int, multiplier: float) -> None:
    once, again = (draw(replace(law, once=flag, soft_floor=0.0), seed) for flag in (True, False))
    for tick in range(min(law.ticks, 5)):
        for groups in (1, law.segments):
            scanned, climbed = (play(day, tick, np.full(groups, multiplier), 10**15) for day in (once, again))
            np.testing.assert_array_equal(scanned.table, climbed.table)


def test_a_bidder_may_misjudge_it() -> None:
    day = MiscalibratedMarket(TrafficMarket(TrafficLaw())).day(np.random.default_rng(0))
    assert day.belief is not None
    check_day(Day.build(day.seen, day.hidden, day.ticks, day.segments))


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figures", "complaint"),
    [
        ({"opportunities": -1.0}, "opportunities must be above 0"),
        ({"opportunities": 0.0}, "opportunities must be above 0"),
        ({"opportunities": float("nan")}, "opportunities must be above 0"),
        ({"opportunities": 1e9}, "opportunities must be above 0"),
        ({"ticks": 0}, "ticks must be a whole number"),
        ({"ticks": 2.5}, "ticks must be a whole number"),
        ({"segments": 0}, "segments must be a whole number"),
        ({"segments": 5000}, "segments must be a whole number"),
        ({"users": -1}, "users must be a whole number"),
        ({"law_seed": -1}, "law_seed must be a whole number"),
        ({"ctr": 1.5}, "ctr must lie in 0..1"),
        ({"ctr": "a lot"}, "ctr must lie in 0..1; got 'a lot'"),
        ({"opportunities": "many"}, "opportunities must be above 0, at most 10000000; got 'many'"),
        ({"cvr": -0.1}, "cvr must lie in 0..1"),
        ({"diurnal": 2.0}, "diurnal must lie in 0..1"),
        ({"price_follows_value": float("inf")}, "price_follows_value must lie in"),
        ({"price": 0.0}, "price must lie in"),
        ({"price": 1e9}, "use another unit"),
        ({"goal": Goal("clicks", 1e9)}, "use a larger unit"),
        *(({name: -0.1}, f"{name} must lie in 0..5") for name in ("price_noise", "value_noise", "worth_noise")),
        *(({name: float("nan")}, f"{name} must lie in 0..2") for name in ("surge", "level", "drift", "shock")),
        *(({name: -1.0}, f"{name} must lie in 0..1") for name in ("delay", "reserve", "soft_floor")),
    ],
)
def test_a_law_out_of_range_is_refused(figures: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        TrafficLaw(**figures)
