"""What the controller alone earns: the zero action, played beside the learner."""

from collections.abc import Callable

import numpy as np
import pytest

from bidpilot.agents.base import Past
from bidpilot.agents.incremental import Config as Incremental
from bidpilot.agents.recalibrate import Config as Recalibrate
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.residual import Residual
from bidpilot.envs.scenario import Limit, Scenario
from bidpilot.envs.shadow import controller_alone, controllers_alone
from bidpilot.envs.types import COLUMNS, Campaign, Rules

EXPECTED = COLUMNS.index("expected")


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("prior", [None, 20.0])
def test_it_is_the_policy_of_the_same_name(
    past_days: tuple[Day, ...], forecast: Forecast, groups: int, prior: float | None
) -> None:
    past, day = Past(past_days, forecast), past_days[1].misjudged(np.linspace(0.5, 2.0, 8))
    campaign = Campaign(0.2 * forecast.full_cost, forecast.ticks, forecast.full_cost)
    scenario = Scenario("targeting" if groups > 1 else "pacing", gain=0.2, prior=prior)
    earned, excess = controller_alone(Residual, day, campaign, forecast, groups, scenario)
    if prior is None or groups > 1:
        policy = Incremental(0.2).build(past) if prior is None else Recalibrate(prior, 0.2).build(past)
        result = run_episode(policy, day, campaign, np.random.default_rng(0))
        assert earned.tolist() == result.table[:, EXPECTED].tolist()
    assert earned.sum() > 0
    assert not excess.any()


@pytest.mark.parametrize("rules", [Rules(), Rules("first_price"), Rules(reaction=0.5)])
@pytest.mark.parametrize("groups", [1, 8])
def test_many_together_are_each_alone(
    past_days: tuple[Day, ...], forecast: Forecast, groups: int, rules: Rules
) -> None:
    scenario = Scenario("targeting", rules=rules, prior=20.0)
    campaigns = [
        Campaign(share * forecast.full_cost, forecast.ticks, forecast.full_cost, rules) for share in (0.02, 0.2, 2.0)
    ]
    days = past_days[:3]
    together = controllers_alone(Residual, days, campaigns, forecast, groups, scenario, None)
    for column, day, campaign in zip(np.moveaxis(together, 2, 0), days, campaigns, strict=True):
        alone = controller_alone(Residual, day, campaign, forecast, groups, scenario)
        assert column.tobytes() == alone.tobytes()


def test_no_money_earns_nothing(smooth_day: Callable[..., Day]) -> None:
    day = smooth_day(0)
    campaign = Campaign(0.5e-6, 4, 1.0)
    forecast = Forecast.of([smooth_day(1)])
    assert controller_alone(Residual, day, campaign, forecast, 1, Scenario()).tolist() == [[0.0] * 4] * 2


def test_with_a_limit_the_controllers_own_excess_is_told(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    """Half of what it expects to win is not there, so the limit that it keeps by its predictions is broken."""
    day = past_days[1].misjudged(np.full(8, 2.0))
    limit = float(forecast.multiplier(0.2)) / 4
    campaign = Campaign(0.2 * forecast.full_cost, forecast.ticks, forecast.full_cost, cost_limit=limit)
    scenario = Scenario("pacing", limit=Limit("tightness", 0.5, 0.5))
    earned, excess = controller_alone(Residual, day, campaign, forecast, 1, scenario)
    result = run_episode(Incremental().build(Past(past_days, forecast)), day, campaign, np.random.default_rng(0))
    over = result.total("spend") / MICROS / limit - earned.sum()
    assert over > 0.1 * earned.sum()
    assert excess.sum() == pytest.approx(over)
