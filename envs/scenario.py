"""The settings of an environment, frozen: what is played, what is drawn per episode, how it is rewarded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.envs.actions import ACTIONS, hands
from bidpilot.envs.controller import GAIN
from bidpilot.envs.goal import Goal
from bidpilot.envs.rewards import reward_term
from bidpilot.envs.traffic_law import TrafficLaw
from bidpilot.envs.types import Rules

if TYPE_CHECKING:
    from bidpilot.envs.forecast import Forecast

ENVIRONMENTS = ("pacing", "targeting", "allocation", "shading", "ad_selection")
SCALES = ("hindsight", "forecast")
LIMITS = ("roas", "cpa", "tightness")
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Limit:
    """The range that an episode's cost limit is drawn from, log-uniformly.

    kind: "roas" (worth won per currency spent, at least), "cpa" (currency per conversion, at most; worth: what a
    conversion is worth, which then must be the same for all) or "tightness" (a multiple of what a unit of worth is
    expected to cost at the budget's own multiplier: below 1 the limit binds before the budget).
    Raises InputError for an unknown kind or an empty range.
    """

    kind: str
    low: float
    high: float
    worth: float = 1.0

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.kind not in LIMITS:
            raise unknown("limit", self.kind, LIMITS)
        check_range("limit", (self.low, self.high))
        if not self.worth > 0:
            raise InputError(f"worth of a conversion must be above 0; got {self.worth}")

    def cost_limit(self, drawn: float, scarcity: float, forecast: Forecast) -> float:
        """Return the most currency to spend per currency of worth, for a drawn figure and budget."""
        if self.kind == "roas":
            return 1.0 / drawn
        if self.kind == "cpa":
            return drawn / self.worth
        at = forecast.multiplier(scarcity)
        cost, worth = (
            float(forecast.spending(at)) * forecast.full_cost,
            float(forecast.earning(at)) * forecast.full_value,
        )
        return drawn * (cost / worth if cost > 0 and worth > 0 else float(at))  # what is won costs less than the bid


@dataclass(frozen=True, slots=True)
class Scenario:
    """What an environment plays.

    environment: one of ENVIRONMENTS. rules: of the exchange, see Rules. Drawn per episode, log-uniformly: scarcity,
    budget / cost of winning everything; limit, see Limit; price_scale and volume, factors on a day's prices and
    traffic. miscalibration: range of the log-sd by which each segment's click rate is misjudged, new every episode.
    action: "continuous" or "ladder" (of `levels` multipliers); the action 1 multiplies the controller's bid by
    exp(reach). gain, prior: the controller's, see Controller. reward: names of the terms. scale: what rewards are a
    share of, R* ("hindsight") or the worth that the forecast expects for the budget ("forecast", quicker on fresh
    traffic). penalty: price of breaking the limit, in worth per worth. observe_reports: show the learner the worth that
    has been reported so far (late, where conversions are). buckets: of predicted worth, by which bid shading
    tells opportunities of a segment apart. traffic: the law of the days where no market is given.

    Raises InputError for unknown names, empty ranges or figures out of range.
    """

    environment: str = "pacing"
    rules: Rules = field(default_factory=Rules)
    scarcity: Range = (1 / 64, 3 / 4)
    reach: float = 0.7
    gain: float = GAIN
    prior: float | None = None
    reward: tuple[str, ...] = ("expected", "controller")
    miscalibration: Range = (0.0, 0.0)
    limit: Limit | None = None
    price_scale: Range = (1.0, 1.0)
    volume: Range = (1.0, 1.0)
    action: str = "continuous"
    levels: int = 9
    scale: str = "hindsight"
    penalty: float = 5.0
    observe_reports: bool = False
    buckets: int = 16
    traffic: TrafficLaw = field(default_factory=lambda: TrafficLaw(once=False))

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.environment not in ENVIRONMENTS:
            raise unknown("environment", self.environment, ENVIRONMENTS)
        if self.scale not in SCALES:
            raise unknown("scale of rewards", self.scale, SCALES)
        for form in ACTIONS if self.action in ACTIONS else (self.action,):
            hands(form, 1, self.levels)
        check_terms(self.reward)
        self._check_figures()
        if self.environment == "shading" and self.rules.auction != "first_price":
            raise InputError(f"bids are shaded where the winner pays its own: not in {self.rules.auction}")

    def _check_figures(self) -> None:
        for name in ("scarcity", "price_scale", "volume"):
            check_range(name, getattr(self, name))
        low, high = self.miscalibration
        if not 0 <= low <= high < np.inf:
            raise InputError(
                f"miscalibration must be a range of numbers at least 0, the lower one first; got {self.miscalibration}"
            )
        for name in ("reach", "prior"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0; got {getattr(self, name)}")
        for name in ("gain", "penalty"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be at least 0; got {getattr(self, name)}")

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Scenario:
        """Restore a scenario from what dataclasses.asdict made of it, by way of JSON.

        Raises TypeError or InputError for settings that are none.
        """
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
        for name, kind in (("rules", Rules), ("limit", Limit), ("traffic", _law)):
            if name in plain and not (name == "limit" and plain[name] is None):
                plain[name] = kind(**plain[name])
        return cls(**plain)

    @property
    def can_switch_off(self) -> bool:
        """Tell whether an action at the low end stops bidding for its group."""
        return self.environment == "targeting"


def _law(goal: dict[str, Any], **figures: Any) -> TrafficLaw:  # noqa: ANN401 - of any field
    return TrafficLaw(**figures, goal=Goal(**goal))


def check_terms(reward: Any) -> None:  # noqa: ANN401 - whatever was given
    """Raise InputError unless a reward is a tuple of known terms."""
    if isinstance(reward, str) or not reward:
        raise InputError(f"reward must be a tuple of at least one term, as ('expected',); got {reward!r}")
    for term in reward:
        reward_term(term)


def check_range(name: str, bounds: Range) -> None:
    """Raise InputError unless bounds are a range of finite numbers above 0."""
    if not 0 < bounds[0] <= bounds[1] < np.inf:
        raise InputError(f"{name} must be a range of numbers above 0, the lower one first; got {bounds}")


def drawn(bounds: Range, rng: np.random.Generator) -> float:
    """Draw log-uniformly; a range of one number draws nothing."""
    low, high = bounds
    return low if low == high else float(np.exp(rng.uniform(np.log(low), np.log(high))))
