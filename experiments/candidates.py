"""Which response model to use: each candidate fitted alike, judged on the same rows, compared pair by pair."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bidpilot.ctr import metrics
from bidpilot.ctr.fitting import FitReport, ResponseConfig, fit_response
from bidpilot.ctr.names import MODELS
from bidpilot.ctr.response import CONSTANT
from bidpilot.experiments.config import ALL, AUTO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.response import FittedResponse
    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.config import Settings

PLAIN = ("logistic", "deepfm")
"""What auto tries where the log has features."""

MEGABYTE = 1e6


@dataclass(frozen=True)
class Candidate:
    """A fitted response, by the name of its click model."""

    name: str
    response: FittedResponse
    report: FitReport

    @property
    def loss(self) -> float:
        """Log loss on the last training rows, on which no weight was fitted; infinite where nothing was."""
        return min(self.report.events[0].curve.valid, default=float("inf"))

    @property
    def size(self) -> int:
        """Bytes of the click model's weights."""
        return sum(array.nbytes for array in self.response.click.predictor.tensors().values())


def candidate_models(settings: Settings, log: AuctionLog) -> tuple[str, ...]:
    """Return the names of the response models to fit; a joint model takes the place of all.

    auto: the log's own predictions where there are no features, else the plain ones. all: every model that suits the
    log and is installed.
    """
    kind = settings.model.kind
    if settings.model.joint is not None:
        return (settings.model.joint,)
    features = log.categorical or log.numeric
    if kind == AUTO:
        return ("logged",) if "pctr" in log and not features else PLAIN
    if kind == ALL:
        missing = {"logged"} if "pctr" not in log else set()
        missing |= {"trees"} if find_spec("sklearn") is None else set()
        return tuple(name for name in MODELS if name not in missing)
    return settings.model.names


def fit_candidates(
    settings: Settings,
    train: AuctionLog,
    rng: np.random.Generator,
    weight: FloatArray | None = None,
    journal: Journal | None = None,
) -> list[Candidate]:
    """Fit every candidate, the one to use first: that with the lowest log loss on the last training rows."""
    seed, found = int(rng.integers(2**63)), []
    for name in candidate_models(settings, train):
        stream = np.random.default_rng([seed, *name.encode()])  # its own, whichever others are fitted
        part = None if journal is None else journal.at(name)
        found.append(Candidate(name, *fit_response(train, response_config(settings, name), stream, weight, part)))
    return sorted(found, key=lambda candidate: candidate.loss)


def response_config(settings: Settings, name: str) -> ResponseConfig:
    """Return how the candidate of a name is fitted."""
    model = settings.model
    return ResponseConfig(
        model=name if model.joint is None else PLAIN[0],
        epochs=model.epochs,
        members=model.members,
        joint=model.joint,
        worth=model.worth,
        calibration=model.calibration,
        segments=model.segments,
        delay=model.delay,
    )


def candidate_table(candidates: Sequence[Candidate], held_out: AuctionLog, rng: np.random.Generator) -> pd.DataFrame:
    """Judge the click models on the held-out rows that were shown: a row each, the one to use first.

    Columns: model, fitted (what it is: a constant where clicks were too few), auc, auc_low, auc_high, log_loss,
    loss_low, loss_high, ece, ece_floor, ece_bound, ratio, ratio_low, ratio_high (predicted over actual), worse,
    worse_low, worse_high (log loss above that of the first, row by row), seconds (of CPU, to fit), megabytes.
    Intervals are 95 %.
    """
    shown = held_out.rows(held_out.frame["won"].to_numpy())
    y = shown.frame["click"].to_numpy(np.float64)
    best = candidates[0].response.click.predict(shown)
    rows = [_judged(each, y, each.response.click.predict(shown), best, rng) for each in candidates]
    return pd.DataFrame(rows)


def advice(table: pd.DataFrame) -> str:
    """Return a sentence that says which model to use, and why."""
    best = table.iloc[0]
    if best["fitted"] == CONSTANT:
        return "no model can be told from a constant rate: the training rows have too few clicks"
    if len(table) == 1:
        return f"use {best['model']}: nothing else was fitted (--models all fits every model)"
    alike = [row["model"] for _, row in table.iloc[1:].iterrows() if not row["worse_low"] > 0.0]
    better = [row["model"] for _, row in table.iloc[1:].iterrows() if row["worse_high"] < 0.0]
    text = f"use {best['model']}: lowest log loss on the last training rows"
    if better:
        return f"{text}; on the held-out rows {_list(better)} did better, so let later days decide"
    if alike:
        return f"{text}; on the held-out rows {_list(alike)} cannot be told from it"
    return f"{text}, and lower on the held-out rows than every other, beyond chance"


def _judged(
    each: Candidate, y: FloatArray, p: FloatArray, best: FloatArray, rng: np.random.Generator
) -> dict[str, Any]:
    found: dict[str, Any] = {"model": each.name, "fitted": each.response.click.model}
    found |= dict(zip(("auc", "auc_low", "auc_high"), metrics.auc_interval(y, p), strict=True))
    found |= dict(zip(("log_loss", "loss_low", "loss_high"), metrics.mean_interval(metrics.losses(y, p)), strict=True))
    floor, bound = metrics.ece_noise(p, rng)
    found |= {"ece": metrics.ece(y, p), "ece_floor": floor, "ece_bound": bound}
    found |= dict(zip(("ratio", "ratio_low", "ratio_high"), metrics.predicted_over_actual(y, p), strict=True))
    worse = metrics.mean_interval(metrics.losses(y, p) - metrics.losses(y, best))
    found |= dict(zip(("worse", "worse_low", "worse_high"), worse, strict=True))
    return found | {"seconds": each.report.events[0].seconds, "megabytes": each.size / MEGABYTE}


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
