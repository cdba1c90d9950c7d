"""Which ad to show whom: what the controller knows of the ads, what a learner sees of them, and its forms of action.

Clicks teach each ad's factor in each segment: its posterior mean is (clicks + k) / (predicted clicks + k), as in
controller.py. The controller shows the ad whose mean plus BONUS posterior standard deviations is highest, so that
what has hardly been tried is tried, and bids pacing multiplier x posterior mean x believed worth.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import gymnasium as gym
import numpy as np

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.envs.actions import ACTIONS
from bidpilot.envs.features import Encoder, Feature, Floats
from bidpilot.envs.observations import CLICK_PRIOR, COMMON, features_of
from bidpilot.envs.residual import Residual
from bidpilot.envs.types import COLUMNS, CampaignState, Feedback

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign

    Space: TypeAlias = gym.spaces.Space[Any]

PRIOR = 20.0
"""Clicks' worth of trust that an ad is like any other, where the scenario does not say."""
BONUS = 2.0
KEPT = [COLUMNS.index(name) for name in ("wins", "clicks", "predicted_clicks")]


class Shown(NamedTuple):
    """What each ad has brought in each segment so far, (segments, ads) each: impressions, clicks, clicks predicted."""

    wins: FloatArray
    clicks: FloatArray
    predicted: FloatArray

    @classmethod
    def nothing(cls, segments: int, ads: int) -> Shown:
        """Return what is known before the first tick."""
        return cls(*np.zeros((len(KEPT), segments, ads)))

    def plus(self, choice: IntArray, table: FloatArray) -> Shown:
        """Return what is known after a tick that showed these ads (segments,) and brought a table (segments, C)."""
        segments = np.arange(len(choice))
        sums = [amounts.copy() for amounts in self]
        for amounts, column in zip(sums, KEPT, strict=True):
            amounts[segments, choice] += table[:, column]
        return Shown(*sums)


class AdAction(NamedTuple):
    """An action: tilt (segments, ads) of the ads' scores, infinite for an ad that is picked; bid, in -1..1."""

    tilt: FloatArray
    bid: float


class AdChooser(Residual):
    """The controller of one episode and the learner's action on top of it; the attributes are what features measure.

    Beside those of Residual: shown, what the ads have brought. prior: k above, the scenario's or PRIOR. groups: the
    segments. Cost limits are kept as there; the corrections by clicks are those of the ads.
    """

    def __init__(self, campaign: Campaign, forecast: Forecast, segments: int, ads: int, scenario: Scenario) -> None:
        """Start an episode."""
        super().__init__([campaign], forecast, segments, replace(scenario, prior=None), floats=False)
        self.ads, self.prior = ads, PRIOR if scenario.prior is None else scenario.prior
        self.shown = Shown.nothing(segments, ads)
        self._encoder = Encoder(ad_features(scenario), segments * ads)
        self._turn = np.add.outer(np.arange(segments), np.arange(ads))

    def look(self, state: CampaignState, shown: Shown) -> Floats:
        """Take in the last tick, with amounts (segments,); return the observation (d,) for the coming one."""
        self.shown = shown
        return np.asarray(self.observe(_arrays(state))[0])

    def learn(self, state: CampaignState, shown: Shown) -> None:
        """Take in the last tick without looking: all that the controller itself needs."""
        self.shown = shown
        self.take(_arrays(state))

    def posterior(self) -> FloatArray:
        """Return the posterior mean (segments, ads) of the ads' factors."""
        return (self.shown.clicks + self.prior) / (self.shown.predicted + self.prior)

    def scores(self) -> FloatArray:
        """Return what the controller ranks the ads of a segment by (segments, ads): the log of its upper bound."""
        clicks, predicted = self.shown.clicks + self.prior, self.shown.predicted + self.prior
        return np.asarray(np.log((clicks + BONUS * np.sqrt(clicks)) / predicted))

    def decide(self, action: AdAction) -> tuple[IntArray, FloatArray]:
        """Return the ad (segments,) to show each segment, and its multiplier (segments,).

        Equal scores take turns: by one segment and one tick to the next ad.
        """
        turn = (self._turn + self.tick) % self.ads
        score = np.take_along_axis(self.scores() + self.reach * action.tilt, turn, axis=1)
        segments = np.arange(self.groups)
        choice = turn[segments, score.argmax(axis=1)]
        paced = self._base[0] * np.exp(self.reach * action.bid)
        return choice, paced * self.posterior()[segments, choice]


