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

    curve: steps, score, low, high (validation R/R*, 95 %); with a multiplier of a cost limit also mu and slack, how far
    below the limit episodes ended, as a share of R*. observations (n, d), actions (n, groups): probes, what the
    trainer's own network answered. story: sentences on how the training went. unfinished: whether a time limit
    ended it, so that it can be gone on with.
    """

    actor: Actor
    curve: pd.DataFrame
    observations: Floats
    actions: Floats
    story: tuple[str, ...] = ()
    unfinished: bool = False
