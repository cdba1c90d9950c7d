"""Bid shading: the best bids of a known law of prices, what it gains at first price, and the environment on top."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bidpilot.agents.oracle import Oracle
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import to_micros
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.episode import Episode
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.hindsight import best_value
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import SCENARIOS, make
from bidpilot.envs.shading import Buckets, Shaded, SplitMarket, shaded_forecast
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.types import Campaign

SHADING = SCENARIOS["bidpilot/Shading-v0"]


def day_of(value: float, price: np.ndarray[tuple[int], np.dtype[np.float64]], kinds: int = 1) -> Day:
    """Return a day of one tick whose opportunities are all worth the same."""
    n = len(price)
    none, worth = np.zeros(n, dtype=bool), np.full(n, value)
    seen = Opportunities(np.full(n, 0.5), np.ones(n), worth, np.zeros(n), np.arange(n) % kinds, np.zeros(n, np.int64))
    hidden = Hidden(to_micros(price), none, none, np.zeros(n, np.int64), worth)
    return Day.build(seen, hidden, 1, kinds)


def test_bids_are_the_best_of_a_log_normal_law_of_prices() -> None:
    """The handbook's figures: prices log-normal(ln 70, 0.6)."""
    forecast = shaded_forecast([day_of(1.0, np.random.default_rng(0).lognormal(np.log(70.0), 0.6, 400_000))])
    known = {50.0: 36.4, 100.0: 61.2, 200.0: 93.1, 400.0: 128.4}
    bids = forecast.shaded(np.array(list(known)))[:, 0]
    assert bids == pytest.approx(list(known.values()), rel=0.05)
    assert (np.diff(forecast.shades[:, 0]) >= 0).all()  # type: ignore[index]
    assert (forecast.shades[:, 0] < forecast.multipliers * 1.0001).all()  # type: ignore[index]


def test_kinds_whose_prices_lie_close_together_are_bid_for_just_above_them() -> None:
    rng = np.random.default_rng(1)
    price = np.where(
        np.arange(40_000) % 2 == 0, rng.lognormal(np.log(0.5), 0.05, 40_000), rng.lognormal(np.log(0.5), 1.0, 40_000)
    )
    close, wide = shaded_forecast([day_of(1.0, price, kinds=2)]).shaded(np.array([1.0]))[0]
    assert 0.5 < close < 0.6
    assert wide < close


def test_buckets_split_segments_by_worth_and_leave_the_day_as_it_was() -> None:
    day = draw_days(TrafficMarket(SHADING.traffic), 1, np.random.default_rng(2))[0]
    buckets = Buckets.of([day], 4)
    split = buckets.split(day)
    assert split.segments == 4 * day.segments
    assert (split.seen.segment // 4 == day.seen.segment).all()
    worth = np.bincount(split.seen.segment % 4, split.seen.value, 4) / split.seen.value.sum()
    assert worth == pytest.approx(np.full(4, 0.25), abs=0.01)
    for bucket in range(3):
        low, high = (split.seen.value[split.seen.segment % 4 == bucket + more] for more in (0, 1))
        assert low.max() <= high.min()
    assert best_value(split, np.array([1.0]))[0] == best_value(day, np.array([1.0]))[0]


def test_shading_beats_the_best_uniform_multiplier_in_hindsight() -> None:
    past, days = (
        draw_days(TrafficMarket(replace(SHADING.traffic, opportunities=20_000.0)), 6, np.random.default_rng(s))
        for s in (3, 4)
    )
    buckets = Buckets.of(past, 8)
    forecast = shaded_forecast([buckets.split(day) for day in past], buckets.count)
    campaign = Campaign(forecast.full_cost / 4, forecast.ticks, forecast.full_cost, SHADING.rules)
    shaded, uniform = 0.0, 0.0
    for day in days:
        split = buckets.split(day)
        episode, steers = (
            Episode(split, campaign, split.segments),
            Shaded([campaign], forecast, split.segments, SHADING),
        )
        while not episode.over:
            steers.take(episode.glance())
            episode.advance(steers.multipliers(steers.zero))
        shaded += episode.result().total("expected")
        uniform += run_episode(Oracle(day), day, campaign, np.random.default_rng(0)).total("expected")
    assert shaded > 1.03 * uniform


def test_the_environment_has_one_action_and_splits_a_plain_market() -> None:
    env = make(replace(SHADING, buckets=3), TrafficMarket(SHADING.traffic))
    assert env.action_space.shape == (1,)
    assert isinstance(env.market, SplitMarket)
    assert env.groups == env.market.segment_count == 24


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Scenario("shading"), "bids are shaded where the winner pays its own: not in second_price"),
        (lambda: Buckets.of([day_of(1.0, np.ones(3))], 0), "worth is split into at least 1 bucket; got 0"),
        (
            lambda: Buckets(np.array([1.0])).split(day_of(1.0, np.ones(3)).misjudged(np.array([0.5]))),
            "split a day before it is misjudged",
        ),
        (lambda: Forecast.of([day_of(1.0, np.ones(3))]).shaded(np.ones(1)), "the forecast has no shades"),
    ],
)
def test_what_cannot_be_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wrong()  # type: ignore[operator]


def test_a_kind_never_met_is_bid_for_as_its_neighbours_say() -> None:
    """Prices rise with worth as its square root; past days never showed the bucket between two others."""
    rng = np.random.default_rng(5)
    value = np.concatenate([rng.uniform(low, low + 0.5, 20_000) for low in (1.0, 3.0)])
    n = len(value)
    price = np.sqrt(value) * rng.lognormal(np.log(0.4), 0.4, n)
    none = np.zeros(n, dtype=bool)
    seen = Opportunities(np.full(n, 0.5), np.ones(n), value, np.zeros(n), np.zeros(n, int), np.zeros(n, np.int64))
    day = Day.build(seen, Hidden(to_micros(price), none, none, np.zeros(n, np.int64), value), 1, 1)
    buckets = Buckets(np.array([2.0, 2.5]))
    bids = shaded_forecast([buckets.split(day)], buckets.count).shaded(np.array([1.0]))[0]
    assert np.isfinite(bids).all()
    assert (bids < 1.0).all()
    assert bids[0] > bids[2]  # what is worth more is bid a smaller share of its worth
