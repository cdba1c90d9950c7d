"""The seats of the marketplace: the policies that play them, and what their holders see. Arrays over buyers.

Every seat has a pacing controller, whoever plays it: the learner's action is a residual on it. The controllers are
the incremental ratio rule: log multiplier += gain x clip(1 - spend / target, -1, 1), with the target re-planned on what
is left, following the traffic expected; and the same rule on spend / (limit x value), for buyers with a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS, FloatArray
from bidpilot.envs.features import Encoder, Feature, Floats
from bidpilot.envs.marketplace_traffic import POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import BoolArray
    from bidpilot.envs.marketplace_exchange import Told
    from bidpilot.envs.marketplace_traffic import Buyers, MarketplaceConfig

CLICK_PRIOR = 5.0
"""Clicks' worth of trust in the predictions."""


class Seats:
    """The controllers of all seats through an episode.

    Attributes: tick, the coming one; plan (ticks,), shares of the day's traffic; budget, left, target (B,), currency;
    paced, capped (B,), the multipliers of the pacing and of the limit controller; active (B,), who may still bid.
    """

    def __init__(self, config: MarketplaceConfig, buyers: Buyers) -> None:
        """Start every controller at its buyer's first multiplier."""
        self.gain, self.plan, self.buyers = config.gain, config.profile, buyers
        self._to_come = np.cumsum(self.plan[::-1])[::-1]
        self.tick, self.budget = 0, buyers.budget / MICROS
        self.start, self.paced, self.capped = buyers.start, buyers.start.copy(), buyers.start.copy()
        self.active: BoolArray = np.ones(config.buyers, dtype=bool)
        self._plan_on(self.budget)

    def multipliers(self) -> FloatArray:
        """Return what the policies bid in the coming tick (B,)."""
        rows = np.stack([RULES[name](self) for name in POLICIES])
        return np.asarray(rows[self.buyers.policy, np.arange(len(self.budget))])

    def learn(self, last: Told, total: Told, left: FloatArray, active: BoolArray) -> None:
        """Take in a tick; one without traffic teaches nothing. left: (B,) currency; active: (B,) who may still bid."""
        if last.offered[0] > 0:
            self._steer(self.paced, last.spend, self.target)
            self._steer(self.capped, total.spend, self.buyers.limit * total.expected)
        self.tick, self.active = self.tick + 1, active
        self._plan_on(left)

    def _steer(self, multiplier: FloatArray, spend: FloatArray, target: FloatArray) -> None:
        """Move the multipliers of those who may bid and have a target towards it, in place."""
        moves = self.active & (target > 0.0)
        error = np.clip(1.0 - spend[moves] / target[moves], -1.0, 1.0)
        multiplier[moves] *= np.exp(self.gain * error)

    def _plan_on(self, left: FloatArray) -> None:
        """Share out what is left by the rest of the plan."""
        more = self.tick < len(self.plan)
        self.left, self.target = left, left * (self.plan[self.tick] / self._to_come[self.tick]) if more else 0.0 * left


RULES: dict[str, Callable[[Seats], FloatArray]] = {
    "constant": lambda seats: seats.start,
    "truthful": lambda seats: np.ones(len(seats.start)),
    "pacing": lambda seats: seats.paced,
    "limited": lambda seats: np.minimum(seats.paced, seats.capped),
}
"""The built-in policies, one for each of POLICIES: the multipliers (B,) all buyers would bid if they followed it."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the observations of the seats may be made of; action: (B,) the previous one, 0 without a learner."""

    seats: Seats
    last: Told
    total: Told
    action: FloatArray


