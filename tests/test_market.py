"""Days out of models, out of the exchange, and seen wrongly."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bidpilot.ctr.log import SECONDS_PER_DAY, AuctionLog
from bidpilot.ctr.outlook import Outlook
from bidpilot.ctr.synthetic import SEGMENTS, Exchange, ExchangeConfig
from bidpilot.ctr.types import UNWINNABLE, FloatArray, IntArray, Response
from bidpilot.envs.beliefs import Beliefs, Segments
from bidpilot.envs.day import Day
from bidpilot.envs.goal import Goal
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.market import Market, MiscalibratedMarket, SimulatedMarket, SyntheticMarket, day_size, draw_days
from bidpilot.envs.timeline import Timeline

DAILY = Timeline(0.0, SECONDS_PER_DAY / 24, 24)
CALM = {"level": 0.0, "drift": 0.0, "shortfall": 0.0, "surge": 0.0}


@pytest.fixture(scope="module")
def log(visits: Callable[..., AuctionLog]) -> AuctionLog:
    return visits(0)


@pytest.fixture(scope="module")
def simulated(log: AuctionLog, believe: Callable[..., Beliefs]) -> SimulatedMarket:
    return SimulatedMarket.of(log, believe(log, DAILY), size=20_000)


def calm(market: SimulatedMarket, number: int = 0) -> Day:
    return replace(market, **CALM).day(np.random.default_rng(number))  # type: ignore[arg-type]  # all are floats


def groups(market: SimulatedMarket, worth: FloatArray) -> IntArray:
    """Return the stand-in's fifth of each worth."""
    return np.asarray(market.beliefs.prices.groups(worth))  # type: ignore[attr-defined]  # only the stand-in has them


def test_same_stream_same_day(simulated: SimulatedMarket, market: Market) -> None:
    for source in (simulated, market, MiscalibratedMarket(market)):
        hashes = [source.day(np.random.default_rng(seed)).traffic_hash for seed in (1, 1, 2)]
        assert hashes[0] == hashes[1] != hashes[2]


def test_no_two_draws_of_a_stream_are_alike(market: Market) -> None:
    rng = np.random.default_rng(0)
    assert len({market.day(rng).traffic_hash for _ in range(10)}) == 10


def test_a_day_does_not_depend_on_how_many_are_drawn(market: Market) -> None:
    few, many = (draw_days(market, count, np.random.default_rng(5)) for count in (2, 4))
    assert [day.traffic_hash for day in few] == [day.traffic_hash for day in many[:2]]


def test_volume_is_as_asked_and_follows_the_hours_of_the_log(simulated: SimulatedMarket, log: AuctionLog) -> None:
    day = calm(simulated)
    assert len(day) == pytest.approx(20_000, abs=4 * np.sqrt(20_000))
    share = np.bincount(log.hour, minlength=24) / len(log)
    np.testing.assert_allclose(day.offered.sum(axis=1) / len(day), share, atol=4 * np.sqrt(0.06 / 20_000))


def test_prices_are_the_models(simulated: SimulatedMarket) -> None:
    day = calm(simulated)
    group = groups(simulated, day.seen.value)
    edges = simulated.beliefs.prices.edges  # type: ignore[attr-defined]  # only the stand-in has them
    inside = np.abs(day.seen.value[:, None] - edges).min(axis=1) > 1e-9  # not rounded across
    np.testing.assert_array_equal(day.hidden.price[inside], (1000 * (group + 1) + day.seen.tick)[inside])


def test_clicks_and_worth_are_the_models(simulated: SimulatedMarket) -> None:
    day = calm(simulated)
    expected = day.seen.pctr.sum()
    assert day.hidden.click.sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert day.hidden.conversion.sum() == pytest.approx(expected / 2, abs=4 * np.sqrt(expected / 2))
    np.testing.assert_allclose(day.hidden.revenue, 100_000 * day.hidden.click)
    np.testing.assert_array_equal(day.hidden.expected, day.seen.value)
    np.testing.assert_allclose(day.seen.value, 0.1 * day.seen.pctr)


