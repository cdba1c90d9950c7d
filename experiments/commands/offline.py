"""The commands that judge a policy from a log alone: ope."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bidpilot.experiments.commands.options import SeedOption

if TYPE_CHECKING:
    from rich.table import Table

    from bidpilot.experiments.ope.evaluation import Evaluation

FILE = "ope.csv"
LogFile = Annotated[
    Path,
    typer.Option(
        "--log",
        help="CSV, TSV or Parquet: action, reward, propensity; if any: position, day, feature_*, target_<action>.",
    ),
]
TargetFile = Annotated[
    Path | None,
    typer.Option("--target", help="Table of action, probability and, if any, position: where no target_<action> is."),
]


def ope(
    log: LogFile,
    target: TargetFile = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write ope.csv to.")] = None,
    replicates: Annotated[int, typer.Option("--replicates", min=100, help="Draws for the intervals.")] = 2_000,
    seed: SeedOption = None,
) -> None:
    """Estimate from a log with propensities what another policy would have earned, or say why nobody can.

    The log has a row per decision: action (any name), reward, and propensity, the probability with which the policy
    that acted took that action. What the other policy would do is given as probabilities of every action: in columns
    target_<action> on each row, or once for all rows (or by position) in --target. Rows of a day are drawn together.
    """
    import numpy as np

    from bidpilot.ctr.files import write_atomically
    from bidpilot.experiments.ope.evaluation import evaluate
    from bidpilot.experiments.ope.reading import read_bandit
    from bidpilot.experiments.stages import readable_console

    rows, probabilities = read_bandit(log, target)
    found = evaluate(rows, probabilities, np.random.default_rng(seed or 0), replicates)
    console = readable_console()
    console.print(_shown(found))
    for line in found.notes():
        console.print(line, soft_wrap=True, highlight=False)
    if out is not None:
        write_atomically(out / FILE, found.table().to_csv(index=False))


def _shown(found: Evaluation) -> Table:
    """Return the table of the terminal."""
    from math import isnan

    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title="reward per decision", box=SIMPLE_HEAD, title_justify="left")
    table.add_column("estimator", no_wrap=True)
    for label in ("value", "95 % interval", "tau or lambda"):
        table.add_column(label, justify="right", no_wrap=True)
    for row in found.table().to_dict("records"):
        value = "refused" if row["refused"] else f"{row['value']:.5g}"
        interval = "" if isnan(row["low"]) else f"{row['low']:.5g} … {row['high']:.5g}"
        table.add_row(row["estimator"], value, interval, "" if isnan(row["setting"]) else f"{row['setting']:.3g}")
    return table


COMMANDS = (ope,)
