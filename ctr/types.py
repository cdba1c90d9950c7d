"""Array aliases, the unit of money, and the protocol that response models are read through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from bidpilot.ctr.log import AuctionLog

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

MICROS = 1_000_000
"""Micro-currency units in one unit of currency; money is int64 micro-currency per impression."""

EXACT = 2**52
"""Totals below this are exact in float64, which holds the prefix sums."""

UNWINNABLE = 2**40
"""A price (micro-currency) that no bid reaches: the mass above the highest price ever identified."""


def to_micros(currency: npt.ArrayLike) -> IntArray:
    """Convert currency to int64 micro-currency, rounding half to even."""
    return np.rint(np.asarray(currency, dtype=np.float64) * MICROS).astype(np.int64)


def whole_micros(currency: npt.ArrayLike) -> FloatArray:
    """Return the whole micro-currency units in amounts (floats, so that inf passes): what a limit allows.

    The last bits of the factor make 0.000009 nine units, although 0.000009 * 1e6 is below 9 in floats.
    """
    with np.errstate(over="ignore"):
        return np.asarray(np.floor(np.asarray(currency, dtype=np.float64) * (MICROS * (1.0 + 2.0**-51))))


@dataclass(frozen=True, slots=True)
class Response:
    """What a bidder believes about n impressions, if they were shown.

    pctr: (n,) probability of a click.
    pcvr: (n,) probability of a conversion given a click.
    value: (n,) expected value of a conversion, currency.
    """

    pctr: FloatArray
    pcvr: FloatArray
    value: FloatArray

    def rows(self, part: slice | IntArray) -> Response:
        """Return some rows."""
        return Response(self.pctr[part], self.pcvr[part], self.value[part])


class ResponseModel(Protocol):
    """Anything that predicts clicks, conversions and value from the features of a log."""

    def predict(self, log: AuctionLog) -> Response:
        """Predict the response of every row, in row order."""
