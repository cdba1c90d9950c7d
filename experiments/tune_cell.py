"""One cell of a tuning: a policy at a budget, searched on the tuning days and checked on the validation days.

Its imports are few, for it runs in processes of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bidpilot.experiments.config import budget_label
from bidpilot.experiments.search import best_of_trials, search
from bidpilot.experiments.statistics import day_weights, interval
from bidpilot.experiments.tuned import fields_of
from bidpilot.experiments.tuning import campaign_for, penalised

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.agents.base import Past, PolicyConfig
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign

REPLICATES = 2000


@dataclass(frozen=True)
class Cell:
    """A policy at a budget, with all that tuning it takes; path: where its result goes."""

    policy: str
    budget: float
    path: Path
    config: type[PolicyConfig]
    past: Past
    tune: tuple[Day, ...]
    validate: tuple[Day, ...]
    trials: int
    seed: int
    made: dict[str, Any]

    def __str__(self) -> str:
        """Name the cell."""
        return f"{self.policy} at budget {budget_label(self.budget)}"


def tune_cell(cell: Cell) -> str:
    """Search one policy's settings at one budget, play the best and the default on the validation days.

    Return the cell's file.
    """
    campaign = _campaign(cell, cell.tune)
    trials = search(
        cell.config, lambda config: penalised(config.build(cell.past), cell.tune, campaign), cell.trials, cell.seed
    )
    best, default = best_of_trials(trials), trials[0]
    campaign = _campaign(cell, cell.validate)
    after, before = (penalised(t.config.build(cell.past), cell.validate, campaign) for t in (best, default))
    rng = np.random.default_rng(cell.seed)
    told = {
        "policy": cell.policy,
        "budget": cell.budget,
        "config": fields_of(best.config),
        "trials": len(trials),
        "default": default is best,
        "tuning_days": _compared(best.scores, default.scores, rng),
        "validation_days": _compared(after, before, rng),
    }
    tried = [
        {"score": t.score, "settings": {name: fields_of(t.config)[name] for name in cell.config.space()}}
        for t in trials
    ]
    return json.dumps({"made": cell.made, "chosen": told, "tried": tried})


def _campaign(cell: Cell, days: tuple[Day, ...]) -> Campaign:
    return campaign_for(days, cell.budget, cell.made["auction"], cell.past.forecast.full_cost)


def _compared(tuned: FloatArray, default: FloatArray, rng: np.random.Generator) -> dict[str, float]:
    """Return mean scores with a bootstrap interval over the days, and the paired difference to the default's."""
    weights = day_weights(len(tuned), REPLICATES, rng) / len(tuned)
    found: dict[str, float] = {}
    for name, values in (("score", tuned), ("default_score", default), ("gain", tuned - default)):
        low, high = interval(float(values.mean()), weights @ values)
        found |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
    return found
