"""The price of a cost limit, found while training: a Lagrange multiplier that follows how far the limit is broken.

max E[worth] subject to E[(spend / limit - worth) / V_ref] <= 0 is met by a saddle point; between two updates of the
policy its multiplier takes a step of dual ascent (Tessler, Mankowitz and Mannor, Reward constrained policy
optimization, 2019, with the projection onto mu >= 0):

    mu <- max(0, mu + eta * mean over episodes of (sum of cost - limit * sum of worth) / (limit * V_ref))

The environment then charges mu for every share of V_ref by which an episode ends above its limit, and pays as much for
every share below (Batched.signed): rewards and multiplier are of the same Lagrangian.
Complementary slackness, mu * slack = 0, tells that the price is right: either the limit binds, or it costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 1.0
"""Share of V_ref that one episode counts at most."""


@dataclass(slots=True)
class Multiplier:
    """mu: its value, worth per worth. eta: size of a step. slack: mean of the last episodes, as a share of V_ref.

    Raises InputError for a step that is not above 0 or a negative multiplier.
    """

    mu: float
    eta: float
    slack: float = float("nan")

    def __post_init__(self) -> None:
        """Check the figures."""
        if not 0 < self.eta < np.inf:
            raise InputError(f"the step of the multiplier must be above 0; got {self.eta}")
        if not 0 <= self.mu < np.inf:
            raise InputError(f"a multiplier must be at least 0; got {self.mu}")

    def update(self, overspend: Sequence[float]) -> float:
        """Take a step on how far episodes (n,) ended above their limit, negative below; return mu.

        overspend: (spend / limit - worth) / V_ref of each, no more of it than V_ref itself counts: where next to
        nothing can be won, the share has no meaning. Without episodes nothing changes.
        """
        if len(overspend):
            self.slack = -float(np.clip(overspend, -MOST, MOST).mean())
            self.mu = max(0.0, self.mu - self.eta * self.slack)
        return self.mu
