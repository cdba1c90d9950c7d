"""The commands that learn a market from a log: fit, fidelity, formats."""

from __future__ import annotations

from typing import Annotated

import typer

from bidpilot.experiments.commands.options import (
    AgainOption,
    ConfigOption,
    FormatOption,
    LogOption,
    MappingOption,
    MaxBadOption,
    ModelsOption,
    OutOption,
    ResumeOption,
    RunOption,
    SeedOption,
    SetOption,
    StrictOption,
    ThreadsOption,
    create_run,
    open_run,
    reading,
    stages_of,
)


def fit(
    log: LogOption = None,
    format_name: FormatOption = None,
    mapping: MappingOption = None,
    out: OutOption = None,
    max_bad: MaxBadOption = None,
    strict: StrictOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    models: ModelsOption = None,
    resume: ResumeOption = False,
    tensorboard: Annotated[bool | None, typer.Option("--tensorboard", help="Write curves of fits.")] = None,
    again: AgainOption = False,
) -> None:
    """Read a log and fit who clicks and converts and what impressions cost."""
    given = {"log": log} | reading(format_name, mapping, max_bad, strict=strict)
    given |= {"seed": seed, "threads": threads, "model.kind": models, "tensorboard": tensorboard}
    stages = stages_of(create_run(given, config, sets, out))
    stages.fit(again=again, resume=resume)
    stages.say(f"run: {stages.run.folder}")


def fidelity(run: RunOption) -> None:
    """Compare the market simulated from a run's log with the held-out rows."""
    stages_of(open_run(run)).fidelity()


def formats() -> None:
    """List the known log layouts and where an example mapping is."""
    from bidpilot.ctr.mapping import SHIPPED, known_mappings

    for name in sorted(known_mappings()):
        typer.echo(name)
    typer.echo(f"example mapping for your own columns: {SHIPPED / 'example.yaml'}")


COMMANDS = (
    fit,
    fidelity,
    formats,
)
