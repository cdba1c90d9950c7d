"""How good a fitted response is on rows it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr import metrics
from bidpilot.ctr.lateness import ripe

if TYPE_CHECKING:
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.response import FittedResponse
    from bidpilot.ctr.types import BoolArray, FloatArray, Response


def evaluate_response(
    model: FittedResponse,
    log: AuctionLog,
    rng: np.random.Generator,
    truth: Response | None = None,
    final: BoolArray | None = None,
) -> pd.DataFrame:
    """Measure a model on held-out rows: one row per event that the log records.

    Conversions are judged on clicks whose label is final (n,), by default as lateness.ripe tells from these rows.

    Columns: event, model, rows, positives, auc, log_loss, ece, ece_floor and ece_bound (mean and 95 % bound of
    a perfect model's ece), predicted_over_actual with its 95 % interval ratio_low..ratio_high, true_log_loss and
    excess_log_loss_percent (NaN without the truth, which has a rate for every row of the log).
    """
    shown = log.frame["won"].to_numpy()
    clicked = shown & (log.frame["click"].to_numpy() == 1)
    predicted = model.predict(log)
    rows = []
    told = clicked & (ripe(log) if final is None else final)
    for event, name, keep in (("click", "pctr", shown), ("conversion", "pcvr", told)):
        if event in log and keep.any():
            y = log.frame[event].to_numpy(np.float64)[keep]
            exact = None if truth is None else getattr(truth, name)[keep]
            kind = getattr(model, event).model
            rows.append({"event": event, "model": kind} | _quality(y, getattr(predicted, name)[keep], exact, rng))
    return pd.DataFrame(rows)


def _quality(y: FloatArray, p: FloatArray, exact: FloatArray | None, rng: np.random.Generator) -> dict[str, float]:
    """Return one row of evaluate_response."""
    ratio, low, high = metrics.predicted_over_actual(y, p)
    floor, bound = metrics.ece_noise(p, rng)
    loss = metrics.log_loss(y, p)
    best = float("nan") if exact is None else metrics.log_loss(y, exact)
    return {
        "rows": len(y),
        "positives": int(y.sum()),
        "auc": metrics.auc(y, p),
        "log_loss": loss,
        "ece": metrics.ece(y, p),
        "ece_floor": floor,
        "ece_bound": bound,
        "predicted_over_actual": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "true_log_loss": best,
        "excess_log_loss_percent": 100.0 * (loss / best - 1.0),
    }
