"""What the commands share: options by name, opening runs, and how a mistake ends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bidpilot.experiments.config import Settings
    from bidpilot.experiments.run import Run
    from bidpilot.experiments.stages import Stages

LogOption = Annotated[str | None, typer.Option("--log", help="Auction log: CSV, TSV (.gz) or Parquet; or: synthetic.")]
FormatOption = Annotated[str | None, typer.Option("--format", help="Name of a known layout; recognised if left out.")]
MappingOption = Annotated[Path | None, typer.Option("--mapping", help="YAML that maps your columns; see the README.")]
MaxBadOption = Annotated[float | None, typer.Option("--max-bad", help="Share of rows that may break a rule [0.01].")]
StrictOption = Annotated[bool | None, typer.Option("--strict", help="No row may break a rule.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the run [runs/<log name>].")]
RunOption = Annotated[Path, typer.Option("--run", help="Folder of an earlier stage.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Any setting, as key=value (learner.steps=50000).")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of everything random [0].")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", help="Threads for torch [1].")]
BudgetOption = Annotated[
    list[str] | None, typer.Option("--budget", help="Share of the held-out cost, as 1/8; repeatable.")
]
ModelsOption = Annotated[
    str | None, typer.Option("--models", help="Response models to fit, with commas; or auto [auto], or all.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints of a fit that was killed.")]
AgainOption = Annotated[bool, typer.Option("--again", help="Do the stage even if it was done.")]
WorthOption = Annotated[float | None, typer.Option("--worth", help="Worth of a click or conversion, in currency.")]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Environment steps to train for [200000].")]
ScenarioOption = Annotated[str | None, typer.Option("--scenario", help="Environment of the learner.")]


def fail(message: str) -> None:
    """End with a user's mistake: one line on standard error and exit code 2."""
    typer.echo(f"bidpilot: {message}", err=True)
    sys.exit(2)


def reading(
    format_name: str | None, mapping: Path | None, max_bad: float | None, *, strict: bool | None
) -> dict[str, Any]:
    """Return the settings of how a log is read, by name, from a command's options."""
    return {"format": format_name, "mapping": mapping, "max_bad": max_bad, "strict": strict}


def create_run(given: dict[str, Any], config: Path | None, sets: list[str] | None, out: Path | None) -> Run:
    """Open a new run for the given settings."""
    from bidpilot.experiments.config import load_settings
    from bidpilot.experiments.run import Run

    settings = load_settings(config, given, tuple(sets or ()))
    if given.get("log") is None and config is None and not any(pair.startswith("log=") for pair in sets or ()):
        fail("give --log FILE, or --log synthetic for the exchange that bidpilot brings")
    return Run.create(out or Path("runs") / _name(settings), settings, config)


def open_run(folder: Path) -> Run:
    """Open the folder of an earlier stage."""
    from bidpilot.experiments.run import Run

    return Run.open(folder)


def stages_of(run: Run) -> Stages:
    """Return the stages of a run."""
    from bidpilot.experiments.stages import Stages

    return Stages(run)


def _name(settings: Settings) -> str:
    """Name a run after its log."""
    return Path(settings.log).name.partition(".")[0] or "run"
