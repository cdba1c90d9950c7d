"""What a table shows of a policy: ratios of sums over episodes, never means of ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS, FloatArray
from bidpilot.envs.hindsight import best_multiplier, best_plan, best_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.envs.types import Campaign, Day, EpisodeResult

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

METRICS: dict[str, tuple[Callable[[dict[str, FloatArray]], FloatArray], str]] = {
    "spend": (lambda s: s["spend"] / s["episodes"], "currency per episode"),
    "utilisation": (lambda s: s["spend"] / s["budget"], "spend / budget"),
    "wins": (lambda s: s["wins"] / s["episodes"], "per episode"),
    "win_rate": (lambda s: s["wins"] / s["offered"], "wins / all opportunities, those after exhaustion included"),
    "clicks": (lambda s: s["clicks"] / s["episodes"], "per episode"),
    "predicted_clicks": (lambda s: s["predicted_clicks"] / s["episodes"], "per episode, by the model"),
    "conversions": (lambda s: s["conversions"] / s["episodes"], "per episode"),
    "value": (lambda s: s["value"] / s["episodes"], "realised worth, currency per episode"),
    "expected_value": (lambda s: s["expected"] / s["episodes"], "expected worth, currency per episode"),
    "roi": (lambda s: (s["value"] - s["spend"]) / s["spend"], "(value - spend) / spend"),
    "roas": (lambda s: s["value"] / s["spend"], "value / spend"),
    "cpa": (lambda s: s["spend"] / s["conversions"], "spend / conversions"),
    "ecpc": (lambda s: s["spend"] / s["clicks"], "spend / clicks"),
    "pacing_error": (lambda s: s["pace"] / s["episodes"], "mean |spent - planned| share of the budget"),
    "r_over_rstar": (lambda s: s["expected"] / s["best"], "expected worth / the most the budget could buy"),
}
"""Every metric: its formula on sums over episodes, and its meaning. Undefined (NaN) at a zero denominator."""


def episode_record(result: EpisodeResult, day: Day, ideal: Ideal) -> FloatArray:
    """Return what is kept of an episode, (len(RECORD),)."""
    total = result.total
    spent = np.cumsum(result.table[:, 1]) / MICROS / result.campaign.budget
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
            float(np.abs(spent - ideal.plan).mean()),
        ]
    )


class Ideal:
    """What was possible on a day: best, R* in currency; plan, (ticks,) cumulative share of the budget that the best
    constant multiplier spends."""

    def __init__(self, day: Day, campaign: Campaign) -> None:
        """Solve the day for the budget."""
        self.best = float(best_value(day, np.array([campaign.budget]))[0])
        multiplier = best_multiplier(day, campaign.budget, campaign.auction)
        self.plan = np.cumsum(best_plan(day, multiplier)) / campaign.budget


def metric(name: str, records: FloatArray, weights: FloatArray) -> FloatArray:
    """Return a metric (b,) of episodes (e, len(RECORD)) under weights (b, e)."""
    sums = dict(zip(RECORD, (weights @ records).T, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = METRICS[name][0](sums)
    return np.where(np.isfinite(value), value, np.nan)