def _log_ratio(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.asarray(np.log(np.maximum(x, 1e-12) / np.maximum(y, 1e-12)))


def _share(x: FloatArray, whole: FloatArray) -> FloatArray:
    """Return x / whole, 0 where nothing is whole."""
    return np.divide(x, whole, out=np.zeros(np.shape(x)), where=whole > 0.0)


def _pace_error(s: Situation) -> FloatArray:
    return np.asarray(s.total.spend / s.seats.budget - s.seats.plan[: s.seats.tick].sum())


def _last_spend(s: Situation) -> FloatArray:
    return _share(s.last.spend - s.seats.target, s.seats.target)


def _multiplier(s: Situation) -> FloatArray:
    return _log_ratio(s.seats.paced, s.seats.start)


def _win_rate(s: Situation) -> FloatArray:
    return _share(s.last.wins, s.last.offered)


def _slot_mix(s: Situation) -> FloatArray:
    return _share(s.last.slots, s.last.wins[:, None])


def _seen_rate(s: Situation) -> FloatArray:
    return _share(s.total.seen, s.total.wins)


def _scarcity(s: Situation) -> FloatArray:
    return np.asarray(np.log2(s.seats.buyers.scarcity) / 6.0)


def _next_share(s: Situation) -> float:
    return float(s.seats.plan[s.seats.tick]) * len(s.seats.plan) if s.seats.tick < len(s.seats.plan) else 0.0


def _volume(s: Situation) -> FloatArray:
    """Compare the last tick's opportunities per planned share with the whole episode's so far, in logs."""
    tick, plan = s.seats.tick, s.seats.plan
    if tick == 0:
        return np.zeros(len(s.action))
    return _log_ratio(s.last.offered / plan[tick - 1] + 1.0, s.total.offered / plan[:tick].sum() + 1.0)


def _drift(s: Situation) -> FloatArray:
    """Compare what a delivery cost in the last tick with the episode's mean, in logs; 0 where nothing was bought."""
    change = _log_ratio(s.last.spend * s.total.seen, s.total.spend * s.last.seen)
    return np.where((s.last.spend > 0.0) & (s.last.seen > 0.0), change, 0.0)


def _cost(s: Situation) -> FloatArray:
    """Return what was paid per worth so far, in logs, shrunk towards 0 by a prior of 2 % of the budget."""
    prior = 0.02 * s.seats.budget
    return _log_ratio(s.total.spend + prior, s.total.expected + prior)


def _clicks(s: Situation) -> FloatArray:
    """Compare the clicks with those predicted so far, in logs."""
    return _log_ratio(s.total.clicks + CLICK_PRIOR, s.total.expected / s.seats.buyers.worth + CLICK_PRIOR)


def _of_seat(
    name: str, unit: str, low: float, high: float, meaning: str, measure: Callable[[Situation], FloatArray]
) -> Feature:
    """Return a feature whose measure gives one amount per seat (B,)."""
    return Feature(name, unit, low, high, meaning, lambda s: measure(s)[:, None])


FEATURES = (
    Feature("time_left", "share", 0, 1, "ticks to come", lambda s: 1.0 - s.seats.tick / len(s.seats.plan)),
    _of_seat("budget_left", "share", 0, 1, "budget not yet spent", lambda s: s.seats.left / s.seats.budget),
    _of_seat("pace_error", "share", -1, 1, "spent minus planned share of the budget", _pace_error),
    _of_seat("last_spend", "ratio - 1", -1, 3, "spend of the last tick against the coming target", _last_spend),
    _of_seat("multiplier", "log", -3, 3, "pacing controller's multiplier against its first one", _multiplier),
    _of_seat("bid_level", "log", -3, 3, "pacing controller's bid per worth", lambda s: np.log(s.seats.paced)),
    _of_seat("win_rate", "share", 0, 1, "slots held per opportunity in the last tick", _win_rate),
    Feature("slot_mix", "share", 0, 1, "share of the slots held in the last tick", _slot_mix, per_group=True),
    _of_seat("seen_rate", "share", 0, 1, "deliveries per slot held so far", _seen_rate),
    _of_seat("price_drift", "log", -2, 2, "cost per delivery in the last tick against the mean so far", _drift),
    _of_seat("cost_level", "log", -3, 3, "spend per worth so far", _cost),
    _of_seat("clicks", "log", -2, 2, "clicks against predicted clicks so far", _clicks),
    _of_seat("volume", "log", -2, 2, "last tick's opportunities against the episode's so far", _volume),
    _of_seat("scarcity", "log2 / 6", -1.5, 1.5, "budget against the average buyer's spend at full value", _scarcity),
    Feature("next_share", "ratio", 0, 4, "planned spend of the coming tick against an even plan", _next_share),
    _of_seat("active", "0 or 1", 0, 1, "may still bid", lambda s: s.seats.active.astype(np.float64)),
    _of_seat("action", "-", -1, 1, "the previous action", lambda s: s.action),
)
"""Every observation, in order: what a seat has been told of itself and of the traffic, nothing of the others."""


def observe(situation: Situation) -> Floats:
    """Return the observations of all seats (B, d), float32; slot_mix comes once per slot."""
    seats, slots = situation.last.slots.shape
    return Encoder(FEATURES, slots).many(situation, seats)
