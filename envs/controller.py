"""The feedback controller that every learned policy stands on.

The incremental ratio rule paces: log multiplier += gain * clip(1 - spend / target, -1, 1), with the target re-planned
on the remaining budget. Where the campaign limits the cost per worth, a second multiplier follows that limit the same
way from the safe side, and the lower one bids. Recalibration corrects each group's predictions by the clicks so far:
x (clicks + k) / (predicted clicks + k), the posterior mean of a Gamma(k, k) prior on the ratio of two Poisson counts.
All live here because the environments' actions are residuals on them; agents/incremental and agents/recalibrate are
the policies. Formulas run on one campaign in floats or on many in arrays, see envs/ops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bidpilot.envs.ops import ARRAYS, SCALARS, Ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.types import Campaign, CampaignState

GAIN = 0.15
TRUST = 0.02
"""Share of the budget that must be spent before the limit's multiplier moves at full speed."""


class Campaigns(NamedTuple):
    """What controllers and observations read of one campaign (floats) or of many in lockstep (arrays (N, 1))."""

    budget: Any
    full_cost: Any
    scarcity: Any
    cost_limit: Any
    horizon: int
    ops: Ops

    @classmethod
    def of(cls, campaigns: Sequence[Campaign], groups: int = 1, *, floats: bool = True) -> Campaigns:
        """Gather campaigns of one horizon; a single one with one bid group stays in floats, unless asked otherwise."""
        first = campaigns[0]
        if floats and len(campaigns) == 1 and groups == 1:
            return cls(first.budget, first.full_cost, first.scarcity, first.cost_limit, first.horizon, SCALARS)
        names = ("budget", "full_cost", "scarcity", "cost_limit")
        budget, cost, scarcity, limit = (np.array([[getattr(each, name)] for each in campaigns]) for name in names)
        return cls(budget, cost, scarcity, limit, first.horizon, ARRAYS)


class Pacer:
    """A plan re-made on what is left, and the multiplier that follows it.

    Attributes: start, the forecast's multiplier for the budget; multiplier, the current one; plan[tick],
    shares of the budget, planned[tick] their sum before the tick; target, currency to spend in the current tick.
    """

    def __init__(self, campaigns: Campaigns, forecast: Forecast, gain: float = GAIN) -> None:
        """Start at the forecast's multiplier for the budget."""
        self.gain, self.ops = gain, campaigns.ops
        scarcity = np.ravel(campaigns.scarcity)
        start, plan = forecast.multiplier(scarcity), forecast.plan(scarcity)
        self.start = self.multiplier = _form(start, self.ops)
        to_come = np.cumsum(plan[:, ::-1], axis=1)[:, ::-1]
        self.plan = by_tick(plan, self.ops)
        self.planned = by_tick(before(plan), self.ops)
        self._to_come = by_tick(to_come, self.ops)
        self.target = _form(np.zeros(len(scarcity)), self.ops)
        self._spent = self.target

    def to_come(self, tick: int) -> Any:  # noqa: ANN401 - float or array
        """Return the share of the budget that is planned for a tick and those after it."""
        return self._to_come[min(tick, len(self.plan) - 1)]

    def target_at(self, state: CampaignState) -> Any:  # noqa: ANN401 - float or array
        """Return the currency to spend in the coming tick: what is left, shared out by the rest of the plan."""
        if state.tick >= len(self.plan):
            return self.target * 0.0
        return state.left * self.plan[state.tick] / self._to_come[state.tick]

    def observe(self, state: CampaignState) -> Any:  # noqa: ANN401 - float or array
        """Take in the last tick (one without traffic teaches nothing); return the multiplier for the coming one."""
        ops = self.ops
        if state.tick > 0:
            told = (self.target > 0.0) & (ops.over_groups(state.last.offered) > 0.0)
            spend = state.spent - self._spent  # to the bit the same for any number of groups
            error = 1.0 - spend / ops.where(told, self.target, 1.0)
            moved = self.multiplier * ops.exp(self.gain * ops.clip(error, -1.0, 1.0))
            self.multiplier = ops.where(told, moved, self.multiplier)
        self._spent = state.spent
        self.target = self.target_at(state)
        return self.multiplier


class Limiter:
    """The multiplier that keeps the cost per worth at the campaign's limit.

    At second price a multiplier of the limit itself is safe: no win costs more than limit x its worth, so the average
    stays below. It starts where past days' cost of worth met the limit, and follows the sums so far, never below the
    safe one. The rule is relative, as the pacer's.
    """

    def __init__(self, campaigns: Campaigns, forecast: Forecast, gain: float) -> None:
        """Start at the forecast's multiplier for the limit."""
        self.gain, self.ops = gain, campaigns.ops
        self.limit = campaigns.cost_limit
        self.multiplier = _form(forecast.affordable(np.ravel(self.limit)), self.ops)
        self._trust = TRUST * campaigns.budget

    def observe(self, state: CampaignState, factor: Any = 1.0) -> Any:  # noqa: ANN401 - float or array
        """Take in what was won so far; return the multiplier. factor: by which the clicks correct the predictions."""
        earned = self.limit * self.ops.over_groups(state.total.predicted * factor)
        slack = (earned - state.spent) / (self._trust + state.spent)
        self.multiplier = self.multiplier * self.ops.exp(self.gain * self.ops.clip(slack, -1.0, 1.0))
        self.multiplier = self.ops.clip(self.multiplier, self.limit, self.limit * 20.0)
        return self.multiplier


class Controller:
    """Pacing for all groups and, with a prior, recalibration of each.

    groups: number of multipliers. prior: clicks' worth of trust in the predictions; None: no recalibration.
    """

    def __init__(
        self, campaigns: Campaigns, forecast: Forecast, groups: int = 1, gain: float = GAIN, prior: float | None = None
    ) -> None:
        """Start an episode."""
        self.pacer = Pacer(campaigns, forecast, gain)
        limited = np.isfinite(campaigns.cost_limit)
        self.limiter = Limiter(campaigns, forecast, gain) if np.all(limited) else None
        self.groups, self.prior = groups, prior

    def observe(self, state: CampaignState) -> Any:  # noqa: ANN401 - float or array
        """Take in the last tick; return the multipliers for the coming one: a float, or (N, groups)."""
        common, factor = self.pacer.observe(state), 1.0
        if self.prior is not None:
            factor = (state.total.clicks + self.prior) / (state.total.predicted_clicks + self.prior)
        if self.limiter is not None:
            limit = self.limiter.observe(state, factor)
            common = self.pacer.ops.where(common < limit, common, limit)
        if self.prior is None:
            return common if self.groups == 1 else np.repeat(common, self.groups, axis=1)
        return common * factor


def before(rows: FloatArray) -> FloatArray:
    """Return the sums (N, ticks + 1) of rows (N, ticks) before each tick."""
    sums = np.zeros((len(rows), rows.shape[1] + 1))
    np.cumsum(rows, axis=1, out=sums[:, 1:])
    return sums


def by_tick(rows: FloatArray, ops: Ops) -> Any:  # noqa: ANN401 - a list of floats, or (ticks, N, 1)
    """Arrange (N, ticks) so that [tick] gives one common amount."""
    return rows[0].tolist() if ops is SCALARS else np.ascontiguousarray(rows.T)[:, :, None]


def _form(amounts: FloatArray, ops: Ops) -> Any:  # noqa: ANN401 - float or (N, 1)
    return float(amounts[0]) if ops is SCALARS else amounts[:, None]
