"""The exchange: what it draws follows the laws that it states."""

from dataclasses import replace

import numpy as np
import pytest

from bidpilot.ctr.log import SECONDS_PER_DAY, AuctionLog
from bidpilot.ctr.synthetic import DEVICES, SEGMENTS, SLOTS, Exchange, ExchangeConfig, Traffic
from bidpilot.ctr.types import Response

SMALL = ExchangeConfig(opportunities=3000.0)


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return Exchange().draw(range(4), np.random.default_rng(0))


@pytest.fixture(scope="module")
def logged() -> tuple[AuctionLog, Response]:
    return Exchange().logged(2, np.random.default_rng(0))


def same(one: Traffic, other: Traffic) -> bool:
    """Tell whether two traffics are byte for byte the same."""
    arrays = [
        [t.price, t.click, t.conversion, t.value, t.truth.pctr, t.truth.pcvr, t.truth.value] for t in (one, other)
    ]
    equal = all(a.tobytes() == b.tobytes() for a, b in zip(*arrays, strict=True))
    return equal and one.log.frame.equals(other.log.frame)


def test_same_seed_same_bytes() -> None:
    draws = [Exchange(SMALL).draw(range(2), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert same(draws[0], draws[1])
    assert not same(draws[0], draws[2])
    logs = [Exchange(SMALL).logged(2, np.random.default_rng(1))[0].frame for _ in range(2)]
    assert logs[0].equals(logs[1])


def test_a_stream_goes_on() -> None:
    exchange, rng = Exchange(SMALL), np.random.default_rng(1)
    assert not same(exchange.draw([0], rng), exchange.draw([0], rng))


def test_laws_are_the_configs_and_not_the_streams() -> None:
    one, again, other = (Exchange(replace(SMALL, law_seed=seed)) for seed in (1, 1, 2))
    rates = [e.draw([0], np.random.default_rng(0)).truth.pctr for e in (one, again, other)]
    np.testing.assert_array_equal(rates[0], rates[1])
    assert (rates[0] != rates[2]).any()


@pytest.mark.parametrize("column", ["user_segment", "slot", "device"])
def test_clicks_follow_the_truth(traffic: Traffic, column: str) -> None:
    truth = traffic.truth.pctr
    for name, rows in traffic.log.frame.groupby(column).indices.items():
        spread = np.sqrt((truth[rows] * (1 - truth[rows])).sum())
        assert traffic.click[rows].sum() == pytest.approx(truth[rows].sum(), abs=4 * spread), name


def test_clicks_are_calibrated_at_every_level(traffic: Traffic) -> None:
    order = np.argsort(traffic.truth.pctr)
    for rows in np.array_split(order, 10):
        expected = traffic.truth.pctr[rows].sum()
        assert traffic.click[rows].sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))


def test_conversions_follow_the_truth_and_need_a_click(traffic: Traffic) -> None:
    clicked = traffic.click
    expected = traffic.truth.pcvr[clicked].sum()
    assert traffic.conversion.sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert not (traffic.conversion & ~clicked).any()
    assert (traffic.value[~traffic.conversion] == 0).all()
    worth = traffic.value[traffic.conversion]
    assert worth.mean() == pytest.approx(4.0, abs=4 * worth.std() / np.sqrt(len(worth)))


def test_volume_follows_the_profile(traffic: Traffic) -> None:
    exchange = Exchange()
    assert exchange.profile.sum() == pytest.approx(1)
    assert exchange.profile.argmax() in {19, 20, 21}
    expected = 4 * 28_600 * exchange.profile
    assert (np.abs(np.bincount(traffic.log.hour, minlength=24) - expected) < 4.5 * np.sqrt(expected)).all()
    assert (np.diff(traffic.log.frame["time"]) >= 0).all()


def test_features_are_as_named(traffic: Traffic) -> None:
    frame = traffic.log.frame
    assert traffic.log.categorical == ("user_segment", "device", "slot", "site")
    assert traffic.log.numeric == ("recency",)
    for column, known in (("segment", SEGMENTS), ("device", DEVICES), ("slot", SLOTS)):
        assert set(frame[column]) == set(known)
    assert frame["site"].nunique() == 40
    assert (frame["segment"] == frame["user_segment"]).all()
    assert not {"price", "click", "bid"} & traffic.log.recorded


def test_prices_are_as_set_and_dearer_for_better_impressions(traffic: Traffic) -> None:
    price = np.log(traffic.price)
    assert traffic.price.dtype == np.int64
    assert traffic.price.min() >= 1
    assert np.median(traffic.price) == pytest.approx(4000, rel=0.25)
    assert 0.1 < np.corrcoef(price, np.log(traffic.truth.pctr))[0, 1] < 0.9


