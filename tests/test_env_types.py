"""Sums that do not depend on their order, days that refuse nonsense, and feedback that hides what is hidden."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, to_micros, whole_micros
from bidpilot.envs.day import Day
from bidpilot.envs.grid import on_grid
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, EpisodeResult, Feedback, Rules

AMOUNTS = st.lists(
    st.one_of(st.floats(0, 1e6), st.floats(-1e6, 1e6), st.floats(0, 1e-300), st.just(0.1), st.just(float("nan"))),
    max_size=60,
)


@given(amounts=AMOUNTS, seed=st.integers(0, 2**32 - 1))
def test_sums_on_the_grid_are_the_same_in_any_order(amounts: list[float], seed: int) -> None:
    rng, rounded = np.random.default_rng(seed), on_grid(np.array(amounts))
    sums = {sum(rng.permutation(rounded).tolist()) for _ in range(10)}
    backwards = float(np.cumsum(rounded[::-1])[-1]) if amounts else 0
    assert len({*sums, float(rounded.sum()), backwards}) == 1


@given(amounts=AMOUNTS)
def test_the_grid_is_fine(amounts: list[float]) -> None:
    plain = np.nan_to_num(np.array(amounts))
    error = np.abs(on_grid(np.array(amounts)) - plain)
    assert (error <= max(np.abs(plain).sum() * 2.0**-51, 5e-324)).all()


def test_a_million_worths_keep_nine_digits() -> None:
    worth = np.random.default_rng(0).lognormal(-6.0, 1.0, 1_000_000)
    np.testing.assert_allclose(on_grid(worth)[worth > 1e-3], worth[worth > 1e-3], rtol=1e-9)
    assert abs(on_grid(worth).sum() / worth.sum() - 1) < 1e-12


def test_the_grid_of_nothing_is_nothing() -> None:
    assert on_grid(np.zeros(3)).tolist() == [0, 0, 0]
    assert on_grid(np.array([])).size == 0


@given(units=st.integers(0, 2**42))
def test_whole_micros_are_what_was_meant(units: int) -> None:
    assert whole_micros(units / MICROS) == units == to_micros(units / MICROS)
    assert whole_micros((units + 0.99) / MICROS) == units


def test_a_limit_may_be_infinite() -> None:
    assert whole_micros(np.array([np.inf, -np.inf, 1e308])).tolist() == [np.inf, -np.inf, np.inf]


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("hidden", "price", -1, "prices must be at least 0"),
        ("seen", "tick", 4, "ticks must run in order within 0..3"),
        ("seen", "tick", -1, "ticks must run in order"),
        ("seen", "segment", 3, r"segments must lie in 0\.\.2"),
        ("seen", "segment", -1, "segments must lie"),
        ("seen", "pctr", 1.5, r"pctr must lie in 0\.\.1"),
        ("seen", "pcvr", -0.1, r"pcvr must lie in 0\.\.1"),
        ("seen", "value", np.inf, "total value must be below"),
        ("seen", "value", 1e308, "total value must be below"),
        ("hidden", "expected", 1e10, "total expected worth must be below"),
        ("hidden", "revenue", 2**52, "total revenue must be below"),
        ("hidden", "delay", -1, "delays must be at least 0; got -1"),
        ("seen", "user", -1, "users must be at least 0; got -1"),
    ],
)
def test_a_day_refuses_nonsense(
    smooth_day: Callable[..., Day], part: str, field: str, value: float, message: str
) -> None:
    day = fuller(smooth_day(0))
    changed = getattr(getattr(day, part), field).copy()
    changed[-1 if value >= 0 else 0] = value
    wrong = replace(getattr(day, part), **{field: changed})
    seen, hidden = (wrong, day.hidden) if part == "seen" else (day.seen, wrong)
    with pytest.raises(InputError, match=message):
        Day.build(seen, hidden, day.ticks, day.segments)


def test_ticks_must_be_in_order(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(0)
    with pytest.raises(InputError, match="in order"):
        Day(replace(day.seen, tick=day.seen.tick[::-1]), day.hidden, day.ticks, day.segments)


def test_a_value_that_is_not_known_is_no_value(messy_day: Callable[..., Day]) -> None:
    day = messy_day(1, rows=200)
    for name in ("pctr", "pcvr", "value"):
        assert np.isfinite(getattr(day.seen, name)).all()
    nothing = (day.seen.value <= 0) | (day.hidden.price >= UNWINNABLE)
    assert 0 < nothing.sum() < len(day)
    assert np.isinf(day.ratio[nothing]).all()
    assert np.isfinite(day.ratio[~nothing]).all()
    assert day.full_cost == day.hidden.price[~nothing].sum()


def test_a_day_counts_its_opportunities(messy_day: Callable[..., Day]) -> None:
    day = messy_day(2, rows=50, ticks=7, segments=2)
    for tick in range(7):
        assert (day.seen.tick[day.starts[tick] : day.starts[tick + 1]] == tick).all()
        for segment in range(2):
            assert day.offered[tick, segment] == ((day.seen.tick == tick) & (day.seen.segment == segment)).sum()
    assert len(day) == day.offered.sum() == 50


def test_a_day_without_traffic(messy_day: Callable[..., Day]) -> None:
    day = messy_day(0, rows=0)
    assert (len(day), day.full_cost, day.offered.sum()) == (0, 0, 0)


def fuller(day: Day) -> Day:
    """Return the day with users, soft floors and delays, which days may go without."""
    seen = replace(day.seen, user=np.arange(len(day)) % 7 + 1, soft_floor=np.full(len(day), 0.5))
    hidden = replace(day.hidden, delay=np.arange(len(day)) % 3 + 1)
    return Day(seen, hidden, day.ticks, day.segments)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("seen", "value"),
        ("hidden", "price"),
        ("hidden", "click"),
        ("seen", "user"),
        ("seen", "soft_floor"),
        ("hidden", "delay"),
    ],
)
def test_the_hash_is_of_everything(smooth_day: Callable[..., Day], part: str, field: str) -> None:
    plain = smooth_day(3)
    day = fuller(plain)
    assert day.traffic_hash != plain.traffic_hash
    changed = getattr(getattr(day, part), field).copy()
    changed[0] = not changed[0] if changed.dtype == bool else changed[0] * 2
    other = replace(day, **{part: replace(getattr(day, part), **{field: changed})})
    assert other.traffic_hash != day.traffic_hash == fuller(smooth_day(3)).traffic_hash


def test_a_misjudged_day_is_another_but_its_traffic_is_shared(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(3)
    views = [day.misjudged(np.array(belief)) for belief in ([1.0, 2.0, 0.5], [1.0, 2.0, 0.5], [1.0, 2.0, 0.6])]
    assert views[0].traffic_hash == views[1].traffic_hash != views[2].traffic_hash
    assert day.traffic_hash not in {view.traffic_hash for view in views}
    for view in views:
        assert view.seen is day.seen
        assert view.hidden is day.hidden
        assert view.by_segment is day.by_segment
        assert (view.starts is day.starts, view.full_cost) == (True, day.full_cost)


@pytest.mark.parametrize("belief", [[1.0, 1.0], [1.0, 0.0, 1.0], [1.0, -1.0, 1.0], [1.0, np.inf, 1.0], [np.nan] * 3])
def test_a_belief_is_a_factor_per_segment(smooth_day: Callable[..., Day], belief: list[float]) -> None:
    with pytest.raises(InputError, match="a belief must be 3 factors above 0, one per segment"):
        smooth_day(0).misjudged(np.array(belief))


def test_what_is_seen_of_a_misjudged_day(smooth_day: Callable[..., Day]) -> None:
    day, belief = smooth_day(3, rows=300), np.array([1.0, 20.0, 0.5])
    view, factor = day.misjudged(belief), belief[day.seen.segment]
    seen = view.sight(slice(0, len(day)))
    np.testing.assert_array_equal(seen.value, day.seen.value * factor)
    np.testing.assert_array_equal(seen.value, view.believed)
    np.testing.assert_array_equal(seen.pctr, np.minimum(day.seen.pctr * factor, 1.0))
    for name in ("pcvr", "reserve", "segment", "tick"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(day.seen, name))
    part = day.sight(slice(10, 20))
    np.testing.assert_array_equal(part.value, day.seen.value[10:20])


def test_the_posted_prices_are_those_that_a_bid_can_reach(messy_day: Callable[..., Day]) -> None:
    day = messy_day(4, rows=300, ticks=3, segments=2)
    for tick in range(3):
        for segment in range(2):
            here = (day.seen.tick == tick) & (day.seen.segment == segment)
            reachable = here & (day.seen.value > 0) & (day.hidden.price < UNWINNABLE)
            prices = day.hidden.price[reachable]
            assert day.posted[tick, segment].tolist() == [prices.sum(), len(prices)]


def test_feedback_is_in_currency_and_hides_the_expected() -> None:
    table = np.arange(16.0).reshape(2, 8) * MICROS
    feedback = Feedback.of(np.array([3, 4]), table)
    assert set(Feedback._fields) == {"offered", "prices", "priced", *COLUMNS} - {"expected"}
    assert feedback.offered.tolist() == [3, 4]
    assert feedback.spend.tolist() == [1, 9]
    assert feedback.revenue.tolist() == [4, 12]
    assert feedback.predicted.tolist() == [6e6, 14e6]
    assert feedback.prices.tolist() == feedback.priced.tolist() == [0, 0]


def test_two_periods_add_up_column_by_column() -> None:
    first, second = Feedback(*np.arange(30.0).reshape(10, 3)), Feedback(*np.ones((10, 3)))
    assert np.array(first.plus(second)).tolist() == (np.arange(30.0).reshape(10, 3) + 1).tolist()


def test_a_state_is_lifted_to_floats_for_one_group_and_to_rows_for_more() -> None:
    for groups in (1, 3):
        total, last = Feedback(*np.arange(10.0 * groups).reshape(10, groups)), Feedback(*np.ones((10, groups)))
        tick, spent, left, *told = CampaignState(5, 1.0, 2.0, total, last).lifted()
        assert tick == 5
        if groups == 1:
            assert (spent, left, *told) == (1.0, 2.0, tuple(np.arange(10.0)), (1.0,) * 10)
            assert {type(column) for part in told for column in part} == {float}
        else:
            assert spent.tolist() == [[1.0]]
            assert left.tolist() == [[2.0]]
            assert {column.shape for part in told for column in part} == {(1, 3)}
            assert np.concatenate(told[0]).tolist() == np.array(total).tolist()


@pytest.mark.parametrize("field", ["budget", "horizon", "full_cost"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_campaign_needs_figures_above_0(field: str, value: float) -> None:
    good = {"budget": 1.0, "horizon": 4, "full_cost": 8.0}
    with pytest.raises(InputError, match=f"{field} must be above 0"):
        Campaign(**(good | {field: value}))  # type: ignore[arg-type]  # horizon is meant to be wrong
    assert Campaign(1.0, 4, 8.0).scarcity == 0.125


def test_a_campaign_needs_an_auction_that_exists() -> None:
    with pytest.raises(InputError, match="unknown auction 'third_price'; known: first_price, second_price"):
        Rules("third_price")


@pytest.mark.parametrize("name", ["bid_tick", "bid_cap", "frequency_cap", "reaction"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_rules_need_figures_of_at_least_0(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} must be at least 0; got {value}"):
        Rules(**{name: value})  # type: ignore[arg-type]  # the cap is meant to be wrong


def test_only_second_price_without_further_rules_is_plain() -> None:
    assert Rules().plain
    assert Rules(censored=False).plain  # what is reported changes nothing in what is won
    for rules in (Rules("first_price"), Rules("soft_floor"), Rules(bid_tick=0.01), Rules(bid_cap=1.0)):
        assert not rules.plain
    assert not Rules(frequency_cap=3).plain
    assert not Rules(reaction=0.5).plain


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_cost_limit_is_above_0_or_none_at_all(limit: float) -> None:
    with pytest.raises(InputError, match="cost_limit must be above 0"):
        Campaign(1.0, 4, 8.0, cost_limit=limit)
    assert Campaign(1.0, 4, 8.0).cost_limit == float("inf")


def test_a_result_sums_its_columns() -> None:
    table = np.arange(16.0).reshape(2, 8)
    result = EpisodeResult(Campaign(1.0, 2, 1.0), np.array([1, 1]), table, "")
    assert [result.total(name) for name in COLUMNS] == table.sum(axis=0).tolist()
