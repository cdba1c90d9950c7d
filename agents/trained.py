"""What every trainer gives: the best policy of a run, its learning curve, and probes of what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from bidpilot.agents.learned import Actor, Floats
    from bidpilot.ctr.types import FloatArray


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


def judged(step: int, scores: FloatArray) -> dict[str, float]:
    """Return a row of a learning curve: mean of the scores (days,) with a 95 % interval.

    Raises InputError where a score is no finite number: no network could be the best by it.
    """
    if not np.isfinite(scores).all():
        raise InputError(f"validation scores must be finite numbers; after {step:,} steps some are not")
    mean, error = float(scores.mean()), float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0
    return {"steps": step, "score": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error}
