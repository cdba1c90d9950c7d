"""Weights against selection: clicks are seen only where the buyer won, and winning is easier on some impressions.

A won row stands for 1 / P(win at its own bid) opportunities (Zhang, Zhou, Wang & Xu, Bid-aware Gradient Descent for
Unbiased Learning with Censored Data in Display Advertising, KDD 2016). Rows that were nearly lost would weigh very
much, so weights are clipped: less variance for some bias. With a model that fits everywhere weights only cost variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fitting import fit_response
from bidpilot.ctr.metrics import TINY

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.fitting import ResponseConfig
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray, IntArray, Response

CAP = 10.0
"""No weight is above so many times their mean."""

RAREST = 1e-9
"""A row that was won had at least this probability to be, whatever a price law says."""


@dataclass(frozen=True, eq=False)
class Weights:
    """weight: (n,) of rows, mean 1. effective: rows of weight 1 that tell as much. clipped: share at the cap."""

    weight: FloatArray
    effective: float
    clipped: float


def selection_weights(win_probability: FloatArray, cap: float = CAP) -> Weights:
    """Return weights in proportion to 1 / P(win at the own bid) (n,), mean 1 and none above cap.

    Raises InputError for a cap not above 1, no rows, or what is no probability.
    """
    if not cap > 1.0:
        raise InputError(f"the cap of weights must be above 1, their mean; got {cap}")
    wrong = np.flatnonzero(~((win_probability >= 0.0) & (win_probability <= 1.0)))
    if len(wrong) or not len(win_probability):
        what = f"row {wrong[0]} has {win_probability[wrong[0]]}" if len(wrong) else "there are no rows"
        raise InputError(f"weights need the probability to win, in 0..1, of every row that was won; {what}")
    raw = 1.0 / np.maximum(win_probability, RAREST)
    limit = _limit(raw, cap)
    weight = np.minimum(raw, limit)
    weight /= weight.mean()
    return Weights(weight, effective_rows(weight), float((raw > limit).mean()))


def effective_rows(weight: FloatArray) -> float:
    """Return how many rows of equal weight give a mean of the same variance, (sum w)^2 / sum w^2 (Kish 1965)."""
    return float(weight.sum() ** 2 / (weight @ weight))


def group_rates(hit: npt.ArrayLike, weight: FloatArray, group: IntArray, groups: int) -> FloatArray:
    """Return the weighted rate (groups,) of hits (n,) in 0/1 by group (n,) in 0..groups-1; NaN without rows."""
    with np.errstate(invalid="ignore"):
        hits = np.bincount(group, weight * np.asarray(hit, dtype=np.float64), groups)
        return np.asarray(hits / np.bincount(group, weight, groups))


def compare_weighting(
    log: AuctionLog, truth: Response, weight: FloatArray, config: ResponseConfig, rng: np.random.Generator
) -> pd.DataFrame:
    """Fit clicks on the rows won with all weights 1, and with weight (n,), and judge both by the known truth (n,).

    Columns: weighting (off, on), rows (all, won, lost), count, excess_percent (expected log loss above that of the
    true probabilities) and ratio (predicted over true clicks). Expectations are over the truth: no noise of outcomes.
    """
    won = log.frame["won"].to_numpy()
    found = []
    seed = int(rng.integers(2**63))
    for name, weights in (("off", None), ("on", weight)):
        response, _ = fit_response(log, config, np.random.default_rng(seed), weights)
        p = response.click.predict(log)
        for rows, keep in (("all", np.ones_like(won)), ("won", won), ("lost", ~won)):
            judged = {"excess_percent": excess_loss(truth.pctr[keep], p[keep])}
            judged["ratio"] = float(p[keep].sum() / truth.pctr[keep].sum())
            found.append({"weighting": name, "rows": rows, "count": int(keep.sum())} | judged)
    return pd.DataFrame(found)


def excess_loss(truth: FloatArray, p: FloatArray) -> float:
    """Return by how many percent the expected log loss of p (n,) is above that of the true probabilities (n,)."""
    best, own = (_cross_entropy(truth, q) for q in (truth, p))
    return 100.0 * (own / best - 1.0)


def _cross_entropy(truth: FloatArray, p: FloatArray) -> float:
    q = np.clip(p, TINY, 1.0 - TINY)
    return float(-(truth * np.log(q) + (1.0 - truth) * np.log1p(-q)).mean())


def _limit(raw: FloatArray, cap: float) -> float:
    """Return the limit whose clipped weights have it as cap times their mean; the largest weight where none is above.

    With the k largest clipped to c, n c = cap (k c + the sum of the others) gives c.
    """
    rising = np.sort(raw)
    n = len(rising)
    others = np.concatenate([np.cumsum(rising)[::-1], [0.0]])  # sums of all but the k largest
    clipped = np.arange(min(int(np.ceil(n / cap)), n))
    limit = cap * others[clipped] / (n - cap * clipped)
    fits = np.flatnonzero(limit >= rising[n - 1 - clipped])
    return float(min(limit[fits[0]], rising[-1])) if len(fits) else float(rising[0])
