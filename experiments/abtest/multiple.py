"""Several claims at once: p-values adjusted so that each may be held against the level itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return p-values (n,) adjusted by Holm: below alpha, the chance of any false claim is at most alpha.

    For a few claims, whatever their dependence (Holm 1979). NaN stands for a claim that was not tested: it stays
    NaN and does not count. Raises InputError for values outside [0, 1].
    """
    values, kept = _read(p)
    order = np.argsort(values[kept], kind="stable")
    tested = values[kept][order]
    raised = np.maximum.accumulate(tested * np.arange(len(tested), 0, -1))
    return _back(values, kept, order, raised)


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Return p-values (n,) adjusted by Benjamini and Hochberg: of those below alpha, at most a share alpha is false.

    For many claims, independent or positively dependent (Benjamini and Hochberg 1995). NaN as in `holm`. Raises
    InputError for values outside [0, 1].
    """
    values, kept = _read(p)
    order = np.argsort(values[kept], kind="stable")
    tested = values[kept][order]
    raised = tested * len(tested) / np.arange(1, len(tested) + 1)
    return _back(values, kept, order, np.minimum.accumulate(raised[::-1])[::-1])


def _read(p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the p-values and which of them are numbers."""
    values = np.array(p, dtype=float)
    kept = ~np.isnan(values)
    if values.ndim != 1 or not ((values[kept] >= 0) & (values[kept] <= 1)).all():
        raise InputError(f"expected a list of p-values in [0, 1], got {values.tolist()}; check what was tested")
    return values, kept


def _back(
    values: NDArray[np.float64], kept: NDArray[np.bool_], order: NDArray[np.intp], raised: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the raised p-values in the order of the given ones, none above 1."""
    adjusted = values.copy()
    adjusted[np.flatnonzero(kept)[order]] = np.minimum(raised, 1.0)
    return adjusted
