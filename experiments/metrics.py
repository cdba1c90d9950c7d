"""What a table shows of a policy: ratios of sums over episodes, never means of ratios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS, FloatArray
from bidpilot.envs.hindsight import best_multiplier, best_plan, best_value
from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign, EpisodeResult

RECORD = (
    "episodes",
    "budget",
    "offered",
    "wins",
    "spend",
    "clicks",
    "conversions",
    "value",
    "predicted_clicks",
    "expected",
    "best",
    "pace",
)
"""What is kept of an episode; all of it may be summed over episodes. Money in currency."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its formula on sums over episodes, how it is headed and written, and which end is better.

    kind: ratio (1 = 100 %), money, count, or points (a difference of ratios).
    """

    name: str
    label: str
    kind: str
    better: str
    meaning: str
    formula: Callable[[dict[str, FloatArray]], FloatArray]


def _each(name: str) -> Callable[[dict[str, FloatArray]], FloatArray]:
    return lambda s: s[name] / s["episodes"]


def _ratio(above: str, below: str) -> Callable[[dict[str, FloatArray]], FloatArray]:
    return lambda s: s[above] / s[below]


METRICS = (
    Metric(
        "r_over_rstar",
        "R/R*",
        "ratio",
        "high",
        "expected worth won, as a share of the most that the budget could have bought in hindsight",
        _ratio("expected", "best"),
    ),
    Metric("value", "Value", "money", "high", "realised worth of what was won, per episode", _each("value")),
    Metric("expected_value", "Exp. value", "money", "high", "expected worth won, per episode", _each("expected")),
    Metric("spend", "Spend", "money", "", "what was paid, per episode", _each("spend")),
    Metric("utilisation", "Utilisation", "ratio", "", "spend as a share of the budget", _ratio("spend", "budget")),
    Metric("roi", "ROI", "ratio", "high", "(value - spend) / spend", lambda s: (s["value"] - s["spend"]) / s["spend"]),
    Metric("roas", "ROAS", "ratio", "high", "value / spend", _ratio("value", "spend")),
    Metric("clicks", "Clicks", "count", "high", "clicks on what was won, per episode", _each("clicks")),
    Metric("predicted_clicks", "Pred. clicks", "count", "", "clicks by the model's rates", _each("predicted_clicks")),
    Metric("conversions", "Conversions", "count", "high", "conversions of what was won", _each("conversions")),
    Metric("cpa", "CPA", "money", "low", "spend per conversion", _ratio("spend", "conversions")),
    Metric("ecpc", "eCPC", "money", "low", "spend per click", _ratio("spend", "clicks")),
    Metric("wins", "Wins", "count", "", "auctions won, per episode", _each("wins")),
    Metric("win_rate", "Win rate", "ratio", "", "wins as a share of all opportunities", _ratio("wins", "offered")),
    Metric(
        "pacing_error",
        "Pacing error",
        "ratio",
        "low",
        "mean distance, in shares of the budget, from the spend of the best constant multiplier",
        _each("pace"),
    ),
)
"""Every metric in the order in which it is shown. Ratios of sums, undefined (NaN) at a zero denominator."""


_BY_NAME = {entry.name: entry for entry in METRICS}


def episode_record(result: EpisodeResult, day: Day, ideal: Ideal) -> FloatArray:
    """Return what is kept of an episode, (len(RECORD),)."""
    total = result.total
    return np.array(
        [
            1.0,
            result.campaign.budget,
            float(len(day)),
            total("wins"),
            total("spend") / MICROS,
            total("clicks"),
            total("conversions"),
            total("revenue") / MICROS,
            total("predicted_clicks"),
            total("expected"),
            ideal.best,
            float(np.abs(cumulative_spend(result) - ideal.plan).mean()),
        ]
    )


def cumulative_spend(result: EpisodeResult) -> FloatArray:
    """Return the spend up to the end of each tick (ticks,), as a share of the budget."""
    return np.cumsum(result.table[:, COLUMNS.index("spend")]) / MICROS / result.campaign.budget


class Ideal:
    """What was possible on a day.

    best: R*, currency. plan: (ticks,) cumulative share of the budget that the best constant multiplier spends.
    """

    def __init__(self, day: Day, campaign: Campaign) -> None:
        """Solve the day for the budget."""
        self.best = float(best_value(day, np.array([campaign.budget]))[0])
        multiplier = best_multiplier(day, campaign.budget, campaign.rules.auction)
        self.plan = np.cumsum(best_plan(day, multiplier, campaign.rules.auction)) / campaign.budget


def metric(name: str, records: FloatArray, weights: FloatArray) -> FloatArray:
    """Return a metric (b,) of episodes (e, len(RECORD)) under weights (b, e)."""
    sums = dict(zip(RECORD, (weights @ records).T, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = _BY_NAME[name].formula(sums)
    return np.where(np.isfinite(value), value, np.nan)
