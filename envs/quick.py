"""The observation of one campaign with one bid group, written out in floats: half the time of the table's measures.

The plain reference is observations.FEATURES itself; a test compares them byte by byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.envs.features import Encoder
from bidpilot.envs.observations import CLICK_PRIOR

if TYPE_CHECKING:
    from bidpilot.envs.features import Feature, Floats
    from bidpilot.envs.residual import Residual


class QuickEncoder(Encoder):
    """Encodes FEATURES for one group."""

    def __init__(self, features: tuple[Feature, ...]) -> None:
        """Lay out the observation."""
        super().__init__(features, 1)

    def one(self, situation: Any) -> Floats:  # noqa: ANN401 - a Residual
        """Return the observation (d,)."""
        parts = np.array(_measured(situation), np.float32)
        np.maximum(parts, self._low, out=parts)
        return np.minimum(parts, self._high, out=parts)


def _measured(s: Residual) -> list[float]:
    """Return what the measures of FEATURES return, in their order."""
    tick, spent, total, last = s.tick, s.spent, s.total, s.last
    campaigns, pacer, log = s.campaigns, s.pacer, s.ops.log
    budget, horizon, target = campaigns.budget, campaigns.horizon, pacer.target
    offered, spend = last.offered, total.spend
    volume = 0.0
    if tick:
        now, mean = offered / s.volume[tick - 1], total.offered / s.past_volume[tick]
        volume = log((now + 1.0) / (mean + 1.0))
    won = total.predicted * s.rate[tick]
    return [
        1.0 - tick / horizon,
        s.left / budget,
        spent / budget - pacer.planned[tick],
        last.spend / target - 1.0 if target > 0 else 0.0,
        log(pacer.multiplier / pacer.start),
        log((spent + s.price_prior) / ((max(0.0, won)) + s.price_prior)),
        last.wins / (max(1.0, offered)),
        volume,
        s.scarcity,
        pacer.plan[tick] * horizon if tick < horizon else 0.0,
        s.action,
        log((total.clicks + CLICK_PRIOR) / (total.predicted_clicks + CLICK_PRIOR)),
        spend / (max(1e-09, spent)),
    ]
