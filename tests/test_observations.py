"""Every feature by hand, and every observation within its bounds."""

import numpy as np
import pytest

from bidpilot.envs.controller import Pacer
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.observations import CLICK_PRIOR, FEATURES, Situation, bounds, encode, names, table
from bidpilot.envs.types import Campaign, CampaignState, Feedback

BUDGET_SHARE = 0.25


def feedback(groups: int = 1, **columns: float | list[float]) -> Feedback:
    """Make feedback of zeros but for some columns."""
    return Feedback(*(np.broadcast_to(columns.get(name, 0.0), groups) * 1.0 for name in Feedback.__slots__))


def situation(
    forecast: Forecast,
    tick: int = 0,
    spent: float = 0.0,
    last: Feedback | None = None,
    total: Feedback | None = None,
    action: float | list[float] = 0.0,
) -> Situation:
    """Make a situation; spent is a share of the budget."""
    campaign = Campaign(BUDGET_SHARE * forecast.full_cost, forecast.ticks, forecast.full_cost)
    pacer, none = Pacer(campaign, forecast), feedback(np.size(action))
    left = (1 - spent) * campaign.budget
    state = CampaignState(tick, spent * campaign.budget, left, total or none, last or none)
    pacer.target = pacer.target_at(state)
    value, cost = (curve(pacer.start)[:tick].sum() for curve in (forecast.value_at, forecast.spend_at))
    return Situation(campaign, forecast, pacer, state, np.atleast_1d(action), float(value), float(cost))


def read(at: Situation) -> dict[str, float]:
    """Return the observation by name."""
    return dict(zip(names(len(at.action)), encode(at).tolist(), strict=True))


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
    plain = situation(forecast, tick=6)
    cost, prior = plain.past_spend * forecast.full_cost, 0.02 * plain.campaign.budget
    total = feedback(spend=dearer * cost, predicted=plain.past_value * forecast.full_value)
    expected = np.log((dearer * cost + prior) / (cost + prior))
    assert read(situation(forecast, tick=6, total=total))["price_level"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("busier", [0.5, 1.0, 3.0])
def test_volume_of_the_last_tick_against_that_so_far(forecast: Forecast, busier: float) -> None:
    share = forecast.volume
    offered = 1e6 * share[:5].sum()
    last, total = feedback(offered=busier * 1e6 * share[4]), feedback(offered=offered)
    seen = read(situation(forecast, tick=5, last=last, total=total))
    assert seen["volume"] == pytest.approx(np.log(busier), abs=1e-4)


def test_what_is_told_per_group(forecast: Forecast) -> None:
    at = situation(forecast, tick=1, spent=0.5, action=[0.5, -1.0, 0.0])
    half = at.state.spent
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
    low, high = bounds(groups)
    full = feedback(groups, **dict.fromkeys(Feedback.__slots__, size))
    action = [1.0] * groups
    for tick in (0, 1, 12):
        for multiplier in (1e-300, 1e300):
            at = situation(forecast, tick, 1.0, full, full, action)
            at.pacer.multiplier = multiplier
            seen = encode(at)
            assert seen.dtype == np.float32
            assert ((low <= seen) & (seen <= high)).all()


@pytest.mark.parametrize("groups", [1, 3])
def test_names_and_bounds_match_the_table(forecast: Forecast, groups: int) -> None:
    low, high = bounds(groups)
    entries = len(FEATURES) + (groups - 1) * sum(feature.per_group for feature in FEATURES)
    size = encode(situation(forecast, action=[0.0] * groups)).shape
    assert low.shape == high.shape == size == (len(names(groups)),) == (entries,)
    assert (low < high).all()
    assert np.isfinite([low, high]).all()
    assert len(set(names(groups))) == entries


def test_the_documentation_lists_every_feature() -> None:
    lines = table().splitlines()[2:]
    assert len(lines) == len(FEATURES)
    for line, feature in zip(lines, FEATURES, strict=True):
        assert line.startswith(f"| `{feature.name}` | {feature.unit} | {feature.low:g} .. {feature.high:g} |")
        assert ("one per bid group" in line) == feature.per_group
