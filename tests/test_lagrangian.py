"""A multiplier rises while the limit is broken, falls to 0 where it is slack, and settles with mu * slack = 0."""

import pytest

from bidpilot.agents.lagrangian import Multiplier
from bidpilot.ctr.errors import InputError


def test_a_step_is_the_step_size_times_the_mean_overspend() -> None:
    multiplier = Multiplier(mu=1.0, eta=0.5)
    assert multiplier.update([0.2, 0.4]) == pytest.approx(1.15)
    assert multiplier.slack == pytest.approx(-0.3)
    assert multiplier.update([1e9, -0.4]) == pytest.approx(1.3), "one that could win nothing counts 1"
    multiplier.eta = 10.0
    assert multiplier.update([-0.5]) == 0.0
    assert multiplier.update([]) == 0.0
    assert multiplier.slack == 0.5


@pytest.mark.parametrize(("limit", "binds"), [(0.25, True), (1.0, False)])
def test_slackness_is_complementary_in_a_market_that_can_be_reckoned(*, limit: float, binds: bool) -> None:
    """Prices are uniform on 0..1 and worth is 1: a bid b <= 1 wins the worth b at the cost b^2 / 2.

    A buyer who maximises worth - mu (cost / limit - worth) bids b = limit (1 + mu) / mu, at most 1. A limit of 1/4
    binds at b = 1/2, whose price is mu = 1; a limit of 1 never binds, and its price is 0.
    """
    multiplier = Multiplier(mu=5.0 if not binds else 0.1, eta=2.0)
    rising = []
    for _ in range(4000):
        mu = multiplier.mu
        bid = min(1.0, limit * (1 + mu) / mu) if mu else 1.0
        multiplier.update([bid**2 / 2 / limit - bid])
        rising.append(multiplier.mu - mu)
    assert abs(multiplier.mu * multiplier.slack) < 1e-6
    if binds:
        assert rising[0] > 0
        assert multiplier.mu == pytest.approx(1.0, abs=1e-4)
        assert multiplier.slack == pytest.approx(0.0, abs=1e-6)
    else:
        assert max(rising) <= 0
        assert multiplier.mu == 0.0
        assert multiplier.slack == pytest.approx(0.5)


@pytest.mark.parametrize(("mu", "eta", "message"), [(-1.0, 0.1, "at least 0; got -1"), (1.0, 0.0, "above 0; got 0")])
def test_figures_out_of_range_are_refused(mu: float, eta: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Multiplier(mu, eta)
