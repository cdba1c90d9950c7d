"""How alike two orders are: rank correlations where ties share their ranks, for many bootstrap replicates at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray


def mid_ranks(values: FloatArray) -> FloatArray:
    """Return ranks (..., p) of values (..., p) in their last axis, 1 for the lowest; equal values share their mean."""
    above = _signs(values).sum(axis=-1)
    return np.asarray((values.shape[-1] + 1 + above) / 2.0)


def spearman(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return Spearman's rho (...) of values (..., p) each: the correlation of mid-ranks; NaN where all are equal."""
    a, b = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (mid_ranks(first), mid_ranks(second)))
    return _cosine(a, b, (-1,))


def kendall(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return Kendall's tau-b (...) of values (..., p) each, Biometrika 1945; NaN where all are equal."""
    return _cosine(_signs(first), _signs(second), (-2, -1))


def _signs(values: FloatArray) -> FloatArray:
    """Return (..., p, p): 1 where the first of a pair is the higher one, -1 where the lower, 0 for a tie."""
    return np.sign(values[..., :, None] - values[..., None, :])


def _cosine(first: FloatArray, second: FloatArray, axes: tuple[int, ...]) -> FloatArray:
    lengths = (first**2).sum(axis=axes) * (second**2).sum(axis=axes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((first * second).sum(axis=axes) / np.sqrt(lengths))
