"""What each arm of a test did: its lift over the control in each metric, plain and with CUPED, p-values by Holm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.experiments.abtest.cuped import cuped
from bidpilot.experiments.abtest.estimate import check_share
from bidpilot.experiments.abtest.multiple import holm
from bidpilot.experiments.abtest.ratio import Ratio, difference, lift, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.abtest.estimate import Estimate
    from bidpilot.experiments.abtest.ratio import Relative
    from bidpilot.experiments.abtest.table import Experiment


@dataclass(frozen=True, slots=True)
class Lift:
    """One arm against the control in one metric.

    adjusted: by CUPED. value, control: of the two arms. difference: value - control; lift: value / control - 1. p_holm:
    of no difference, adjusted over all arms and metrics. factor: what CUPED left of the variance.
    """

    metric: str
    arm: str
    adjusted: bool
    value: float
    control: float
    difference: Estimate
    lift: Relative
    p_holm: float
    factor: float


def lifts(experiment: Experiment, control: str) -> list[Lift]:
    """Return the lift of each arm in each metric, plain ones first, then (with covariates) those with CUPED.

    Raises InputError when the control is not there, an arm has fewer than two units, or values are missing.
    """
    arms = experiment.others(control)
    found: list[Lift] = []
    for adjust in (False, True) if experiment.covariates else (False,):
        part = []
        for metric, (above, below) in experiment.metrics.items():
            values = {name: ratio(above, below, experiment.arm == name) for name in (control, *arms)}
            values, factor = _adjusted(experiment, values, metric) if adjust else (values, 1.0)
            part += [_lift(metric, name, values[name], values[control], factor, adjust=adjust) for name in arms]
        adjusted = holm([row.difference.p_value for row in part])
        found += [replace(row, p_holm=float(p)) for row, p in zip(part, adjusted, strict=True)]
    return found


def unbalanced(experiment: Experiment, control: str, alarm: float = 0.001) -> list[tuple[str, str]]:
    """Return (covariate, arm) where a covariate differs from the control's by more than chance (p < alarm).

    What was known before the test cannot differ: the split is broken, or the column was measured after its start.
    """
    ones, others = np.ones(len(experiment.arm)), experiment.others(control)
    apart = {
        (name, arm): difference(*(ratio(values, ones, experiment.arm == which) for which in (arm, control)))
        for name, values in experiment.covariates.items()
        for arm in others
    }
    return [names for names, found in apart.items() if found.p_value < alarm]


def lift_table(found: Sequence[Lift], alpha: float = 0.05) -> pd.DataFrame:
    """Return lifts as a table: a row for each, with both intervals at level 1 - alpha."""
    check_share("alpha", alpha)
    rows = []
    for row in found:
        names = {"metric": row.metric, "arm": row.arm, "cuped": row.adjusted, "value": row.value}
        bounds = (*row.difference.interval(alpha), row.lift.value, *row.lift.interval(alpha))
        heads = ("low", "high", "lift", "lift_low", "lift_high")
        rest = {"p": row.difference.p_value, "p_holm": row.p_holm, "variance_left": row.factor}
        measured = {"control": row.control, "difference": row.difference.value}
        rows.append(names | measured | dict(zip(heads, bounds, strict=True)) | rest)
    return pd.DataFrame(rows)


def _lift(metric: str, arm: str, treated: Ratio, control: Ratio, factor: float, *, adjust: bool) -> Lift:
    apart, times = difference(treated, control), lift(treated, control)
    return Lift(metric, arm, adjust, treated.value, control.value, apart, times, float("nan"), factor)


def _adjusted(experiment: Experiment, values: dict[str, Ratio], metric: str) -> tuple[dict[str, Ratio], float]:
    """Return the arms' values less what the covariates explain, and what is left of the variance.

    A ratio is adjusted through its linearised units, whose mean it is. The last term is what the mean of the covariates
    moves: it is the same for all arms and drops out of differences, not out of lifts.
    """
    if not all(np.isfinite(value.value) for value in values.values()):
        return values, 1.0
    units = _linearised(experiment, values, metric)
    fitted = cuped(units, np.stack(list(experiment.covariates.values()), axis=1), experiment.arm)
    left = units - fitted.shift
    means = {name: ratio(left, np.ones(len(left)), experiment.arm == name) for name in values}
    shared = fitted.shift / len(left)
    return {name: Ratio(mean.value, mean.influence + shared) for name, mean in means.items()}, fitted.factor


def _linearised(experiment: Experiment, values: dict[str, Ratio], metric: str) -> FloatArray:
    """Return for each unit (N,) a value whose mean in each arm is the arm's ratio; of a mean, the metric itself."""
    above, below = experiment.metrics[metric]
    units = np.empty(len(above))
    for name, value in values.items():
        inside = experiment.arm == name
        units[inside] = value.value + (above - value.value * below)[inside] / below[inside].mean()
    return units
