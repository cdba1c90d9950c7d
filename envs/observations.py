"""What a learner sees of a campaign: FEATURES gives the encoder, the Box bounds and the documentation.

Every feature is scale-free and bounded; none reads anything that has not arrived. Measures take a Residual and run in
floats or arrays, see envs/ops; they have names, because environments are pickled with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bidpilot.envs.features import Feature

if TYPE_CHECKING:
    from bidpilot.envs.residual import Residual
    from bidpilot.envs.scenario import Scenario

    Amount: TypeAlias = Any  # a float, or an array (N, 1) or (N, groups)


CLICK_PRIOR = 5.0
CLICK_TRUST = 20.0
"""Clicks that pull a group's corrected worth towards the predicted one."""


def _pace_error(s: Residual) -> Amount:
    return s.spent / s.campaigns.budget - s.pacer.planned[s.tick]


def _last_spend(s: Residual) -> Amount:
    ops, target = s.ops, s.pacer.target
    planned = target > 0
    return ops.where(planned, ops.over_groups(s.last.spend) / ops.where(planned, target, 1.0) - 1.0, 0.0)


def _price_level(s: Residual) -> Amount:
    """Cost per predicted worth so far against the forecast's, in logs; 0 while little is won."""
    prior = s.price_prior
    won = s.ops.over_groups(s.total.predicted) * s.rate[s.tick]
    return s.ops.log((s.spent + prior) / (s.ops.clip(won, 0.0, np.inf) + prior))


def _volume(s: Residual) -> Amount:
    """Compare the last tick's opportunities per planned share with the whole episode's so far, in logs."""
    tick = s.tick
    if tick == 0:
        return 0.0
    ops = s.ops
    last = ops.over_groups(s.last.offered) / s.volume[tick - 1]
    mean = ops.over_groups(s.total.offered) / s.past_volume[tick]
    return ops.log((last + 1.0) / (mean + 1.0))


def _calibration(s: Residual) -> Amount:
    """Clicks against predicted clicks per group so far, in logs, shrunk towards 0 by a prior of some clicks."""
    total = s.total
    return s.ops.log((total.clicks + CLICK_PRIOR) / (total.predicted_clicks + CLICK_PRIOR))


def _win_rate(s: Residual) -> Amount:
    wins, offered = s.ops.over_groups(s.last.wins), s.ops.over_groups(s.last.offered)
    return wins / s.ops.clip(offered, 1.0, np.inf)


def _next_share(s: Residual) -> Amount:
    horizon, tick = s.campaigns.horizon, s.tick
    return s.pacer.plan[tick] * horizon if tick < horizon else 0.0


def _limit_slack(s: Residual) -> Amount:
    earned = s.campaigns.cost_limit * s.ops.over_groups(s.total.predicted)
    return (earned - s.spent) / s.campaigns.budget


def _cost_of_worth(s: Residual) -> Amount:
    """Cost of the worth won so far, as clicks correct it, against the limit, in logs; 0 while little is spent.

    How sure it is hangs on the clicks so far, of which calibration and time tell.
    """
    total, prior = s.total, s.limit_prior
    factor = (total.clicks + CLICK_TRUST) / (total.predicted_clicks + CLICK_TRUST)
    allowed = s.campaigns.cost_limit * s.ops.over_groups(s.ops.clip(total.predicted, 0.0, np.inf) * factor)
    return s.ops.log((s.spent + prior) / (allowed + prior))


def _price_seen(s: Residual) -> Amount:
    last, total = s.last, s.total
    ops, prices, count = s.ops, s.ops.over_groups(last.prices), s.ops.over_groups(last.priced)
    sums, counts = ops.over_groups(total.prices), ops.over_groups(total.priced)
    some = (prices > 0) & (sums > 0)
    now = ops.where(some, prices, 1.0) / ops.where(some, count, 1.0)
    mean = ops.where(some, sums, 1.0) / ops.where(some, counts, 1.0)
    return ops.where(some, ops.log(now / mean), 0.0)