def _arrays(state: CampaignState) -> CampaignState:
    """Return a state in arrays (1, 1) and (1, segments), also where there is one segment."""
    total, last = (
        Feedback(*(x[None] if isinstance(x, np.ndarray) else np.array([[x]]) for x in told))
        for told in (state.total, state.last)
    )
    return CampaignState(state.tick, np.array([[state.spent]]), np.array([[state.left]]), total, last)


# --- observations -------------------------------------------------------------------------------------------------


def _row(amounts: FloatArray) -> FloatArray:
    """Return amounts (segments, ads) as (1, segments x ads)."""
    return amounts.reshape(1, -1)


def _calibration(s: AdChooser) -> FloatArray:
    return _row(np.log((s.shown.clicks + CLICK_PRIOR) / (s.shown.predicted + CLICK_PRIOR)))


def _evidence(s: AdChooser) -> FloatArray:
    return _row(np.log1p(s.shown.predicted / CLICK_PRIOR))


def _share(s: AdChooser) -> FloatArray:
    return _row(s.shown.wins / np.maximum(s.shown.wins.sum(axis=1, keepdims=True), 1.0))


PER_AD = (
    Feature("calibration", "log", -2, 2, "clicks against predicted clicks so far", _calibration, per_group=True),
    Feature("evidence", "log", 0, 8, "predicted clicks so far", _evidence, per_group=True),
    Feature("shown", "share", 0, 1, "share of the segment's impressions so far", _share, per_group=True),
)
AD_FEATURES = COMMON + PER_AD
"""Every observation of a campaign without limit under sealed prices; per segment and ad: number segment x ads + ad."""


def ad_features(scenario: Scenario) -> tuple[Feature, ...]:
    """Return a scenario's observations: those of the campaign as in other environments, and those of the ads."""
    return tuple(f for f in features_of(scenario) if not f.per_group) + PER_AD


# --- actions ------------------------------------------------------------------------------------------------------


class AdHands(Protocol):
    """How the environment takes actions."""

    space: Space

    def one(self, action: Any) -> AdAction:  # noqa: ANN401 - as the space has it
        """Return what an action means. Raises InputError unless it is of the space's shape and kind."""


class Continuous:
    """A number in -1..1 per segment and ad, and one for the bid; what lies outside is clipped."""

    def __init__(self, segments: int, ads: int) -> None:
        """Set up the space."""
        self._shape, self._size = (segments, ads), segments * ads + 1
        self.space: Space = gym.spaces.Box(-1.0, 1.0, (self._size,), dtype=np.float32)

    def one(self, action: Any) -> AdAction:  # noqa: ANN401 - as the space has it
        """Return what an action means. Raises InputError unless it is as many finite numbers as the space has."""
        wanted = np.asarray(action, dtype=np.float64)
        if wanted.shape != (self._size,) or not np.isfinite(wanted).all():
            raise InputError(f"an action must be {self._size} finite numbers in -1..1; got {action}")
        wanted = np.minimum(np.maximum(wanted, -1.0), 1.0)
        return AdAction(wanted[:-1].reshape(self._shape), float(wanted[-1]))


class Ladder:
    """Per segment 0 (the controller's choice) or the number of an ad, from 1; last a level of the bid."""

    def __init__(self, segments: int, ads: int, levels: int) -> None:
        """Set up the space; levels: an odd number, the middle one is the controller's bid."""
        self._shape, self._counts = (segments, ads), np.array([ads + 1] * segments + [levels])
        self._rungs: list[float] = np.linspace(-1.0, 1.0, levels).tolist()
        self.space: Space = gym.spaces.MultiDiscrete(self._counts)

    def one(self, action: Any) -> AdAction:  # noqa: ANN401 - as the space has it
        """Return what an action means. Raises InputError unless it is as many whole numbers as the space has."""
        wanted = np.asarray(action)
        fits = wanted.shape == self._counts.shape and wanted.dtype.kind in "iu"
        if not fits or (wanted < 0).any() or (wanted >= self._counts).any():
            raise InputError(f"an action must be whole numbers below {self._counts.tolist()}; got {action}")
        tilt = np.zeros(self._shape)
        picked = np.flatnonzero(wanted[:-1])
        tilt[picked, wanted[picked] - 1] = np.inf
        return AdAction(tilt, self._rungs[int(wanted[-1])])


def ad_hands(form: str, segments: int, ads: int, levels: int) -> AdHands:
    """Return a form of action by name. Raises InputError listing the known names."""
    if form not in ACTIONS:
        raise unknown("action form", form, ACTIONS)
    return Continuous(segments, ads) if form == "continuous" else Ladder(segments, ads, levels)
