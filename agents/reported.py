"""How much worth a campaign has earned, by its reports so far and its predictions: what cost limits are kept by.

Few conversions say little and late ones nothing yet, so reports are weighed against a prior:
factor = (reported + k w) / (ripe + k w), earned = factor x predicted. w is what one paying event (a click where clicks
pay, else a conversion) brought on past days; k pseudo-events count as seen at the predicted rate. ripe is the predicted
worth that should have been reported by now, by the delays of past days: a conversion still on its way is not missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.types import MICROS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import CampaignState


class Reported:
    """Corrects predicted worth by what has been reported. Attributes: worth, currency, of one paying event."""

    def __init__(self, days: Sequence[Day], prior: float) -> None:
        """Learn from past days what an event brings and when it is reported. prior: k, pseudo-events."""
        rows = [day.paying for day in days]
        revenue = np.concatenate([day.hidden.revenue[part] for day, part in zip(days, rows, strict=True)])
        self.worth = float(revenue.mean()) / MICROS if revenue.size else 0.0
        self.prior = prior * self.worth
        self.arrived = _arrived(days)
        self._predicted: list[float] = []

    def reset(self) -> None:
        """Forget the last episode."""
        self._predicted = []

    def factor(self, state: CampaignState) -> float:
        """Return what predicted worth is to be multiplied by. Called once per tick, in order."""
        if state.tick > 0:
            self._predicted.append(float(state.last.predicted.sum()))
        ages = np.arange(len(self._predicted))[::-1]
        ripe = float(self.arrived[ages] @ np.asarray(self._predicted)) + self.prior
        return (float(state.total.revenue.sum()) + self.prior) / ripe if ripe > 0.0 else 1.0


def _arrived(days: Sequence[Day]) -> FloatArray:
    """Return the share (ticks,) of worth that is reported so many ticks after its win, or sooner."""
    counts = np.zeros(days[0].ticks)
    for day in days:
        late = day.hidden.delay is not None and not day.clicks_pay
        delay = day.hidden.delay[day.paying] if late and day.hidden.delay is not None else 0 * day.paying
        counts += np.bincount(np.minimum(delay, day.ticks), minlength=day.ticks + 1)[:-1]
    events = sum(len(day.paying) for day in days)
    return np.cumsum(counts) / events if events else np.ones(len(counts))
