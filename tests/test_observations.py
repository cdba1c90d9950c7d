"""Every feature by hand, and every observation within its bounds."""

import numpy as np
import pytest

from bidpilot.envs.features import Floats, bounds, names, table
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.observations import CLICK_PRIOR, FEATURES, LIMITED, OPEN, features_of
from bidpilot.envs.residual import Residual
from bidpilot.envs.scenario import Limit, Scenario
from bidpilot.envs.types import Campaign, CampaignState, Feedback, Rules

BUDGET_SHARE = 0.25
PLAIN = Scenario()
LIMIT = Scenario(limit=Limit("roas", 1.0, 4.0))
REPORTED = Scenario(rules=Rules(censored=False))


def feedback(groups: int = 1, **columns: float | list[float]) -> Feedback:
    """Make feedback of zeros but for some columns."""
    return Feedback(*(np.broadcast_to(columns.get(name, 0.0), groups) * 1.0 for name in Feedback._fields))


def situation(
    forecast: Forecast,
    tick: int = 0,
    spent: float = 0.0,
    last: Feedback | None = None,
    total: Feedback | None = None,
    action: float | list[float] = 0.0,
    scenario: Scenario = PLAIN,
    limit: float = float("inf"),
) -> Residual:
    """Make what is measured; spent is a share of the budget. The controller has not moved."""
    budget = BUDGET_SHARE * forecast.full_cost
    campaign = Campaign(budget, forecast.ticks, forecast.full_cost, scenario.rules, limit)
    at, none = Residual([campaign], forecast, np.size(action), scenario), feedback(np.size(action))
    left = (1 - spent) * campaign.budget
    state = CampaignState(tick, spent * campaign.budget, left, total or none, last or none).lifted()
    at.tick, at.spent, at.left, at.total, at.last = state
    at.pacer.target = at.pacer.target_at(state)
    at.action = action if np.size(action) == 1 else np.array([action])
    return at


def encode(at: Residual) -> Floats:
    """Return the observation (d,)."""
    return at._encoder.one(at) if at.groups == 1 else at._encoder.many(at, 1)[0]


def read(at: Residual, scenario: Scenario = PLAIN) -> dict[str, float]:
    """Return the observation by name."""
    return dict(zip(names(features_of(scenario), at.groups), encode(at).tolist(), strict=True))


def test_time_and_money(forecast: Forecast) -> None:
    seen = read(situation(forecast, tick=3, spent=0.4))
    assert seen["time_left"] == 0.75
    assert seen["budget_left"] == pytest.approx(0.6)
    assert seen["pace_error"] == pytest.approx(0.4 - forecast.plan(BUDGET_SHARE)[:3].sum(), abs=1e-6)
    assert seen["scarcity"] == pytest.approx(-2 / 6)


def test_the_last_tick(forecast: Forecast) -> None:
    at = situation(forecast, tick=1)
    target = at.pacer.target
    last = feedback(spend=1.5 * target, wins=3, offered=12)
    seen = read(situation(forecast, tick=1, last=last, total=last))
    assert seen["last_spend"] == pytest.approx(0.5)
    assert seen["win_rate"] == 0.25


def test_the_controller(forecast: Forecast) -> None:
    at = situation(forecast, tick=2)
    at.pacer.multiplier *= np.e
    seen = read(at)
    assert seen["multiplier"] == pytest.approx(1)
    assert seen["next_share"] == pytest.approx(min(forecast.plan(BUDGET_SHARE)[2] * 12, 4))


@pytest.mark.parametrize("dearer", [0.5, 1.0, 2.0])
def test_prices_against_the_forecast(forecast: Forecast, dearer: float) -> None:
    start, budget = forecast.multiplier(BUDGET_SHARE), BUDGET_SHARE * forecast.full_cost
    past_value, past_spend = (curve(start)[:6].sum() for curve in (forecast.value_at, forecast.spend_at))
    cost, prior = past_spend * forecast.full_cost, 0.02 * budget
    total = feedback(spend=dearer * cost, predicted=past_value * forecast.full_value)
    expected = np.log((dearer * cost + prior) / (cost + prior))
    at = situation(forecast, tick=6, spent=dearer * cost / budget, total=total)
    assert read(at)["price_level"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("busier", [0.5, 1.0, 3.0])
def test_volume_of_the_last_tick_against_that_so_far(forecast: Forecast, busier: float) -> None:
    share = forecast.volume
    offered = 1e6 * share[:5].sum()
    last, total = feedback(offered=busier * 1e6 * share[4]), feedback(offered=offered)
    seen = read(situation(forecast, tick=5, last=last, total=total))
    assert seen["volume"] == pytest.approx(np.log(busier), abs=1e-4)


def test_what_is_told_per_group(forecast: Forecast) -> None:
    at = situation(forecast, tick=1, spent=0.5, action=[0.5, -1.0, 0.0])
    half = at.spent[0, 0]
    total = feedback(3, clicks=[8, 0, 3], predicted_clicks=[3, 10, 3], spend=[half / 4, half * 3 / 4, 0])
    seen = read(situation(forecast, tick=1, spent=0.5, total=total, action=[0.5, -1.0, 0.0]))
    assert [seen[f"action[{group}]"] for group in range(3)] == [0.5, -1.0, 0.0]
    assert [seen[f"spend_share[{group}]"] for group in range(3)] == pytest.approx([0.25, 0.75, 0])
    ratios = [(8 + CLICK_PRIOR) / (3 + CLICK_PRIOR), CLICK_PRIOR / (10 + CLICK_PRIOR), 1]
    assert [seen[f"calibration[{group}]"] for group in range(3)] == pytest.approx(np.log(ratios), abs=1e-6)


@pytest.mark.parametrize("tick", [0, 1, 11, 12])
def test_with_nothing_seen_nothing_is_said(forecast: Forecast, tick: int) -> None:
    seen = read(situation(forecast, tick=tick))
    for name in ("price_level", "volume", "calibration", "spend_share", "win_rate", "action", "multiplier"):
        if (name, tick) != ("price_level", tick) or tick == 0:
            assert seen[name] == 0, name
    assert np.isfinite(list(seen.values())).all()


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e12])
@pytest.mark.parametrize("groups", [1, 8])
def test_extremes_stay_within_bounds(forecast: Forecast, groups: int, size: float) -> None:
    low, high = bounds(FEATURES, groups)
    full = feedback(groups, **dict.fromkeys(Feedback._fields, size))
    action = [1.0] * groups if groups > 1 else 1.0
    for tick in (0, 1, 12):
        for multiplier in (1e-300, 1e300):
            at = situation(forecast, tick, 1.0, full, full, action)
            at.pacer.multiplier = multiplier
            seen = encode(at)
            assert seen.dtype == np.float32
            assert ((low <= seen) & (seen <= high)).all()