def test_segments_are_as_common_as_in_the_log(simulated: SimulatedMarket) -> None:
    day = calm(simulated)
    assert simulated.segment_count == day.segments == 3
    np.testing.assert_allclose(np.bincount(day.seen.segment) / len(day), 1 / 3, atol=0.03)


def test_episodes_differ_in_level_and_volume_as_set(simulated: SimulatedMarket) -> None:
    wide = replace(simulated, size=500.0, level=0.3, drift=0.0, shortfall=0.4, surge=0.0)
    days = draw_days(wide, 300, np.random.default_rng(0))
    ratio = [np.log(day.hidden.price / (1000 * (groups(simulated, day.seen.value) + 1))).mean() for day in days]
    assert np.std(ratio) == pytest.approx(0.3, rel=0.15)
    assert np.std(np.log([len(day) for day in days])) == pytest.approx(0.4, rel=0.15)


def test_prices_and_volume_wander_within_an_episode(simulated: SimulatedMarket) -> None:
    wild = replace(simulated, level=0.0, drift=0.5, shortfall=0.0, surge=0.6)
    level, volume = [], []
    for day in draw_days(wild, 120, np.random.default_rng(0)):
        group = groups(simulated, day.seen.value)
        scale = np.log(day.hidden.price / (1000 * (group + 1) + day.seen.tick))
        level.append([np.median(scale[day.seen.tick == tick]) for tick in (0, 23)])
        volume.append(np.log(day.offered.sum(axis=1)[[0, 23]]))
    for found, asked in ((level, 0.5), (volume, 0.6)):
        first, last = np.std(found, axis=0)
        assert last == pytest.approx(asked, rel=0.2)
        assert first < 0.4 * last


def test_what_no_bid_reaches_stays_out_of_reach(log: AuctionLog, believe: Callable[..., Beliefs]) -> None:
    market = SimulatedMarket.of(log, believe(log, DAILY, unwinnable=0.3), size=20_000)
    for day in draw_days(market, 5, np.random.default_rng(0)):
        closed = day.hidden.price >= UNWINNABLE
        assert closed.mean() == pytest.approx(0.3, abs=0.02)
        assert day.hidden.price[~closed].max() < 20_000
        assert np.isinf(day.ratio[closed]).all()


def test_a_reserve_raises_the_price(log: AuctionLog, believe: Callable[..., Beliefs]) -> None:
    frame = log.frame.assign(reserve=np.arange(len(log)) % 2 * 4000)
    market = SimulatedMarket.of(replace(log, frame=frame), believe(log, DAILY))
    day = calm(market)
    assert set(day.seen.reserve) == {0.0, 0.004}
    assert day.hidden.price[day.seen.reserve > 0].min() == 4000
    assert day.hidden.price[day.seen.reserve == 0].min() < 2000


def test_a_tick_that_the_log_covers_less_often_has_no_less_traffic(believe: Callable[..., Beliefs]) -> None:
    """Two and a half days, evenly: mornings are there three times, evenings twice."""
    time = np.linspace(0.0, 2.5 * SECONDS_PER_DAY, 30_000, endpoint=False)
    log = AuctionLog.from_columns({"time": time, "pctr": np.full(30_000, 0.02)})
    day = calm(SimulatedMarket.of(log, believe(log, DAILY), size=24_000))
    offered = day.offered.sum(axis=1)
    np.testing.assert_allclose(offered, 1_000, atol=5 * np.sqrt(1_000))
    assert offered[:12].sum() / offered[12:].sum() == pytest.approx(1.0, abs=0.05)


def test_volume_is_as_expected_on_average_though_days_differ(simulated: SimulatedMarket) -> None:
    wild = replace(simulated, size=800.0, shortfall=0.3, surge=0.4)
    sizes = [len(day) for day in draw_days(wild, 500, np.random.default_rng(1))]
    assert np.mean(sizes) == pytest.approx(800, abs=4 * np.std(sizes) / np.sqrt(500))


