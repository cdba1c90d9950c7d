"""The commands for logs of any size: replay, sort."""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path
from typing import Annotated

import typer

from bidpilot.experiments.commands.options import (
    BudgetOption,
    ConfigOption,
    FormatOption,
    LogOption,
    MappingOption,
    MaxBadOption,
    OutOption,
    SeedOption,
    SetOption,
    StrictOption,
    create_run,
    fail,
    open_run,
    reading,
    stages_of,
)


def replay(
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="Name, dotted module, or trained; repeatable.")
    ] = None,
    budget: BudgetOption = None,
    log: LogOption = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Models of this run; then --log may be another log.")
    ] = None,
    format_name: FormatOption = None,
    mapping: MappingOption = None,
    out: OutOption = None,
    max_bad: MaxBadOption = None,
    strict: StrictOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    seed: SeedOption = None,
    worlds: Annotated[int, typer.Option("--worlds", min=1, help="Draws of what the log does not tell.")] = 20,
    least: Annotated[
        float, typer.Option("--coverage", min=0.0, max=1.0, help="No figure where less is known from the log.")
    ] = 0.5,
) -> None:
    """Play policies on a log in the order of time, whatever its size, and say how much of the result the log tells.

    The held-out rows are played, after a fit where there was none; with --run and --log all rows of that log. Prices
    above a lost bid are drawn from the price law, with intervals over the draws.
    """
    from bidpilot.experiments.config import load_settings
    from bidpilot.experiments.replay_run import replay_run

    given = reading(format_name, mapping, max_bad, strict=strict) | {"seed": seed}
    if run is not None:
        if out or config or sets or any(value is not None for value in given.values()):
            fail("--run goes on with the settings of that run; give no others but --log, --policy and --budget")
        opened = open_run(run)
    else:
        opened = create_run(given | {"log": log}, config, sets, out)
    stages = stages_of(opened)
    stages.fit()
    if budget:
        shares = load_settings(None, {"budgets": budget}).budgets
        opened = changed(opened, settings=opened.settings.model_copy(update={"budgets": shares}))
    other = Path(log) if run is not None and log is not None else None
    replay_run(opened, stages.source, policy or (), log=other, least=least, worlds=worlds, say=stages.say)
    stages.say(f"table: {opened.folder / 'replay.csv'}")


def sort(
    log: Annotated[Path, typer.Argument(help="Parquet file.")],
    out: Annotated[Path, typer.Option("--out", help="The same rows in the order of time.")],
    column: Annotated[str, typer.Option("--by", help="Column of the time; ISO text or a number.")],
    memory: Annotated[float, typer.Option("--memory", min=0.1, help="GB to use; the rest goes to disk.")] = 1.0,
) -> None:
    """Sort a Parquet log by time, larger than memory too (needs bidpilot[duckdb])."""
    from bidpilot.experiments.sort import sort_parquet

    rows = sort_parquet(log, out, column, memory)
    typer.echo(f"{out}: {rows:,} rows in the order of {column}")


COMMANDS = (replay, sort)
