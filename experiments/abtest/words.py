"""Results of a test in plain sentences, and as a Markdown table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.experiments.report_format import decimals, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bidpilot.experiments.abtest.design import Certainty
    from bidpilot.experiments.abtest.lift import Lift
    from bidpilot.experiments.abtest.srm import SampleRatio
    from bidpilot.experiments.abtest.switchback import Effect

LEAST = 0.0001
"""A p-value below this is not written out."""


def split_words(counts: Mapping[str, int], found: SampleRatio) -> str:
    """Say whether the arms are as large as planned."""
    sizes = ", ".join(f"{name} {count:,} (planned {found.expected[name]:,.0f})" for name, count in counts.items())
    test = f"chi-square {found.statistic:.2f}, {p_words(found.p_value)}"
    if found.broken:
        return f"THE SPLIT IS BROKEN: {sizes}; {test}. Find out why before you believe anything below."
    return f"The split is as planned: {sizes}; {test}."


def lift_words(row: Lift, control: str, alpha: float = 0.05) -> str:
    """Say what one arm did to one metric."""
    known = bool(np.isfinite(row.lift.interval(alpha)).all()) and row.control > 0.0
    low, high = row.lift.interval(alpha) if known else row.difference.interval(alpha)
    show = percent if known else signed
    values = f"{number(row.value)} against {number(row.control)} of {control}"
    between = f"{100.0 * (1.0 - alpha):g} % interval {show(low)} to {show(high)}"
    if not np.isfinite(row.p_holm):
        return f"{row.metric}: nothing can be said of {row.arm}; {values}."
    if row.p_holm < alpha:
        verb = "raises" if row.difference.value > 0.0 else "lowers"
        by = show(row.lift.value if known else row.difference.value).lstrip("+\N{MINUS SIGN}")
        return f"{row.metric}: {row.arm} {verb} it by {by} ({between}); {values}; {p_words(row.p_holm)}."
    return f"{row.metric}: no effect of {row.arm} is shown ({between}); {values}; {p_words(row.p_holm)}."


def gain_words(told: Sequence[Lift]) -> list[str]:
    """Say what CUPED brought for each metric; nothing where it was not used."""
    gains = {row.metric: 1.0 / row.factor - 1.0 for row in told if row.adjusted and row.factor > 0.0}
    return [f"CUPED is worth {100.0 * gain:.1f} % more units for {metric}." for metric, gain in gains.items()]


def size_words(units: int, effect: float, certainty: Certainty) -> str:
    """Say what a plan needs and finds."""
    total = f"{units:,} units in each of {certainty.arms} arms ({units * certainty.arms:,} in all)"
    sure = f"with {100.0 * certainty.power:g} % power at alpha = {certainty.alpha:g}"
    notes = [f"Holm's first step for {certainty.arms - 1} comparisons"] if certainty.arms > 2 else []  # noqa: PLR2004
    notes += [f"CUPED at a correlation of {certainty.rho:.3f}"] if certainty.rho else []
    return f"{total} find a difference of {number(effect)} {sure}{''.join(f'; {note}' for note in notes)}."


def switchback_words(metric: str, found: Effect, outside: int, alpha: float) -> str:
    """Say what a switchback showed."""
    claim = "treated and control differ" if found.p_value <= alpha else "no difference is shown"
    between = (
        f"{100.0 * (1.0 - alpha):g} % interval {signed(found.low)} to {signed(found.high)}, {p_words(found.p_value)}"
    )
    rest = f"; {outside:,} rows outside the plan were left out" if outside else ""
    return (
        f"{metric}: {claim}. treated − control = {signed(found.value)} ({between}, by redrawing the schedule), "
        f"from {found.pairs} pairs of periods{rest}."
    )


def markdown(found: Sequence[Lift], alpha: float = 0.05) -> str:
    """Return lifts as a Markdown table, intervals behind the figures."""
    heads = ("metric", "arm", "CUPED", "value", "control", "difference", "lift", "p (Holm)", "variance left")
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|" + "---:|" * (len(heads) - 3)]
    for row in found:
        places = decimals([row.difference.value, *row.difference.interval(alpha)])
        low, high = (number(bound, places) for bound in row.difference.interval(alpha))
        apart = f"{number(row.difference.value, places)} [{low}, {high}]"
        low, high = (percent(bound) for bound in row.lift.interval(alpha))
        by = f"{percent(row.lift.value)} [{low}, {high}]"
        cells = [
            row.metric,
            row.arm,
            "yes" if row.adjusted else "no",
            number(row.value),
            number(row.control),
            apart,
            by,
        ]
        lines.append(f"| {' | '.join([*cells, _p(row.p_holm), f'{row.factor:.4f}'])} |")
    return "\n".join(lines)


def percent(share: float) -> str:
    """Write a share as a signed percentage, to a tenth of a per cent."""
    return f"{signed(100.0 * share, 1)} %" if np.isfinite(share) else "–"


def p_words(p: float) -> str:
    """Write a p-value in a sentence."""
    return f"p {_p(p)}" if p < LEAST else f"p = {_p(p)}"


def _p(p: float) -> str:
    return f"< {LEAST}" if p < LEAST else f"{p:.4f}" if np.isfinite(p) else "–"


def signed(value: float, places: int | None = None) -> str:
    """Write a number with its sign."""
    text = number(value, places)
    return f"+{text}" if value > 0.0 else text
