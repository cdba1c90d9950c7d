"""The common ground of contextual bandits: what an arm is worth depends on the state of the campaign.

The context is what learned policies see (envs/observations), scale-free and bounded. Rewards, arms and warm-up are
those of every ladder bandit (arms.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from bidpilot.agents.bandits.arms import FACTORS, Ladder
from bidpilot.ctr.errors import unknown
from bidpilot.envs.observations import FEATURES
from bidpilot.envs.residual import Residual
from bidpilot.envs.scenario import Scenario

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.types import Campaign, CampaignState

SCENARIO = Scenario(reach=float(np.log(FACTORS[-1])))
"""Actions -1..1 of this reach are the ladder's factors."""
ACTIONS = np.log(FACTORS) / SCENARIO.reach
CONTEXT = 1 + len(FEATURES)
FORMS = ("shared", "disjoint")


class Model(Protocol):
    """What a contextual bandit remembers."""

    def add(self, x: FloatArray, reward: float) -> None:
        """Take in a reward seen at features x (d,)."""


M = TypeVar("M", bound=Model)


class ContextualBandit(Ladder[M]):
    """A bandit that sees the state. Attributes: design (arms, d), the features of each arm in the coming tick."""

    def __init__(self, past: Past, blank: M) -> None:
        """Keep the past."""
        super().__init__(past, blank)
        self.design: FloatArray = np.zeros((len(self.factors), 1))
        self._residual: Residual

    def features(self, context: FloatArray) -> FloatArray:
        """Return the features (arms, d) of the arms in a context (CONTEXT,)."""
        return shared_design(context)

    def look(self, state: CampaignState) -> float:
        """Observe the state and lay out the design; return the multiplier that arms are factors on."""
        self._residual.action = 0.0 if self._arm is None else float(ACTIONS[self._arm])
        seen = self._residual.observe(state.lifted())
        self.design = self.features(np.append(1.0, seen))
        return float(self._residual.multipliers(0.0))

    def learn(self, arm: int, reward: float, state: CampaignState) -> None:  # noqa: ARG002 - the reward says it all
        """Take in by how much the reward beat the controller's own, at what the arm looked like when it was pulled."""
        self.statistics.add(self.design[arm], reward - 0.5)

    def _start(self, campaign: Campaign, rng: np.random.Generator) -> None:
        super()._start(campaign, rng)
        self._residual = Residual([campaign], self.forecast, 1, SCENARIO)
        self._pacer = self._residual.pacer


def shared_design(context: FloatArray) -> FloatArray:
    """Return (arms, 3 d): one model for all arms, in which each weight is a parabola of the arm's action."""
    powers = ACTIONS[:, None] ** np.arange(3)
    return np.asarray((powers[:, :, None] * context).reshape(len(ACTIONS), -1))


def disjoint_design(context: FloatArray) -> FloatArray:
    """Return (arms, arms x d): a model for each arm by itself."""
    return np.asarray(np.kron(np.eye(len(ACTIONS)), context), np.float64)


def design_of(form: str, context: FloatArray) -> FloatArray:
    """Return the design (arms, d) of a form. Raises InputError for one that is not of FORMS."""
    if form not in FORMS:
        raise unknown("form of a linear bandit", form, FORMS)
    return shared_design(context) if form == "shared" else disjoint_design(context)
