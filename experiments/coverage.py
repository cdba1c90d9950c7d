"""How much of a replay the log itself tells, and what may be said of the rest.

What a policy wins or loses is known where the log knows the price, and where the policy bids no more than the buyer
whose bid was lost. Beyond that the price is drawn from the price law above the logged bid, in several worlds: the mean
over worlds is the estimate, and their spread is what not knowing these prices leaves open, if the law is right. It is
the spread of one more draw around the mean of W (a prediction interval, Student's t): the truth is such a draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

HIGH = 0.8
"""Share of spend and wins on known prices below which a warning goes with the figures."""

LEAST = 0.5
"""Share below which no figure is put forward."""

Z = 1.959963984540054


class Coverage(NamedTuple):
    """Shares known from the log: of what a policy spent, of its wins, and of the auctions it took part in.

    NaN where there was no spend, win or bid.
    """

    spend: float
    wins: float
    auctions: float

    @property
    def lowest(self) -> float:
        """The lower of the shares of spend and wins; 1 where nothing was won, since nothing is then imputed."""
        shares = [share for share in (self.spend, self.wins) if not np.isnan(share)]
        return min(shares, default=1.0)

    def tells(self, least: float = LEAST) -> bool:
        """Tell whether a figure may be put forward."""
        return self.lowest >= least

    def words(self, least: float = LEAST) -> str:
        """Say what the shares mean for the figures; empty where all is known."""
        known = f"{_percent(self.lowest)} of what it won is on auctions whose price the log knows"
        if not self.tells(least):
            return f"no figure: only {known}, below {_percent(least)}; the rest would be the price model's word"
        if self.lowest < HIGH:
            return f"take with care: {known}; the rest is drawn from the price model"
        return "" if self.lowest == 1.0 else f"{known}; the rest is drawn from the price model"


def imputed(draws: FloatArray) -> tuple[float, float, float]:
    """Return the mean over worlds (W,) and the 95 % interval of one more world; the value alone for a single one."""
    mean = float(np.mean(draws))
    if len(draws) == 1 or not np.isfinite(mean):
        return mean, mean, mean
    half = _student(len(draws) - 1) * float(np.std(draws, ddof=1)) * np.sqrt(1.0 + 1.0 / len(draws))
    return mean, mean - half, mean + half


def _student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t (Cornish-Fisher: Abramowitz & Stegun 26.7.5), good from 4 on."""
    powers = [Z**k for k in range(10)]
    terms = (
        (powers[3] + powers[1]) / 4.0,
        (5.0 * powers[5] + 16.0 * powers[3] + 3.0 * powers[1]) / 96.0,
        (3.0 * powers[7] + 19.0 * powers[5] + 17.0 * powers[3] - 15.0 * powers[1]) / 384.0,
        (79.0 * powers[9] + 776.0 * powers[7] + 1482.0 * powers[5] - 1920.0 * powers[3] - 945.0 * powers[1]) / 92160.0,
    )
    return float(Z + sum(term / freedom**order for order, term in enumerate(terms, start=1)))


def _percent(share: float) -> str:
    return f"{share:.0%}" if share < 0.995 or share == 1.0 else f"{share:.2%}"  # noqa: PLR2004 - 100 % means all
