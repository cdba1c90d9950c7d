"""What a running test shows so far, at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.abtest.sequential import best_tau, watch
from bidpilot.experiments.abtest.words import p_words, signed
from bidpilot.experiments.report_format import number

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray
    from bidpilot.experiments.abtest.table import Experiment


@dataclass(frozen=True, slots=True)
class Arms:
    """Two arms of a test with one metric: values (n,) in order of arrival, which are treated (n,), the arms' names."""

    values: FloatArray
    treated: BoolArray
    name: str
    control: str

    @classmethod
    def of(cls, experiment: Experiment, control: str, treated: str | None = None) -> Arms:
        """Return two of the arms. Raises InputError where they are not there, or several and none is named."""
        others = experiment.others(control)
        if treated is None and len(others) > 1:
            raise InputError(f"there are several arms beside {control!r}: {', '.join(others)}; name one with --treated")
        name = others[0] if treated is None else treated
        if name not in others:
            raise InputError(f"--treated must be one of {', '.join(others)}; it is {name!r}")
        kept = (experiment.arm == control) | (experiment.arm == name)
        (above, below), *_ = experiment.metrics.values()
        if not (below == 1.0).all():
            raise InputError("a running test is watched by a mean per unit; give one column as --metric")
        return cls(above[kept], experiment.arm[kept] == name, name, control)

    def tau(self, planned: int, first: int, alpha: float) -> float:
        """Return the best tau for a planned number of units per arm, from the units before the first look alone."""
        parts = [self.values[self.treated == which][:first] for which in (False, True)]
        if planned < 1 or min(len(part) for part in parts) < 2:  # noqa: PLR2004 - no spread in one
            raise InputError(f"expected --planned of 1 or more and at least 2 units of each arm; got {planned}")
        noise = sum(float(part.var(ddof=1)) for part in parts) / planned
        if noise == 0.0:
            raise InputError(f"the first {first} units of each arm are all alike; give --tau, or a larger --first")
        return best_tau(noise, alpha)


def watch_words(arms: Arms, tau: float, alpha: float, first: int) -> str:
    """Say what is known after all units so far."""
    looks = watch(arms.values, arms.treated, tau, alpha, first)
    count = f"{int(arms.treated.sum()):,} units of {arms.name}, {int((~arms.treated).sum()):,} of {arms.control}"
    if not len(looks.p):
        return f"Too early: {count}; the first look is at {first} units of each arm that are not all alike."
    low, high, p = float(looks.low[-1]), float(looks.high[-1]), float(looks.p[-1])
    between = f"always-valid {100.0 * (1.0 - alpha):g} % interval {signed(low)} to {signed(high)}, {p_words(p)}"
    measured = f"{count}: {arms.name} − {arms.control} = {signed(float(looks.difference[-1]))}; {between}"
    how = f"tau {number(tau)}; the interval and p hold at all looks together."
    if low > high:
        return f"The effect has changed over time (no value fits all looks): {measured}; {how}"
    if p <= alpha:
        since = int(looks.units[np.argmax(looks.p <= alpha)])
        return f"There is a difference, known since unit {since:,}. {measured}; {how}"
    return f"No difference is shown yet. {measured}; {how}"
