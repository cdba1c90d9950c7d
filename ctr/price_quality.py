"""How good a price law is on held-out opportunities, some of whose prices are not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from bidpilot.ctr.metrics import mean_interval, wilson
from bidpilot.ctr.price_models.base import ABOVE, AT_MOST, EXACT, Observed, PriceLaws

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

BINS, DRAWS = 10, 200


class Uniformity(NamedTuple):
    """A PIT histogram (BINS,), whose shares a true law makes equal, and how uneven it is.

    gap: the largest distance of a share from 1 / BINS. bound: its 95 % quantile under the law itself.
    """

    shares: FloatArray
    gap: float
    bound: float

    @property
    def passes(self) -> bool:
        """Tell whether the law cannot be told from the true one."""
        return self.gap <= self.bound


def likelihood(laws: PriceLaws, seen: Observed, other: PriceLaws) -> dict[str, float]:
    """Return minus the mean log likelihood (anlp, ANLP) with its interval, and by how much it is below another law's.

    Keys: anlp, anlp_low, anlp_high, gain, gain_low, gain_high; nats a row, densities in log price, 95 %.
    """
    mine, theirs = laws.log_likelihood(seen), other.log_likelihood(seen)
    found = dict(zip(("anlp", "anlp_low", "anlp_high"), mean_interval(-mine), strict=True))
    return found | dict(zip(("gain", "gain_low", "gain_high"), mean_interval(mine - theirs), strict=True))


def pit(laws: PriceLaws, seen: Observed, rng: np.random.Generator) -> Uniformity:
    """Return the histogram of P(price <= observed), a censored row spread over what it may be (Henderson et al. 2000).

    The bound draws prices from the law itself and censors them at the same bids.
    """
    low, high = _spans(laws.cdf(seen.amount), seen.kind == EXACT, seen.kind == ABOVE)
    shares = _histogram(low, high)
    shown = ((seen.kind == EXACT) & (seen.bid > 0) & (seen.amount > seen.bid)).any()  # prices of lost rows, too
    limit = np.where((seen.bid > 0) & ~shown, laws.cdf(np.maximum(seen.bid, 1)), 1.0)  # else nothing is censored
    told = not (seen.kind == AT_MOST).any()  # first price shows no price at all
    gaps = []
    for _ in range(DRAWS):
        u = rng.random(len(seen.amount))
        won = u <= limit
        exact = won & told
        gaps.append(_gap(_histogram(*_spans(np.where(exact, u, limit), exact, ~won))))
    return Uniformity(shares, _gap(shares), float(np.quantile(gaps, 0.95)))


def win_rates(laws: PriceLaws, seen: Observed, bins: int = BINS) -> pd.DataFrame:
    """Return predicted and actual win rates by decile of the bid.

    Columns: bid (mean, micro-currency), predicted, actual, its 95 % interval low..high, count.
    """
    order = np.argsort(seen.bid, kind="stable")
    predicted, won = laws.cdf(seen.bid)[order], (seen.kind != ABOVE)[order]
    rows = []
    for part in np.array_split(np.arange(len(order)), bins):
        low, high = wilson(won[part].sum(), len(part))
        rows.append((seen.bid[order][part].mean(), predicted[part].mean(), won[part].mean(), low, high, len(part)))
    return pd.DataFrame(rows, columns=["bid", "predicted", "actual", "low", "high", "count"])


def _spans(at: FloatArray, exact: np.ndarray, above: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Return the range (n,) of probability in which each price lies: a point, above it, or up to it."""
    return np.where(exact | above, at, 0.0), np.where(above, 1.0, at)


def _histogram(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the share of each of BINS bins, ranges spread evenly."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    width = np.maximum(high - low, 1e-12)
    covered = np.clip((edges[1:, None] - low) / width, 0.0, 1.0) - np.clip((edges[:-1, None] - low) / width, 0.0, 1.0)
    covered[-1] += low >= 1.0
    return np.asarray(covered.mean(axis=1))


def _gap(shares: FloatArray) -> float:
    return float(np.abs(shares - 1.0 / BINS).max())
