"""Search the settings of every baseline, as many trials for each, on the tuning days; check them on other days.

Each policy and budget is a cell of its own: its result is a file under R/tuning, written whole when the cell is done,
so a killed tune goes on with the cells that are missing. R/tuned.json and R/trials.csv are put together from them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from bidpilot.agents.registry import find_policy, named
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically
from bidpilot.experiments.config import budget_label, load_settings
from bidpilot.experiments.run import versions
from bidpilot.experiments.search import need_optuna
from bidpilot.experiments.streams import stream
from bidpilot.experiments.sweep.cluster import on_ray
from bidpilot.experiments.tune_cell import Cell, tune_cell
from bidpilot.experiments.tuned import FILE, FORMAT, days_hash, made_for
from bidpilot.experiments.workers import in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bidpilot.experiments.config import Settings
    from bidpilot.experiments.prepare import Arena
    from bidpilot.experiments.run import Run

TRIALS = 40
FOLDER = "tuning"


@dataclass(frozen=True)
class Task:
    """What to tune and how.

    jobs: processes at once; resume: keep the cells that are done; ray: address of a cluster to work on instead.
    """

    policies: tuple[str, ...]
    budgets: tuple[float, ...]
    trials: int = TRIALS
    jobs: int = 1
    resume: bool = False
    ray: str | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        policies: Sequence[str] | None,
        budgets: Sequence[str] | None,
        **how: Any,  # noqa: ANN401 - trials, jobs, resume
    ) -> Task:
        """Check what was asked for. Nothing named: all of the run's policies that have a space, and its budgets.

        Raises InputError for names that are unknown or have nothing to tune, for other budgets and numbers below 1.
        """
        need_optuna()
        task = cls(_policies(settings, policies), _budgets(settings, budgets), **how)
        if task.trials < 1 or task.jobs < 1:
            raise InputError(f"--trials and --jobs are at least 1; got {task.trials} and {task.jobs}")
        return task


def tune_run(run: Run, arena: Arena, task: Task, say: Callable[[str], None] = print) -> pd.DataFrame:
    """Tune what the task names; return one row per cell, see gains. Writes R/tuned.json and R/trials.csv.

    Never looks at the days of the comparison. The numbers depend neither on jobs nor on kills. Raises InputError for
    cells to go on with that were made otherwise, and where a process fails for good.
    """
    made = made_for(run, arena) | {
        "validation_hash": days_hash(arena.validate),
        "seed": run.settings.seed,
        "trials": task.trials,
        "versions": versions() | {"optuna": need_optuna().__version__},
    }
    seed = int(stream(run.settings.seed, "search").integers(2**31))
    cells = [
        Cell(name, share, path, find_policy(name), arena.past, arena.tune, arena.validate, task.trials, seed, made)
        for name in task.policies
        for share in task.budgets
        for path in [run.folder / FOLDER / f"{name}@{share!r}.json"]
    ]
    _clear(run, cells, made, task, say)
    missing = [cell for cell in cells if not cell.path.exists()]
    for _ in tqdm(_done(missing, task), desc="tune", unit="policy x budget", total=len(missing), disable=None):
        _assemble(run, made)
    return gains(_assemble(run, made))


def gains(chosen: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per cell: its score on tuning days, and the gain over the default there and on validation days."""
    rows = []
    for told in chosen:
        row = {name: told[name] for name in ("policy", "budget", "trials", "default")}
        row["settings"] = {name: told["config"][name] for name in find_policy(told["policy"]).space()}
        for days in ("tuning", "validation"):
            row |= {f"{days}_{name}": value for name, value in told[f"{days}_days"].items()}
        rows.append(row)
    return pd.DataFrame(rows)


def _done(cells: list[Cell], task: Task) -> Iterator[Cell]:
    """Tune the cells; yield each when its file is there."""
    if task.ray is not None:
        yield from on_ray(cells, tune_cell, task.ray, "go on with --resume")
    elif task.jobs > 1:
        yield from in_processes(cells, tune_cell, task.jobs)
    else:
        for cell in cells:
            write_atomically(cell.path, tune_cell(cell))
            yield cell


def _clear(run: Run, cells: list[Cell], made: dict[str, Any], task: Task, say: Callable[[str], None]) -> None:
    """Delete what is to be made anew, and cells made otherwise: one file holds no mixture."""
    asked = {cell.path for cell in cells}
    other = [path for path in _paths(run) if _read(path)["made"] != made]
    if task.resume and asked & set(other):
        raise InputError(f"{other[0]}: made with other --trials, days or versions; tune without --resume")
    for path in other:
        path.unlink()
    if set(other) - asked:
        say(f"tuned with other --trials, days or versions, so dropped: {len(set(other) - asked)} policies x budgets")
    for path in asked if not task.resume else ():
        path.unlink(missing_ok=True)


def _assemble(run: Run, made: dict[str, Any]) -> list[dict[str, Any]]:
    """Write tuned.json and trials.csv from the cells that are done, in a fixed order; return what was chosen."""
    cells = [told for told in map(_read, _paths(run)) if told["made"] == made]
    cells.sort(key=lambda told: (told["chosen"]["policy"], -told["chosen"]["budget"]))
    tried = [
        {"policy": told["chosen"]["policy"], "budget": told["chosen"]["budget"], "trial": i, "score": trial["score"]}
        | {"settings": json.dumps(trial["settings"])}
        for told in cells
        for i, trial in enumerate(told["tried"])
    ]
    chosen = [told["chosen"] for told in cells]
    run.write_table("trials.csv", pd.DataFrame(tried))
    write_atomically(run.folder / FILE, json.dumps({"format": FORMAT, **made, "chosen": chosen}, indent=1) + "\n")
    return chosen


def _paths(run: Run) -> list[Path]:
    return sorted((run.folder / FOLDER).glob("[!.]*.json"))


def _read(path: Path) -> dict[str, Any]:
    """Return a cell's file. Raises InputError where it is not one."""
    try:
        told = json.loads(path.read_text())
        return {name: told[name] for name in ("made", "chosen", "tried")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a result of bidpilot tune ({error}); delete it") from error


def _policies(settings: Settings, names: Sequence[str] | None) -> tuple[str, ...]:
    wanted = named(names or settings.baselines, settings.auction)
    if len(set(wanted)) < len(wanted):
        raise InputError(f"name no policy twice; got {', '.join(wanted)}")
    tunable = tuple(name for name in wanted if find_policy(name).space())
    nothing = [name for name in names or () if name not in tunable]
    if nothing or not tunable:
        raise InputError(f"nothing to tune: {', '.join(nothing or wanted)} (an empty space)")
    return tunable


def _budgets(settings: Settings, texts: Sequence[str] | None) -> tuple[float, ...]:
    if not texts:
        return settings.budgets
    wanted = load_settings(None, {"budgets": list(texts)}).budgets
    strange = [budget_label(share) for share in wanted if share not in settings.budgets]
    if strange:
        known = ", ".join(map(budget_label, settings.budgets))
        raise InputError(f"budget {strange[0]} is none of this run's: {known}")
    return wanted


if __name__ == "__main__":
    from bidpilot.experiments.cli import main

    main("tune")
