"""Where predictions are right and where not: calibration overall and by slices of the rows.

The slice to look at is the rows that a bid rule would win. Whoever bids by prediction wins where the prediction is too
high (the winner's curse), so a model calibrated overall can still overrate what it buys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from bidpilot.ctr import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray

DECILES = 10
SHARES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
"""Shares of the rows that the bid rules of by_winning win."""


class Slice(NamedTuple):
    """Some rows (n,) of a table, by the kind of slice and its name among them."""

    kind: str
    name: str
    rows: BoolArray


def by_label(kind: str, label: npt.ArrayLike) -> Iterator[Slice]:
    """Yield a slice for each different label of rows (n,), rising."""
    labels = np.asarray(label)
    yield from (Slice(kind, str(name), labels == name) for name in np.unique(labels))


def by_decile(p: FloatArray) -> Iterator[Slice]:
    """Yield the tenths of rows by prediction (n,), lowest first; equal predictions stay together."""
    edges = np.sort(p)[np.arange(1, DECILES) * len(p) // DECILES] if len(p) else np.zeros(DECILES - 1)
    yield from by_label("decile", np.searchsorted(edges, p, side="right") + 1)


def by_winning(price: IntArray, worth: FloatArray, shares: Iterable[float] = SHARES) -> Iterator[Slice]:
    """Yield the rows that bids in proportion to predicted worth win, for multipliers that win these shares of them.

    price: (n,) micro-currency, the lowest bid that wins. worth: (n,) currency. A bid of a x worth wins where
    price / worth <= a; a row of no worth is never won.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.where(worth > 0.0, price / worth, np.inf)
    for share in shares:
        limit = np.quantile(needed, share, method="inverted_cdf") if len(needed) else 0.0
        yield Slice("won", f"{share:.1%}".replace(".0%", "%"), (needed <= limit) & np.isfinite(needed))


def calibration_table(
    y: npt.ArrayLike, p: FloatArray, slices: Iterable[Slice], rng: np.random.Generator
) -> pd.DataFrame:
    """Return the calibration of predictions p (n,) of outcomes y (n,) in 0/1, overall and in each slice with rows.

    Columns: slice, name, count, predicted and actual (rates), low and high (95 % interval of the actual rate, Wilson),
    ratio (predicted / actual) with its 95 % interval ratio_low..ratio_high, ece, ece_floor and ece_bound (mean and 95 %
    bound of the ece of a perfect model on the same rows).
    """
    label = np.asarray(y, dtype=np.float64)
    every = Slice("overall", "all", np.ones(len(p), dtype=bool))
    rows = [_row(each, label[each.rows], p[each.rows], rng) for each in (every, *slices) if each.rows.any()]
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = [
    "slice",
    "name",
    "count",
    "predicted",
    "actual",
    "low",
    "high",
    "ratio",
    "ratio_low",
    "ratio_high",
    "ece",
    "ece_floor",
    "ece_bound",
]
"""Columns of calibration_table."""


def _row(each: Slice, y: FloatArray, p: FloatArray, rng: np.random.Generator) -> dict[str, object]:
    low, high = metrics.wilson(y.sum(), len(y))
    floor, bound = metrics.ece_noise(p, rng)
    found = (each.kind, each.name, len(y), float(p.mean()), float(y.mean()), float(low), float(high))
    values = (*found, *metrics.predicted_over_actual(y, p), metrics.ece(y, p), floor, bound)
    return dict(zip(COLUMNS, values, strict=True))
