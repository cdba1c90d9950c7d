"""The grid on which amounts lie, so that their float64 sums are exact in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray


def on_grid(worth: FloatArray, total: float | None = None) -> FloatArray:
    """Round worths (n,) to a binary grid fine enough for 1e-9 and coarse enough that all sums are exact.

    With total V the grid step is 2**(ceil(log2 V) - 51), so no partial sum needs more than 53 bits. NaN becomes 0;
    where the total is infinite nothing is rounded. total: V, where these are but a part of what is summed.
    """
    known = np.where(np.isnan(worth), 0.0, worth)
    total = total_of(known) if total is None else total
    if not 0.0 < total < np.inf:
        return known
    step = 2.0 ** max(np.ceil(np.log2(total)) - 51, -1074)
    return np.asarray(np.rint(known / step) * step)


def total_of(worth: FloatArray) -> float:
    """Return V, the sum of the magnitudes of worths (n,) that are numbers."""
    with np.errstate(over="ignore"):
        return float(np.nansum(np.abs(worth)))
