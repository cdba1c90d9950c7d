"""Aggregates over days and seeds: known answers, loops beside the arrays, and intervals that cover as they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import binomtest, trim_mean

from bidpilot.experiments.aggregates import Stratified, beats, drawn, iqm, percentiles, thresholds
from bidpilot.experiments.statistics import day_weights, p_value, seed_weights

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 20, 41])
def test_the_interquartile_mean_is_the_trimmed_mean(count: int) -> None:
    scores = np.random.default_rng(count).lognormal(size=(3, count))
    np.testing.assert_allclose(iqm(scores), trim_mean(scores, 0.25, axis=-1), rtol=1e-12)


def test_the_interquartile_mean_of_eight_by_hand() -> None:
    assert iqm(np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0])) == pytest.approx(3.5)


def test_ties_count_a_half() -> None:
    np.testing.assert_array_equal(beats(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])), [0.0, 0.5, 1.0])


def test_thresholds_reach_the_highest_score() -> None:
    assert (thresholds(0.7)[0], thresholds(0.7)[-1]) == (0.0, 1.0)
    assert len(thresholds(0.7)) == 201
    assert thresholds(1.083)[-1] >= 1.083


def test_draws_are_what_the_weights_say() -> None:
    weights = np.array([[2.0, 0.0, 1.0], [0.0, 0.0, 3.0]])
    np.testing.assert_array_equal(drawn(weights), [[0, 0, 2], [2, 2, 2]])


def test_estimates_by_hand() -> None:
    """One seed against two on two budgets and two days."""
    mine = np.array([[[0.9, 0.7], [0.8, 0.6]]])
    theirs = np.array([[[0.8, 0.7], [0.9, 0.5]], [[1.0, 0.2], [0.8, 0.7]]])
    draws = Stratified({"mine": 1, "theirs": 2}, 2, np.random.default_rng(0), replicates=50)
    won = draws.improvement("mine", mine, "theirs", theirs)
    assert won[0] == pytest.approx((1 + 0.5 + 0 + 1 + 0 + 1 + 0.5 + 0) / 8)
    assert ((won >= 0) & (won <= 1)).all()
    np.testing.assert_allclose(1 - won, draws.improvement("theirs", theirs, "mine", mine))
    np.testing.assert_allclose(draws.profile("mine", mine, np.array([0.0, 0.6, 0.75, 1.0]))[0], [1.0, 0.75, 0.5, 0.0])
    assert draws.mean("theirs", theirs)[0] == pytest.approx([(0.8 + 0.7 + 1.0 + 0.2) / 4, (0.9 + 0.5 + 0.8 + 0.7) / 4])
    assert draws.iqm("theirs", theirs)[0] == pytest.approx(trim_mean(theirs.ravel(), 0.25))


def test_replicates_are_those_of_a_plain_loop() -> None:
    """Days are drawn alike for both policies; a drawn seed brings all its budgets and days."""
    rng = np.random.default_rng(1)
    scores = {"a": rng.random((3, 2, 5)), "b": rng.random((4, 2, 5))}
    draws = Stratified({"a": 3, "b": 4}, 5, rng, replicates=20)
    days = drawn(draws._days[1:])
    taus = np.array([0.2, 0.5])
    found = {
        "iqm": draws.iqm("a", scores["a"]),
        "mean": draws.mean("a", scores["a"]),
        "profile": draws.profile("a", scores["a"], taus),
        "won": draws.improvement("a", scores["a"], "b", scores["b"]),
    }
    for i in range(20):
        a, b = (scores[name][drawn(draws._seeds[name][1:])[i]][:, :, days[i]] for name in ("a", "b"))
        assert a.shape[0] == 2  # one draw fewer than seeds
        assert found["iqm"][1 + i] == pytest.approx(trim_mean(a.ravel(), 0.25))
        np.testing.assert_allclose(found["mean"][1 + i], a.mean(axis=(0, 2)))
        np.testing.assert_allclose(found["profile"][1 + i], [(a > tau).mean() for tau in taus])
        each = [beats(x, y).mean() for x in a for y in b]
        assert found["won"][1 + i] == pytest.approx(np.mean(each))


def test_the_seeds_spread_is_not_underrated() -> None:
    """The variance of replicate means is the unbiased estimate of the mean's variance, whatever the number of seeds."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=5)
    weights = seed_weights(5, 200_000, rng)
    spread = (weights @ values / weights.sum(axis=1)).var()
    assert spread == pytest.approx(values.var(ddof=1) / 5, rel=0.02)
    assert (seed_weights(1, 7, rng) == 1.0).all()


def simulated(rng: np.random.Generator, seeds: int, days: int, gain: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Return scores (seeds, 1, days) of a learner and of a baseline of one seed: days move both, seeds the learner."""
    day = rng.normal(0.9, 0.05, days)
    theirs = day + rng.normal(0.0, 0.02, days)
    mine = day + gain + rng.normal(0.0, 0.01, (seeds, 1)) + rng.normal(0.0, 0.02, (seeds, days))
    return mine[:, None, :], theirs[None, None, :]


@pytest.mark.parametrize("seeds", [10, 5])
def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says(seeds: int) -> None:
    """Between 92 and 97 % of 95, with ten training seeds and with five; days jointly, seeds within the learner."""
    rng, covered, count = np.random.default_rng(seeds), 0, 800
    for _ in range(count):
        mine, theirs = simulated(rng, seeds, 40, gain=0.01)
        draws = Stratified({"mine": seeds, "theirs": 1}, 40, rng, replicates=400)
        low, high = percentiles(draws.mean("mine", mine)[:, 0] - draws.mean("theirs", theirs)[:, 0])
        covered += bool(low <= 0.01 <= high)
    assert 0.92 <= covered / count <= 0.97


@pytest.mark.slow
def test_the_interval_of_the_interquartile_mean_covers_the_truth_as_often_as_it_says() -> None:
    """Scores with a heavy lower end; the truth is the interquartile mean of very many."""
    rng = np.random.default_rng(4)

    def scores(days: int) -> FloatArray:
        return np.asarray(0.95 - rng.exponential(0.05, (1, 1, days)))

    truth, covered, count = float(iqm(scores(2_000_000).ravel())), 0, 1000
    for _ in range(count):
        draws = Stratified({"a": 1}, 40, rng, replicates=500)
        low, high = percentiles(draws.iqm("a", scores(40)))
        covered += bool(low <= truth <= high)
    assert 0.92 <= covered / count <= 0.97


def test_p_values_of_a_comparison_with_itself_are_uniform() -> None:
    """A/A: the same law twice on the same days, 40 of them; shares below 5, 10, .. 95 % are what they say."""
    rng, count = np.random.default_rng(5), 1500
    found = np.empty(count)
    for i in range(count):
        difference = rng.normal(0.0, 0.02, 40) - rng.normal(0.0, 0.02, 40)
        replicates = day_weights(40, 500, rng) @ difference / 40
        found[i] = p_value(float(difference.mean()), replicates)
    for level in np.arange(0.05, 1.0, 0.05):
        assert binomtest(int((found <= level).sum()), count, level).pvalue > 1e-3, level
