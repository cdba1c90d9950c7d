"""What every trainer gives: the best policy of a run, its learning curve, and probes of what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from bidpilot.agents.learned import Actor, Floats


@dataclass(frozen=True)
class Trained:
    """The best policy of a run.

    curve: steps, score, low, high (validation R/R*, 95 %). observations (n, d), actions (n, groups): probes, what
    the trainer's own network answered.
    """

    actor: Actor
    curve: pd.DataFrame
    observations: Floats
    actions: Floats