@pytest.mark.parametrize("groups", [1, 3])
def test_names_and_bounds_match_the_table(forecast: Forecast, groups: int) -> None:
    low, high = bounds(FEATURES, groups)
    entries = len(FEATURES) + (groups - 1) * sum(feature.per_group for feature in FEATURES)
    size = encode(situation(forecast, action=[0.0] * groups if groups > 1 else 0.0)).shape
    assert low.shape == high.shape == size == (len(names(FEATURES, groups)),) == (entries,)
    assert (low < high).all()
    assert np.isfinite([low, high]).all()
    assert len(set(names(FEATURES, groups))) == entries


def test_the_documentation_lists_every_feature() -> None:
    lines = table(FEATURES).splitlines()[2:]
    assert len(lines) == len(FEATURES)
    for line, feature in zip(lines, FEATURES, strict=True):
        assert line.startswith(f"| `{feature.name}` | {feature.unit} | {feature.low:g} .. {feature.high:g} |")
        assert ("one per bid group" in line) == feature.per_group


@pytest.mark.parametrize("scenario", [PLAIN, LIMIT, REPORTED, Scenario(limit=LIMIT.limit, rules=REPORTED.rules)])
def test_a_limit_and_reported_prices_are_seen_where_there_are_any(scenario: Scenario) -> None:
    features = features_of(scenario)
    assert set(FEATURES) <= set(features)
    assert (set(LIMITED) <= set(features)) == (scenario.limit is not None)
    assert (set(OPEN) <= set(features)) == (not scenario.rules.censored)
    assert len(features) == len(set(features))
    assert [f.per_group for f in features] == sorted(f.per_group for f in features)  # what is common comes first


def test_what_the_limit_allows(forecast: Forecast) -> None:
    start, budget = forecast.multiplier(BUDGET_SHARE), BUDGET_SHARE * forecast.full_cost
    total = feedback(predicted=0.5 * budget / start)
    seen = read(situation(forecast, 3, 0.3, total=total, scenario=LIMIT, limit=1.5 * start), LIMIT)
    assert seen["limit"] == pytest.approx(np.log(1.5), abs=1e-6)
    assert seen["limit_slack"] == pytest.approx(1.5 * 0.5 - 0.3, abs=1e-6)


def test_prices_as_they_are_reported(forecast: Forecast) -> None:
    last, total = feedback(prices=3.0, priced=100), feedback(prices=4.0, priced=400)
    seen = read(situation(forecast, 3, 0.3, last, total, scenario=REPORTED), REPORTED)
    assert seen["price_seen"] == pytest.approx(np.log(3.0), abs=1e-6)
    for silent in (feedback(prices=3.0, priced=100), feedback()):
        at = situation(forecast, 3, 0.3, feedback(), silent, scenario=REPORTED)
        assert read(at, REPORTED)["price_seen"] == 0  # a tick without traffic says nothing


def test_what_the_worth_so_far_costs_against_the_limit(forecast: Forecast) -> None:
    """Clicks half as many as predicted halve the worth, so far as they can be trusted."""
    start, budget = forecast.multiplier(BUDGET_SHARE), BUDGET_SHARE * forecast.full_cost
    limit = 1.5 * start
    total = feedback(predicted=0.3 * budget / limit, clicks=980.0, predicted_clicks=1980.0)
    seen = read(situation(forecast, 3, 0.3, total=total, scenario=LIMIT, limit=limit), LIMIT)
    assert seen["cost_of_worth"] == pytest.approx(np.log((0.3 + 0.02) / (0.5 * 0.3 + 0.02)), abs=1e-6)
    nothing = read(situation(forecast, 0, 0.0, scenario=LIMIT, limit=limit), LIMIT)
    assert nothing["cost_of_worth"] == 0
