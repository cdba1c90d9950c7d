"""What a finished test says: sentences first, the table below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.experiments.abtest.estimate import check_share
from bidpilot.experiments.abtest.lift import Lift, lifts, unbalanced
from bidpilot.experiments.abtest.srm import SampleRatio, sample_ratio
from bidpilot.experiments.abtest.words import gain_words, lift_words, markdown, split_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bidpilot.experiments.abtest.table import Experiment


@dataclass(frozen=True, slots=True)
class Result:
    """A test as it was read. split: whether the arms are as large as planned. text: for people."""

    split: SampleRatio
    lifts: tuple[Lift, ...]
    text: str


def read_result(
    experiment: Experiment, control: str, shares: Mapping[str, float] | None = None, alpha: float = 0.05
) -> Result:
    """Check the split, measure the lifts and write them down; with covariates the sentences are those of CUPED.

    Raises InputError as lift.lifts and srm.sample_ratio do.
    """
    check_share("alpha", alpha)
    found = lifts(experiment, control)
    split = sample_ratio(experiment.counts(), shares)
    told = [row for row in found if row.adjusted == bool(experiment.covariates)]
    lines = [split_words(experiment.counts(), split)]
    lines += [
        f"WARNING: {name} was not the same in {arm} and {control}: was it known before the test?"
        for name, arm in unbalanced(experiment, control)
    ]
    lines += [lift_words(row, control, alpha) for row in told]
    lines += gain_words(told)
    lines += ["", markdown(found, alpha), ""]
    lines += [f"Intervals: each alone at {100.0 * (1.0 - alpha):g} %. p: adjusted by Holm for {len(told)} claims."]
    return Result(split, tuple(found), "\n".join(lines))
