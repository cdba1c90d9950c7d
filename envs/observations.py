"""What a learner sees: one FEATURES table gives the encoder, the Box bounds and the documentation.

Every feature is scale-free and bounded; none reads anything that has not arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.controller import Pacer
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.types import Campaign, CampaignState


CLICK_PRIOR = 5.0


@dataclass(frozen=True, slots=True)
class Situation:
    """All that an observation may be made of.

    action: (G,) the previous action. past_value, past_spend: what the forecast expected so far at the starting
    multiplier, as shares of a day's worth and full cost.
    """

    campaign: Campaign
    forecast: Forecast
    pacer: Pacer
    state: CampaignState
    action: FloatArray
    past_value: float
    past_spend: float


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of FEATURES. measure returns a number, or (G,) numbers where per_group."""

    name: str
    unit: str
    low: float
    high: float
    meaning: str
    measure: Callable[[Situation], FloatArray | float]
    per_group: bool = False


def _log_ratio(x: FloatArray | float, y: FloatArray | float) -> FloatArray | float:
    return np.log(np.maximum(x, 1e-12) / np.maximum(y, 1e-12))


def _pace_error(s: Situation) -> float:
    planned = float(s.pacer.plan[: s.state.tick].sum())
    return s.state.spent / s.campaign.budget - planned


def _price_level(s: Situation) -> float:
    """Cost per predicted worth so far against the forecast's, in logs; 0 while little is won."""
    prior = 0.02 * s.campaign.budget
    expected_cost = s.past_spend * s.campaign.full_cost
    expected_value = s.past_value * s.forecast.full_value * s.campaign.full_cost / s.forecast.full_cost
    rate = expected_cost / expected_value if expected_value > 0 else 1.0 / s.pacer.start
    paid, won = float(s.state.total.spend.sum()), float(s.state.total.predicted.sum())
    return float(_log_ratio(paid + prior, (won * rate) + prior))


def _volume(s: Situation) -> float:
    """Compare the last tick's opportunities per planned share with the whole episode's so far, in logs."""
    tick, volume = s.state.tick, s.forecast.volume
    if tick == 0:
        return 0.0
    last = float(s.state.last.offered.sum()) / max(float(volume[tick - 1]), 1e-9)
    mean = float(s.state.total.offered.sum()) / max(float(volume[:tick].sum()), 1e-9)
    return float(_log_ratio(last + 1.0, mean + 1.0))


def _calibration(s: Situation) -> FloatArray:
    """Clicks against predicted clicks per group so far, in logs, shrunk towards 0 by a prior of some clicks."""
    total = s.state.total
    return np.log((total.clicks + CLICK_PRIOR) / (total.predicted_clicks + CLICK_PRIOR))


def _last_win_rate(s: Situation) -> float:
    return float(s.state.last.wins.sum() / max(s.state.last.offered.sum(), 1.0))


def _spend_share(s: Situation) -> FloatArray:
    return s.state.total.spend / max(s.state.spent, 1e-9)


def _last_spend(s: Situation) -> float:
    return float(s.state.last.spend.sum()) / s.pacer.target - 1.0 if s.pacer.target > 0 else 0.0


FEATURES = (
    Feature("time_left", "share", 0, 1, "ticks to come", lambda s: 1.0 - s.state.tick / s.campaign.horizon),
    Feature("budget_left", "share", 0, 1, "budget not yet spent", lambda s: s.state.left / s.campaign.budget),
    Feature("pace_error", "share", -1, 1, "spent minus planned share of the budget", _pace_error),
    Feature("last_spend", "ratio - 1", -1, 3, "spend of the last tick against its target now", _last_spend),
    Feature(
        "multiplier",
        "log",
        -3,
        3,
        "controller's pacing multiplier against the forecast's",
        lambda s: float(_log_ratio(s.pacer.multiplier, s.pacer.start)),
    ),
    Feature("price_level", "log", -2, 2, "cost per predicted worth so far against the forecast's", _price_level),
    Feature("win_rate", "share", 0, 1, "wins among the last tick's opportunities", _last_win_rate),
    Feature("volume", "log", -2, 2, "last tick's opportunities against the episode's so far", _volume),
    Feature(
        "scarcity",
        "log2 / 6",
        -1.5,
        0.5,
        "budget against the expected cost of winning everything",
        lambda s: float(np.log2(s.campaign.scarcity)) / 6.0,
    ),
    Feature(
        "next_share",
        "ratio",
        0,
        4,
        "planned spend of the coming tick against an even plan",
        lambda s: float(s.pacer.plan[s.state.tick]) * s.campaign.horizon if s.state.tick < s.campaign.horizon else 0.0,
    ),
    Feature("action", "-", -1, 1, "the previous action", lambda s: s.action, per_group=True),
    Feature("calibration", "log", -2, 2, "clicks against predicted clicks so far", _calibration, per_group=True),
    Feature("spend_share", "share", 0, 1, "share of the spend so far", _spend_share, per_group=True),
)
"""Every observation, in order; per_group rows have one entry per bid group (1, or one per segment)."""


@lru_cache
def bounds(groups: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the lower and upper bounds (d,) of the observation for this many groups."""
    count = [groups if f.per_group else 1 for f in FEATURES]
    low = np.repeat([f.low for f in FEATURES], count).astype(np.float32)
    return low, np.repeat([f.high for f in FEATURES], count).astype(np.float32)


def encode(situation: Situation) -> npt.NDArray[np.float32]:
    """Return the observation (d,), float32, each entry clipped to its bounds."""
    low, high = bounds(len(situation.action))
    parts = np.hstack([feature.measure(situation) for feature in FEATURES])
    return np.asarray(np.minimum(np.maximum(parts, low), high), dtype=np.float32)


def names(groups: int) -> list[str]:
    """Return the name of every entry of the observation; per-group entries carry the group's number."""
    return [
        f"{f.name}[{g}]" if f.per_group and groups > 1 else f.name
        for f in FEATURES
        for g in range(groups if f.per_group else 1)
    ]


def table() -> str:
    """Return the FEATURES as a Markdown table, for documentation."""
    lines = ["| name | unit | range | meaning |", "|---|---|---|---|"]
    for f in FEATURES:
        each = " (one per bid group)" if f.per_group else ""
        lines.append(f"| `{f.name}` | {f.unit} | {f.low:g} .. {f.high:g} | {f.meaning}{each} |")
    return "\n".join(lines)
