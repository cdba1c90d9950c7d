"""How noisy a metric is: from a rate, a standard deviation, or the data of an earlier time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.cuped import cuped
from bidpilot.experiments.abtest.design import Mean, Metric, Rate
from bidpilot.experiments.abtest.ratio import ratio
from bidpilot.experiments.abtest.table import read_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def noise_of(
    rate: float | None, sd: float | None, pilot: Path | None, metric: str | None, covariates: Sequence[str], rho: float
) -> tuple[Metric, float]:
    """Return the metric of a plan and its correlation with what CUPED adjusts by.

    A pilot's metric is taken for a mean or ratio of the same spread in all arms. Raises InputError unless exactly one
    of rate, sd and pilot is given.
    """
    if sum(given is not None for given in (rate, sd, pilot)) != 1:
        raise InputError("give one of --rate, --sd and --pilot: how noisy the metric is")
    if rate is not None:
        return Rate(rate), rho
    if sd is not None:
        return Mean(sd), rho
    if pilot is None or metric is None:
        raise InputError("--pilot needs --metric, the column that will be compared")
    above, below, known = read_numbers(pilot, metric, covariates)
    if not covariates:
        return Mean.of_ratio(above, below), rho
    return Mean.of_ratio(above, below), math.sqrt(max(1.0 - cuped(ratio(above, below).influence, known).factor, 0.0))
