"""How good predicted probabilities are: pure functions of outcomes y (n,) in 0/1 and predictions p (n,)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.types import FloatArray, IntArray

Z = 1.959963984540054
"""Normal quantile of a two-sided 95 % interval."""

TINY = 1e-12
"""Log loss sees no probability nearer to 0 or 1 than this."""


def auc(y: npt.ArrayLike, p: FloatArray) -> float:
    """Return P(p of a positive > p of a negative), ties counted one half; NaN where one class is absent."""
    label = np.asarray(y, dtype=np.float64)
    positives = label.sum()
    negatives = len(label) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    rank = _midranks(p)
    return float((rank @ label - 0.5 * positives * (positives + 1.0)) / (positives * negatives))


def auc_interval(y: npt.ArrayLike, p: FloatArray) -> tuple[float, float, float]:
    """Return the AUC and its 95 % interval (DeLong, DeLong & Clarke-Pearson 1988); NaN where one class is absent.

    By mid-ranks, as Sun & Xu 2014 (IEEE Signal Processing Letters 21(11)) have it.
    """
    hit = np.asarray(y) > 0
    m, n = int(hit.sum()), int((~hit).sum())
    area = auc(y, p)
    if min(m, n) < 2:  # noqa: PLR2004 - a variance needs two
        return area, float("nan"), float("nan")
    everywhere, among_hits, among_misses = _midranks(p), _midranks(p[hit]), _midranks(p[~hit])
    above = (everywhere[hit] - among_hits) / n
    below = 1.0 - (everywhere[~hit] - among_misses) / m
    spread = Z * float(np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n))
    return area, max(area - spread, 0.0), min(area + spread, 1.0)


def log_loss(y: npt.ArrayLike, p: FloatArray) -> float:
    """Return the mean of -log P(what happened), nats; NaN without rows."""
    return float(losses(y, p).mean()) if len(p) else float("nan")


def losses(y: npt.ArrayLike, p: FloatArray) -> FloatArray:
    """Return -log P(what happened) of every row (n,), nats."""
    label, q = np.asarray(y, dtype=np.float64), np.clip(p, TINY, 1.0 - TINY)
    return np.asarray(-(label * np.log(q) + (1.0 - label) * np.log1p(-q)))


def mean_interval(amounts: FloatArray) -> tuple[float, float, float]:
    """Return the mean of amounts (n,) and its 95 % interval by the normal law; NaN bounds for fewer than two."""
    if len(amounts) < 2:  # noqa: PLR2004 - a variance needs two
        return float(amounts.mean()) if len(amounts) else float("nan"), float("nan"), float("nan")
    mean, spread = float(amounts.mean()), Z * float(amounts.std(ddof=1)) / len(amounts) ** 0.5
    return mean, mean - spread, mean + spread


def ece(y: npt.ArrayLike, p: FloatArray, bins: int = 20) -> float:
    """Return the expected calibration error over bins of about equal count; equal predictions share a bin."""
    if len(p) == 0:
        return float("nan")
    return _gap(_bins(p, bins), p, np.asarray(y, dtype=np.float64), bins)


def ece_noise(p: FloatArray, rng: np.random.Generator, bins: int = 20, draws: int = 200) -> tuple[float, float]:
    """Return mean and 95 % bound of the error that a perfect model with these predictions would show by chance."""
    if len(p) == 0:
        return float("nan"), float("nan")
    place = _bins(p, bins)
    gaps = [_gap(place, p, (rng.random(len(p)) < p).astype(np.float64), bins) for _ in range(draws)]
    return float(np.mean(gaps)), float(np.quantile(gaps, 0.95))


def wilson(positives: npt.ArrayLike, count: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the 95 % interval of a rate (Wilson 1927); NaN where count is 0."""
    n = np.asarray(count, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.asarray(positives, dtype=np.float64) / n
        centre = (rate + Z**2 / (2.0 * n)) / (1.0 + Z**2 / n)
        half = Z / (1.0 + Z**2 / n) * np.sqrt(rate * (1.0 - rate) / n + (Z / (2.0 * n)) ** 2)
    return np.asarray(np.maximum(centre - half, 0.0)), np.asarray(np.minimum(centre + half, 1.0))


def predicted_over_actual(y: npt.ArrayLike, p: FloatArray) -> tuple[float, float, float]:
    """Return predicted / actual positives with its 95 % interval; infinite without positives, NaN without rows."""
    label = np.asarray(y, dtype=np.float64)
    if len(p) == 0:
        return float("nan"), float("nan"), float("nan")
    low, high = wilson(label.sum(), len(label))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, least, most = p.mean() / np.array([label.mean(), float(high), float(low)])
    return float(ratio), float(least), float(most)


def reliability(y: npt.ArrayLike, p: FloatArray, bins: int = 10) -> pd.DataFrame:
    """Return the reliability table: bin, predicted and actual rate, 95 % interval low..high of the latter, count."""
    place = _bins(p, bins)
    count = np.bincount(place, minlength=bins)
    predicted = np.bincount(place, p, bins)
    positives = np.bincount(place, np.asarray(y, dtype=np.float64), bins)
    used = count > 0
    low, high = wilson(positives[used], count[used])
    return pd.DataFrame(
        {
            "bin": np.arange(int(used.sum())),
            "predicted": predicted[used] / count[used],
            "actual": positives[used] / count[used],
            "low": low,
            "high": high,
            "count": count[used],
        }
    )


def _midranks(p: FloatArray) -> FloatArray:
    """Return the rank (n,) of every number, from 1; equal ones share the mean of theirs."""
    _, place, count = np.unique(p, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - 0.5 * (count - 1))[place])


def _bins(p: FloatArray, bins: int) -> IntArray:
    """Return the bin 0..bins-1 of every prediction, by the order statistics at equal steps."""
    if len(p) == 0:
        return np.zeros(0, dtype=np.int64)
    edges = np.sort(p)[np.arange(1, bins) * len(p) // bins]
    return np.searchsorted(edges, p, side="right").astype(np.int64)


def _gap(place: IntArray, p: FloatArray, y: FloatArray, bins: int) -> float:
    return float(np.abs(np.bincount(place, p - y, bins)).sum() / len(p))