def test_prices_differ_by_hour_and_day() -> None:
    traffic = Exchange(ExchangeConfig(day_noise=0.0, trend=0.1)).draw([0, 7], np.random.default_rng(0))
    price, day = np.log(traffic.price), traffic.log.day
    assert price[day == 7].mean() - price[day == 0].mean() == pytest.approx(0.7, abs=0.03)
    hour = traffic.log.hour
    assert price[(hour >= 18) & (hour < 22)].mean() > price[(hour >= 6) & (hour < 10)].mean() + 0.2


def test_luck_of_a_click_is_unrelated_to_luck_of_the_price(traffic: Traffic) -> None:
    surprise = traffic.click - traffic.truth.pctr
    law = np.column_stack([np.ones(len(surprise)), np.log(traffic.truth.pctr), traffic.log.hour, traffic.log.day])
    price = np.log(traffic.price)
    noise = price - law @ np.linalg.lstsq(law, price)[0]
    assert abs(np.corrcoef(surprise, noise)[0, 1]) < 4 / np.sqrt(len(noise))
    assert abs(np.corrcoef(surprise[:-1], surprise[1:])[0, 1]) < 4 / np.sqrt(len(noise))


def test_features_are_drawn_independently(traffic: Traffic) -> None:
    frame = traffic.log.frame
    codes = [frame[name].astype("category").cat.codes for name in ("segment", "device", "slot", "site")]
    matrix = np.corrcoef([*codes, frame["recency"], frame["time"] % SECONDS_PER_DAY])
    assert np.abs(matrix - np.eye(len(matrix))).max() < 4.5 / np.sqrt(len(frame))


def test_taste_moves_click_rates_only_from_its_day_on() -> None:
    config = replace(SMALL, taste=0.5, taste_from=2)
    days = [0, 1, 2, 3]
    plain = Exchange(replace(config, taste=0.0)).draw(days, np.random.default_rng(3))
    moved = Exchange(config).draw(days, np.random.default_rng(3))
    assert plain.log.frame.equals(moved.log.frame)
    before = plain.log.day < 2
    np.testing.assert_array_equal(plain.truth.pctr[before], moved.truth.pctr[before])
    odds = [np.log(t.truth.pctr) - np.log1p(-t.truth.pctr) for t in (plain, moved)]
    shift = odds[1] - odds[0]
    moods = set()
    for day in (2, 3):
        for segment in SEGMENTS:
            rows = (plain.log.day == day) & (plain.log.frame["segment"] == segment).to_numpy()
            assert np.ptp(shift[rows]) < 1e-9
            moods.add(round(float(shift[rows][0]), 6))
    assert len(moods) == 16
    assert np.std(list(moods)) == pytest.approx(0.5, rel=0.5)


def test_days_may_come_in_any_order() -> None:
    traffic = Exchange(replace(SMALL, taste=0.5)).draw([9, 8], np.random.default_rng(0))
    assert sorted(set(traffic.log.day)) == [8, 9]
    assert (np.diff(traffic.log.frame["time"]) >= 0).all()


# --- what a buyer logs --------------------------------------------------------------------------------------------


def test_the_log_knows_what_was_won_and_nothing_more(logged: tuple[AuctionLog, Response]) -> None:
    frame = logged[0].frame
    won = frame["won"].to_numpy()
    assert 0.3 < won.mean() < 0.95
    assert (frame["price_known"] == won).all()
    assert (frame["price"][won] <= frame["bid"][won]).all()
    assert (frame["price"][won] > 0).all()
    for column in ("price", "click", "conversion", "value"):
        assert (frame[column][~won] == 0).all(), column
    assert (frame["click"] >= frame["conversion"]).all()
    assert (frame["value"][frame["conversion"] == 0] == 0).all()


def test_bids_are_around_their_level(logged: tuple[AuctionLog, Response]) -> None:
    bid = np.log(logged[0].frame["bid"])
    assert np.exp(bid.median()) == pytest.approx(1.6 * 4000, rel=0.02)
    assert bid.std() == pytest.approx(0.4, rel=0.03)


def test_the_truth_is_of_the_logs_rows(logged: tuple[AuctionLog, Response]) -> None:
    log, truth = logged
    assert len(truth.pctr) == len(log) == len(truth.pcvr)
    won = log.frame["won"].to_numpy()
    order = np.flatnonzero(won)[np.argsort(truth.pctr[won])]
    for rows in np.array_split(order, 5):
        expected = truth.pctr[rows].sum()
        assert log.frame["click"].to_numpy()[rows].sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))


def test_the_log_is_complete(logged: tuple[AuctionLog, Response]) -> None:
    log = logged[0]
    assert {"time", "price", "price_known", "bid", "won", "click", "conversion", "value", "segment"} == log.recorded
    assert sorted(set(log.day)) == [0, 1]
    assert len(log) == pytest.approx(2 * 28_600, abs=4 * np.sqrt(2 * 28_600))
    assert (log.source, log.currency) == ("synthetic exchange", "EUR")
