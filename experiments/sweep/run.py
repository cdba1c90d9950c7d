"""`bidpilot sweep`: play the cells that are not done yet, here or on a cluster, and put all of them together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from tqdm import tqdm

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.experiments.sweep.cell import play_cell
from bidpilot.experiments.sweep.cluster import on_ray
from bidpilot.experiments.sweep.grid import cells_of
from bidpilot.experiments.sweep.table import rows_table, summary_table
from bidpilot.experiments.sweep.words import sentences
from bidpilot.experiments.workers import in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd

    from bidpilot.experiments.sweep.cell import Cell
    from bidpilot.experiments.sweep.grid import SweepConfig

AGAIN = "the same command goes on with what is missing"


@dataclass(frozen=True, slots=True)
class How:
    """How cells are played; none of it changes a number.

    jobs: processes at once. ray: address of a cluster instead. seconds: a cell that takes longer is tried once more.
    again: play what is done, too. Raises InputError for figures out of range.
    """

    jobs: int = 1
    ray: str | None = None
    seconds: float = 1800.0
    again: bool = False

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.jobs < 1 or not 0 < self.seconds < 1e6:  # noqa: PLR2004 - twelve days
            raise InputError(f"--jobs is at least 1 and --timeout above 0; got {self.jobs} and {self.seconds:g}")


def run_sweep(
    config: SweepConfig, folder: Path, how: How, against: str | None = None, say: Callable[[str], None] = print
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Play what is missing; write and return all rows (sweep.csv) and their summary (summary.csv).

    Each cell is a file under folder/cells, named by all that decides it: what is there is kept and never mixed up.
    against: the policy that differences are to; None: the first. Raises InputError for bad settings, and at the end
    naming cells that failed, after the tables of those that are done are written.
    """
    cells = cells_of(config, folder / "cells")
    policies = tuple(dict.fromkeys(cell.policy for cell in cells))
    if against is not None and against not in policies:
        raise InputError(f"--against {against!r} is none of the policies: {', '.join(policies)}")
    for cell in cells if how.again else ():
        cell.path.unlink(missing_ok=True)
    missing = [cell for cell in cells if _rows(cell) is None]
    if len(missing) < len(cells):
        say(f"{len(cells) - len(missing)} of {len(cells)} cells are done already")
    problem: InputError | None = None
    try:
        for _ in tqdm(_played(missing, how), desc="sweep", unit="cell", total=len(missing), disable=None):
            pass
    except InputError as error:
        problem = error
    done = [(cell, rows) for cell in cells if (rows := _rows(cell)) is not None]
    if not done:
        raise problem or InputError("no cell was played")
    tables = _write(folder, config, done, against or policies[0])
    if problem is not None:
        raise problem
    return tables


def _played(cells: list[Cell], how: How) -> Iterator[Cell]:
    """Play cells; yield each when its file is there."""
    if not cells:
        return iter(())
    if how.ray is not None:
        return on_ray(cells, play_cell, how.ray, AGAIN, how.seconds)
    return in_processes(cells, play_cell, min(how.jobs, len(cells)), AGAIN, how.seconds)


def _rows(cell: Cell) -> list[dict[str, Any]] | None:
    """Return a cell's rows; None where it is not done, or its file is not what the cell would write."""
    try:
        told = json.loads(cell.path.read_text())
        rows = list(told["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return rows if told["cell"] == cell.told and len(rows) == cell.days else None


def _write(
    folder: Path, config: SweepConfig, done: list[tuple[Cell, list[dict[str, Any]]]], against: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write the settings, what the cells were made with, both tables and what they show in words."""
    rows = rows_table(done)
    summary = summary_table(rows, against)
    made = {cell.policy: cell.made for cell, _ in done}
    write_atomically(folder / "sweep.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    write_atomically(folder / "made.json", json.dumps(made, indent=1) + "\n")
    write_atomically(folder / "sweep.csv", rows.to_csv(index=False))
    write_atomically(folder / "summary.csv", summary.to_csv(index=False))
    write_atomically(folder / "sweep.txt", "\n".join(sentences(summary, config)) + "\n")
    return rows, summary
