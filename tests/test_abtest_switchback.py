"""Switchback: balance, what washing out is for, and inference that holds whatever the noise is like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.design import Periods
from bidpilot.experiments.abtest.switchback import Switchback, effect

PLANS = st.builds(
    Switchback, st.integers(1, 10).map(lambda pairs: 2 * pairs), st.sampled_from([24.0, 8.0, 4.0, 1.0, 0.5])
)


def hours_of(plan: Switchback, per_hour: int = 20) -> np.ndarray:
    return np.asarray((np.arange(plan.days * 24 * per_hour) + 0.5) / per_hour)


def felt(plan: Switchback, schedule: np.ndarray, carry_over: float) -> np.ndarray:
    """Return the arm that acts at each hour: for a time after a switch still the earlier one."""
    late = np.maximum(hours_of(plan) - carry_over, 0.0)
    return np.asarray(schedule.ravel()[np.floor(late / plan.period).astype(int)])


def market(plan: Switchback, rng: np.random.Generator) -> np.ndarray:
    """Draw what no arm changes: days and hours of the day that differ, and noise that hangs together."""
    hour = hours_of(plan)
    noise = np.convolve(rng.standard_normal(len(hour) + 200), np.exp(-np.arange(200) / 40), "valid")[: len(hour)]
    day = rng.normal(0, 2, plan.days)[(hour // 24).astype(int)]
    return np.asarray(3 * np.sin(hour / 24 * 2 * np.pi) + day + 0.2 * noise)


@given(PLANS, st.integers(0, 1000))
def test_each_hour_is_seen_under_both_arms_and_each_day_is_half_and_half(plan: Switchback, seed: int) -> None:
    schedule = plan.draw(np.random.default_rng(seed))
    assert schedule.shape == (plan.days, plan.slots)
    assert (schedule[::2] ^ schedule[1::2]).all()
    assert (np.abs(2 * schedule.sum(axis=1) - plan.slots) <= plan.slots % 2).all()


def test_every_period_is_treated_half_of_the_time_and_plans_differ() -> None:
    plan, rng = Switchback(2, 8.0), np.random.default_rng(0)
    drawn = np.array([plan.draw(rng) for _ in range(4000)])
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.03)
    assert len(np.unique(drawn.reshape(4000, -1), axis=0)) == 6, "three of one or two treated, and their mirrors"


def test_means_leave_the_washout_out() -> None:
    plan = Switchback(2, 12.0, 3.0)
    hour = np.array([0.0, 2.9, 3.0, 11.9, 12.0, 15.0, 47.9])
    means = plan.means(hour, np.array([9.0, 9.0, 1.0, 2.0, 9.0, 4.0, 5.0]))
    np.testing.assert_array_equal(means, [[1.5, 4.0], [np.nan, 5.0]])


def test_by_hand() -> None:
    # days differ by 10; treated slots show +2: the gap of days is -10 +- 2
    plan, schedule = Switchback(2, 12.0), np.array([[True, False], [False, True]])
    found = effect(plan, schedule, np.array([[3.0, 7.0], [11.0, 19.0]]), np.random.default_rng(0))
    assert found.value == pytest.approx(2.0)
    assert found.pairs == 2
    assert (found.low, found.high) == (-np.inf, np.inf), "two schedules exist: nothing can be refused"
    assert found.p_value == 1.0


def test_carry_over_biases_the_naive_comparison_and_washing_out_does_not() -> None:
    """An earlier arm that acts for 1 of 4 hours hides about half of a quarter of the effect, twice: see Periods."""
    rng = np.random.default_rng(0)
    naive: list[float] = []
    washed: list[float] = []
    switched: list[float] = []
    for _ in range(300):
        plan = Switchback(14, 4.0)
        schedule = plan.draw(rng)
        value = market(plan, rng) + 1.0 * felt(plan, schedule, 1.0)
        for found, washout in ((naive, 0.0), (washed, 1.0)):
            at = Switchback(14, 4.0, washout)
            found.append(effect(at, schedule, at.means(hours_of(plan), value), rng, draws=1).value)
        switched.append(np.mean(np.diff(schedule.ravel().astype(int)) != 0))
    expected = Periods(1.0, 0.0, 4.0, 0.0, 1.0, switch=float(np.mean(switched))).seen
    error = np.std(naive) / np.sqrt(300)
    assert expected < 0.8
    assert np.mean(naive) == pytest.approx(expected, abs=4 * error)
    assert np.mean(washed) == pytest.approx(1.0, abs=4 * error)
    assert 4 * error < 0.1


def test_p_values_of_an_a_a_test_are_uniform_and_intervals_hold() -> None:
    """Noise hangs together over hours and has heavy tails; only the schedule is random by design."""
    rng, p, held, worlds = np.random.default_rng(1), [], 0, 400
    plan = Switchback(10, 4.0, 0.5)
    for _ in range(worlds):
        schedule = plan.draw(rng)
        noise = market(plan, rng) + 0.3 * rng.standard_t(2, len(hours_of(plan)))
        means = plan.means(hours_of(plan), noise)
        p.append(effect(plan, schedule, means, rng, draws=499).p_value)
        found = effect(plan, schedule, means + 0.5 * schedule, rng, draws=499)
        held += found.low <= 0.5 <= found.high
    assert kstest(p, "uniform").pvalue > 0.01
    assert 0.92 <= held / worlds <= 0.97


@given(st.integers(0, 10**4), st.sampled_from([0.05, 0.2]), st.floats(0.0, 0.4))
def test_the_interval_leaves_out_0_exactly_when_p_is_small(seed: int, alpha: float, lost: float) -> None:
    rng, plan = np.random.default_rng(seed), Switchback(6, 3.0)
    schedule = plan.draw(rng)
    means = rng.standard_normal(schedule.shape) + 0.5 * schedule
    means[rng.random(means.shape) < lost] = np.nan
    found = effect(plan, schedule, means, rng, alpha, draws=199)
    assert (found.p_value <= alpha) == (found.low > 0 or found.high < 0)
    assert found.low <= found.value <= found.high
    assert found.pairs == int(np.isfinite(means[::2] - means[1::2]).sum())


def test_days_and_hours_of_the_day_do_not_matter() -> None:
    rng, plan = np.random.default_rng(4), Switchback(6, 2.0)
    schedule, means = plan.draw(rng), rng.standard_normal((6, 12))
    plain = effect(plan, schedule, means, np.random.default_rng(0), draws=99)
    moved = means + 50 * rng.standard_normal((6, 1)) + 50 * rng.standard_normal((1, 12))
    other = effect(plan, schedule, moved, np.random.default_rng(0), draws=99)
    assert other.value == pytest.approx(plain.value, abs=1e-12)
    assert (other.low, other.high) == pytest.approx((plain.low, plain.high), abs=1e-9)


@pytest.mark.parametrize(
    ("days", "period", "washout", "said"),
    [
        (3, 2.0, 0.0, "even number"),
        (0, 2.0, 0.0, "even number"),
        (2, 5.0, 0.0, "divide the 24"),
        (2, 48.0, 0.0, "divide the 24"),
        (2, 0.0, 0.0, "divide the 24"),
        (2, 2.0, 2.0, "shorter than a period"),
        (2, 2.0, -1.0, "shorter than a period"),
    ],
)
def test_no_plan(days: int, period: float, washout: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Switchback(days, period, washout)


def test_what_was_not_run_by_the_plan_is_refused() -> None:
    plan, rng = Switchback(2, 12.0), np.random.default_rng(0)
    with pytest.raises(InputError, match="mirror each other"):
        effect(plan, np.zeros((2, 2), dtype=bool), np.zeros((2, 2)), rng)
    with pytest.raises(InputError, match="both arms on both days"):
        effect(plan, plan.draw(rng), np.array([[1.0, np.nan], [2.0, 1.0]]), rng)
    with pytest.raises(InputError, match="lie in the plan"):
        plan.means([48.0], [1.0])
    with pytest.raises(InputError, match="as many numbers"):
        plan.means([1.0], [np.nan])