def _time_left(s: Residual) -> Amount:
    return 1.0 - s.tick / s.campaigns.horizon


def _budget_left(s: Residual) -> Amount:
    return s.left / s.campaigns.budget


def _multiplier(s: Residual) -> Amount:
    return s.ops.log(s.pacer.multiplier / s.pacer.start)


def _scarcity(s: Residual) -> Amount:
    return s.scarcity


def _limit(s: Residual) -> Amount:
    return s.limit


def _action(s: Residual) -> Amount:
    return s.action


def _spend_share(s: Residual) -> Amount:
    return s.total.spend / s.ops.clip(s.spent, 1e-9, np.inf)


def _reported(s: Residual) -> Amount:
    """Worth reported so far against the predicted worth of what was won, in logs, drawn to 0 by a prior."""
    told, predicted = s.ops.over_groups(s.total.revenue), s.ops.over_groups(s.total.predicted)
    return s.ops.log((told + s.worth_prior) / (s.ops.clip(predicted, 0.0, np.inf) + s.worth_prior))


COMMON = (
    Feature("time_left", "share", 0, 1, "ticks to come", _time_left),
    Feature("budget_left", "share", 0, 1, "budget not yet spent", _budget_left),
    Feature("pace_error", "share", -1, 1, "spent minus planned share of the budget", _pace_error),
    Feature("last_spend", "ratio - 1", -1, 3, "spend of the last tick against its target now", _last_spend),
    Feature("multiplier", "log", -3, 3, "controller's pacing multiplier against the forecast's", _multiplier),
    Feature("price_level", "log", -2, 2, "cost per predicted worth so far against the forecast's", _price_level),
    Feature("win_rate", "share", 0, 1, "wins among the last tick's opportunities", _win_rate),
    Feature("volume", "log", -2, 2, "last tick's opportunities against the episode's so far", _volume),
    Feature("scarcity", "log2 / 6", -1.5, 0.5, "budget against the expected cost of winning everything", _scarcity),
    Feature("next_share", "ratio", 0, 4, "planned spend of the coming tick against an even plan", _next_share),
)
LIMITED = (
    Feature("limit", "log", -3, 3, "cost limit per worth against the starting multiplier; only with a limit", _limit),
    Feature(
        "limit_slack",
        "share",
        -1,
        1,
        "what the limit still allows of the budget; only with a limit",
        _limit_slack,
    ),
    Feature(
        "cost_of_worth",
        "log",
        -1,
        1,
        "cost of the worth so far, corrected by clicks, against the limit; only with a limit",
        _cost_of_worth,
    ),
)
REPORTED = (
    Feature("reported", "log", -3, 3, "worth reported so far against the predicted; only where asked for", _reported),
)
OPEN = (
    Feature(
        "price_seen",
        "log",
        -2,
        2,
        "the last tick's prices against all so far; only where reported",
        _price_seen,
    ),
)
PER_GROUP = (
    Feature("action", "-", -1, 1, "the previous action", _action, per_group=True),
    Feature("calibration", "log", -2, 2, "clicks against predicted clicks so far", _calibration, per_group=True),
    Feature("spend_share", "share", 0, 1, "share of the spend so far", _spend_share, per_group=True),
)
EVERY = COMMON + LIMITED + OPEN + REPORTED + PER_GROUP
"""Every observation there is, in order."""

FEATURES = COMMON + PER_GROUP
"""The observations of a campaign without limit under sealed prices."""


def features_of(scenario: Scenario) -> tuple[Feature, ...]:
    """Return a scenario's observations: with a limit, and where all prices are reported, there is more to see."""
    if scenario.limit is None and scenario.rules.censored and not scenario.observe_reports:
        return FEATURES
    reports = REPORTED if scenario.observe_reports else ()
    limited = LIMITED if scenario.limit is not None else ()
    return COMMON + limited + (() if scenario.rules.censored else OPEN) + reports + PER_GROUP
