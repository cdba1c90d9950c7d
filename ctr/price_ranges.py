"""Quantiles of all prices of held-out days, those of lost auctions included: Kaplan-Meier beside what was simulated.

Kaplan & Meier 1958, intervals by Greenwood's variance on the log(-log) scale (Kalbfleisch & Prentice 1980). Within an
hour the estimate takes bids to be independent of prices; where buyers bid by predicted worth it is off as far as these
go together. Above the highest bid nothing is known, so quantiles beyond what is identified are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantiles of the price that are compared."""

Z95 = 1.959963984540054
MICRO = 1e-6


class Estimate(NamedTuple):
    """P(price <= grid) (K,) with its 95 % interval, at known prices grid (K,), rising, micro-currency."""

    grid: IntArray
    cdf: FloatArray
    low: FloatArray
    high: FloatArray


def product_limit(amount: IntArray, known: BoolArray) -> Estimate:
    """Estimate the law of n prices. amount: (n,) the price where known (n,), else the bid that lost (ties win)."""
    grid, deaths = np.unique(amount[known], return_counts=True)
    at_risk = len(amount) - np.searchsorted(np.sort(amount), grid)
    survival = np.cumprod(1.0 - deaths / at_risk, dtype=np.float64)
    left = np.maximum(at_risk - deaths, 1)  # 0 at a last price that is known: the interval there is a point
    deviation = np.sqrt(np.cumsum(deaths / (at_risk * left)))
    inside = np.clip(survival, 1e-12, 1.0 - 1e-12)
    factor = np.exp(Z95 * deviation / np.abs(np.log(inside)))
    return Estimate(grid, 1.0 - survival, 1.0 - inside ** (1.0 / factor), 1.0 - inside**factor)


def quantiles(found: Estimate, level: float) -> tuple[float, float, float]:
    """Return the price of a level and its interval, micro-currency; NaN where the log does not reach."""
    return _reached(found, found.cdf, level), _reached(found, found.high, level), _reached(found, found.low, level)


def price_table(
    amount: IntArray, known: BoolArray, cell: IntArray, names: list[str], drawn: FloatArray
) -> pd.DataFrame:
    """Return simulated and estimated quantiles of cells (hours, or all together).

    amount, known: (n,) as product_limit. cell: (n,) 0..len(names)-1. drawn: (R, L, C) of R simulated copies, currency.
    Columns: hour, level, simulated (median of copies) and its 95 % range simulated_low..simulated_high, logged and its
    95 % interval low..high (currency; NaN where not identified), ratio, within_5_percent, explained_by_noise (range and
    interval meet), identified (highest price told, currency), identified_share (P of the prices up to there).
    """
    rows = []
    for number, name in enumerate(names):
        part = cell == number
        if not known[part].any():
            continue
        found = product_limit(amount[part], known[part])
        top = {"identified": amount[part].max() * MICRO, "identified_share": found.cdf[-1]}
        for place, level in enumerate(LEVELS):
            low, middle, high = np.quantile(drawn[:, place, number], (0.025, 0.5, 0.975), method="inverted_cdf")
            logged = dict(zip(("logged", "low", "high"), (MICRO * q for q in quantiles(found, level)), strict=True))
            simulated = {"simulated": middle, "simulated_low": low, "simulated_high": high}
            rows.append({"hour": name, "level": level, **simulated, **logged, **top})
    table = pd.DataFrame(rows)
    table = table[table["logged"] > 0].reset_index(drop=True)
    ratio = table["simulated"] / table["logged"]
    meet = (table["simulated_low"] <= table["high"].fillna(np.inf)) & (table["low"] <= table["simulated_high"])
    return table.assign(ratio=ratio, within_5_percent=(ratio - 1.0).abs() <= 0.05, explained_by_noise=meet)  # noqa: PLR2004


def _reached(found: Estimate, cdf: FloatArray, level: float) -> float:
    """Return the lowest price at which a law (K,) reaches the level; NaN where none does."""
    at = int(np.searchsorted(np.maximum.accumulate(cdf), level - 1e-12))
    return float(found.grid[at]) if at < len(found.grid) else float("nan")