def test_the_size_of_a_day_ahead_follows_the_outlook(log: AuctionLog, believe: Callable[..., Beliefs]) -> None:
    beliefs = believe(log, DAILY)
    assert day_size(log, beliefs) == pytest.approx(800, rel=0.02)
    more = replace(beliefs, outlook=Outlook(volume=0.1))
    assert day_size(log, more) == pytest.approx(np.exp(0.1) * day_size(log, beliefs))


def test_a_short_log_repeats_from_anywhere(believe: Callable[..., Beliefs]) -> None:
    time = 1000.0 + np.sort(np.random.default_rng(0).uniform(0, 6 * 3600, 3000))
    short = AuctionLog.from_columns({"time": time, "pctr": np.linspace(0.01, 0.05, 3000)})
    timeline = Timeline(1000.0 + 6 * 3600, 3600.0, 4)
    market = SimulatedMarket.of(short, believe(short, timeline), size=4000)
    assert (market.cycle, market.offset) == (6, None)
    starts = set()
    for day in draw_days(market, 40, np.random.default_rng(0)):
        assert day.ticks == 4
        rate = np.array([day.seen.pctr[day.seen.tick == tick].mean() for tick in range(4)])
        place = np.rint((rate - 0.01) / 0.04 * 6 - 0.5).astype(int)  # the rate tells the hour of the past
        assert ((place - place[0]) % 6).tolist() == [0, 1, 2, 3]
        starts.add(int(place[0]))
    assert starts == set(range(6))


def test_an_afternoon_is_simulated_from_afternoons_where_the_log_has_a_day(
    visits: Callable[..., AuctionLog], believe: Callable[..., Beliefs]
) -> None:
    log = visits(0, start=20_000 * SECONDS_PER_DAY * 1.0)
    afternoon = Timeline(20_003 * SECONDS_PER_DAY + 12 * 3600.0, 3600.0, 6)
    market = SimulatedMarket.of(log, believe(log, afternoon))
    assert (market.cycle, market.offset) == (24, 12)


