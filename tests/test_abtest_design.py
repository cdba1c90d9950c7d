"""Sample sizes: textbook numbers, the formulas against each other, and power by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.design import Certainty, Mean, Periods, Rate, smallest_effect, units_per_arm
from bidpilot.experiments.abtest.ratio import difference, ratio


def test_textbook_sizes() -> None:
    # (1.959964 + 0.841621)^2 = 7.848880; times 2 / 0.1^2; times (.09 + .1056) / .02^2
    assert units_per_arm(Mean(1.0), 0.1, Certainty()) == 1570
    assert units_per_arm(Rate(0.1), 0.02, Certainty()) == 3839
    assert units_per_arm(Mean(1.0), 0.1, Certainty(power=0.9)) == 2102


def test_cuped_saves_the_squared_correlation() -> None:
    assert units_per_arm(Mean(1.0), 0.01, Certainty(rho=0.6)) == math.ceil(0.64 * 156_977.6)


def test_several_arms_pay_for_the_first_step_of_holm() -> None:
    assert Certainty(arms=4).factor == Certainty(alpha=0.05 / 3).factor
    assert units_per_arm(Mean(1.0), 0.1, Certainty(arms=4)) == 2094  # (2.393980 + 0.841621)^2 = 10.46911


@given(st.floats(0.001, 0.5), st.integers(200, 10**7), st.floats(0.0, 0.9), st.integers(2, 6))
def test_size_and_effect_are_inverse(base: float, units: int, rho: float, arms: int) -> None:
    certainty = Certainty(rho=rho, arms=arms)
    for metric in (Rate(base), Mean(base), Periods(base, 1.0, 4.0, 0.5, 1.0)):
        effect = smallest_effect(metric, units, certainty)
        assert certainty.factor * metric.variance(effect) / effect**2 == pytest.approx(units, rel=1e-9)
        assert abs(units_per_arm(metric, effect, certainty) - units) <= 1


def test_a_rate_is_found_as_often_as_promised() -> None:
    rng, units = np.random.default_rng(0), units_per_arm(Rate(0.1), 0.04, Certainty())
    count = rng.binomial(units, [[0.1], [0.14]], (2, 4000))
    p = count / units
    z = (p[1] - p[0]) / np.sqrt((p * (1 - p)).sum(axis=0) / units)
    assert np.mean(np.abs(z) > 1.959964) == pytest.approx(0.8, abs=0.025)


def test_a_ratio_is_found_as_often_as_promised() -> None:
    rng = np.random.default_rng(1)

    def drawn(units: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
        shown = rng.geometric(0.2, units)
        return rng.binomial(shown, rng.beta(rate * 20, 20 * (1 - rate), units)).astype(float), shown.astype(float)

    metric = Mean.of_ratio(*drawn(200_000, 0.1))
    units = units_per_arm(metric, 0.02, Certainty())
    arm, found = np.arange(2 * units) < units, 0
    for _ in range(1000):
        pairs = [drawn(units, rate) for rate in (0.12, 0.1)]
        above, below = (np.concatenate(part) for part in zip(*pairs, strict=True))
        found += difference(ratio(above, below, arm), ratio(above, below, ~arm)).p_value < 0.05
    # treated units are a little noisier than the pilot's: .78 rather than .8
    assert found / 1000 == pytest.approx(0.79, abs=0.04)


def test_periods_lose_what_the_carry_over_hides() -> None:
    assert Periods(1.0, 0.0, 4.0, 1.0, 1.0).seen == 1.0
    assert Periods(1.0, 0.0, 4.0, 0.0, 1.0).seen == 0.75
    assert Periods(1.0, 0.0, 4.0, 0.5, 1.0).seen == pytest.approx(1 - 0.5 / 3.5)
    with pytest.raises(InputError, match="hides the whole effect"):
        Periods(1.0, 0.0, 4.0, 0.0, 4.0)


def test_a_washout_costs_hours_and_a_short_one_costs_effect() -> None:
    def needed(washout: float) -> int:
        return units_per_arm(Periods(0.5, 2.0, 4.0, washout, 1.0), 0.3, Certainty())

    assert needed(1.0) < min(needed(0.0), needed(3.0))


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"alpha": 0.0}, "alpha must be between 0 and 1"),
        ({"power": 1.0}, "power must be between"),
        ({"arms": 1}, "at least 2 arms"),
        ({"rho": 1.0}, "correlation"),
        ({"alpha": float("nan")}, "alpha"),
    ],
)
def test_no_certainty(given_: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Certainty(**given_)  # type: ignore[arg-type]


def test_what_cannot_be_planned_is_told() -> None:
    with pytest.raises(InputError, match="other than 0"):
        units_per_arm(Mean(1.0), 0.0, Certainty())
    with pytest.raises(InputError, match="outside 0 to 1"):
        units_per_arm(Rate(0.9), 0.2, Certainty())
    with pytest.raises(InputError, match="too few units"):
        smallest_effect(Rate(0.9), 5, Certainty())
    with pytest.raises(InputError, match="at least 2 units"):
        smallest_effect(Mean(1.0), 1, Certainty())
    with pytest.raises(InputError, match="standard deviation"):
        Mean(-1.0)
    with pytest.raises(InputError, match="shorter than a period"):
        Periods(1.0, 1.0, 2.0, 2.0)
    with pytest.raises(InputError, match="noise above 0"):
        Periods(0.0, 0.0, 2.0)