@pytest.mark.parametrize("ticks", [21, 24, 41, 84])
def test_a_day_begins_at_midnight_whatever_the_tick(
    visits: Callable[..., AuctionLog], believe: Callable[..., Beliefs], ticks: int
) -> None:
    log = visits(0, start=20_000 * SECONDS_PER_DAY * 1.0)
    market = SimulatedMarket.of(log, believe(log, Timeline(0.0, SECONDS_PER_DAY / ticks, ticks)))
    assert (market.cycle, market.offset) == (ticks, 0)
    hour = (market.seen.tick * 24) // ticks
    price = market.laws.sample(np.random.default_rng(0))
    assert (np.abs(price % 1000 - hour) <= 24 // ticks + 1).all()


# --- the exchange -------------------------------------------------------------------------------------------------


class Flat:
    """Believes the same of everybody."""

    def predict(self, log: AuctionLog) -> Response:
        """Predict the response of every row."""
        return Response(np.full(len(log), 0.01), np.full(len(log), 0.1), np.full(len(log), 5.0))


def exchange_market(belief: Flat | None = None) -> SyntheticMarket:
    exchange = Exchange(ExchangeConfig(opportunities=4000.0))
    return SyntheticMarket(exchange, DAILY, Segments(SEGMENTS), Goal("conversions", 3.0), belief)


def test_the_exchange_is_seen_as_it_is_or_as_believed() -> None:
    true, believed = (exchange_market(belief).day(np.random.default_rng(1)) for belief in (None, Flat()))
    np.testing.assert_allclose(believed.seen.value, 0.01 * 0.1 * 3.0)
    np.testing.assert_array_equal(true.seen.value, true.hidden.expected)
    for name in ("price", "click", "conversion", "revenue", "expected"):
        np.testing.assert_array_equal(getattr(true.hidden, name), getattr(believed.hidden, name))
    assert (true.segments, true.ticks) == (8, 24)


def test_days_of_the_exchange_are_of_its_size_and_realise_what_they_promise() -> None:
    days = draw_days(exchange_market(), 10, np.random.default_rng(0))
    assert np.mean([len(day) for day in days]) == pytest.approx(4000, rel=0.03)
    expected = sum(day.hidden.expected.sum() for day in days)
    realised = sum(day.hidden.revenue.sum() for day in days) / 1e6
    assert realised == pytest.approx(expected, abs=4 * np.sqrt(3.0 * expected))


# --- a bidder who misjudges ---------------------------------------------------------------------------------------


def test_misjudging_changes_only_what_is_seen() -> None:
    plain = exchange_market().day(np.random.default_rng(2))
    wrong = MiscalibratedMarket(exchange_market(), (0.3, 0.3)).day(np.random.default_rng(2))
    seen = wrong.sight(slice(0, len(wrong)))
    for name in ("price", "click", "conversion", "revenue", "expected"):
        np.testing.assert_array_equal(getattr(plain.hidden, name), getattr(wrong.hidden, name))
    for name in ("pcvr", "reserve", "segment", "tick"):
        np.testing.assert_array_equal(getattr(plain.seen, name), getattr(seen, name))
    factor = seen.value / plain.seen.value
    np.testing.assert_allclose(seen.pctr, plain.seen.pctr * factor, rtol=1e-6)
    by_segment = [factor[plain.seen.segment == segment] for segment in range(8)]
    assert all(np.ptp(each) < 1e-6 for each in by_segment)
    assert len({round(float(each[0]), 6) for each in by_segment}) == 8
    budget = np.array([1.0])
    assert best_value(plain, budget) == best_value(wrong, budget)


def test_the_factor_is_one_on_average_and_spread_as_set(market: Market) -> None:
    factors: list[float] = []
    for day in draw_days(MiscalibratedMarket(market, (0.8, 0.8)), 100, np.random.default_rng(0)):
        first = [int(np.argmax(day.seen.segment == segment)) for segment in range(8)]
        factors.extend(day.believed[first] / day.hidden.expected[first])
    assert np.mean(np.log(factors)) == pytest.approx(-0.32, abs=4 * 0.8 / np.sqrt(800))  # a mean of 1
    assert np.std(np.log(factors)) == pytest.approx(0.8, rel=0.1)


def test_a_misjudged_rate_is_still_a_rate(smooth_day: Callable[..., Day]) -> None:
    class Sure:
        segment_count = 3

        def day(self, rng: np.random.Generator) -> Day:  # noqa: ARG002 - always the same
            day = smooth_day(0)
            return Day.build(replace(day.seen, pctr=np.full(len(day), 0.9)), day.hidden, day.ticks, day.segments)

    days = [MiscalibratedMarket(Sure(), (2.0, 2.0)).day(np.random.default_rng(seed)) for seed in range(5)]
    pctr = [day.sight(slice(0, len(day))).pctr for day in days]
    assert 0 < np.min(pctr) < np.max(pctr) == 1


def test_a_range_of_spreads_is_drawn_anew_for_every_day(market: Market) -> None:
    def spread(bounds: tuple[float, float]) -> float:
        days = draw_days(MiscalibratedMarket(market, bounds), 60, np.random.default_rng(0))
        return float(np.std([np.std(np.log(np.asarray(day.belief))) for day in days]))

    assert spread((0.0, 1.0)) > 2 * spread((0.5, 0.5)) > 0


def test_each_episode_follows_one_member_of_an_ensemble(log: AuctionLog, believe: Callable[..., Beliefs]) -> None:
    """The bidder sees the mean, clicks follow the member that was drawn, and each is drawn."""
    beliefs = believe(log, DAILY)
    base = beliefs.response.predict(log)

    class Member:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def predict(self, of: AuctionLog) -> Response:
            return Response(beliefs.response.predict(of).pctr * self.factor, base.pcvr, base.value)

    class Both(Member):
        members = (Member(0.5), Member(1.5))

    market = SimulatedMarket.of(log, replace(beliefs, response=Both(1.0)), size=40_000)
    found = {}
    for seed in range(8):
        day = market.day(np.random.default_rng(seed))
        found[day.draws["world"]] = day.hidden.click.mean() / day.seen.pctr.mean()
    assert found == {0.0: pytest.approx(0.5, rel=0.15), 1.0: pytest.approx(1.5, rel=0.15)}
    assert SimulatedMarket.of(log, beliefs).worlds == ()
