"""The command that plays a grid: policies x scenarios x budgets x seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bidpilot.experiments.commands.options import ConfigOption

RayOption = Annotated[
    str | None,
    typer.Option("--ray", help="Address of a Ray cluster (10.0.0.5:6379, or auto) to work on instead; same numbers."),
]


def sweep(
    config: ConfigOption = None,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", help="Name, dotted module, or bundle (.zip); repeatable; or all [the usual ones]."),
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option("--scenario", help="Environment to play; repeatable; or all [bidpilot/Pacing-v0]."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", help="Share of the expected cost of all, as 1/8; repeatable [1/2, 1/8, 1/32]."),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Seeds, 0 and up [3].")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="Days in each cell [20].")] = None,
    opportunities: Annotated[
        float | None, typer.Option("--opportunities", help="Mean opportunities a day [the scenario's].")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Policy that differences are to [the first].")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes at once; the numbers are the same.")] = 1,
    ray: RayOption = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds for a cell, then once more.")] = 1800.0,
    out: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path("runs/sweep"),
    again: Annotated[bool, typer.Option("--again", help="Play what is done, too.")] = False,
) -> None:
    """Play policies in scenarios at budgets over seeds, all on the same days; what is done is kept."""
    from bidpilot.experiments.sweep.grid import load_sweep
    from bidpilot.experiments.sweep.run import How, run_sweep

    given: dict[str, Any] = {"policies": policy, "scenarios": scenario, "budgets": budget, "seeds": seeds}
    settings = load_sweep(config, given | {"days": days, "opportunities": opportunities})
    run_sweep(settings, out, How(jobs, ray, timeout, again), against, typer.echo)
    for line in (out / "sweep.txt").read_text().splitlines():
        typer.echo(line)
    typer.echo(f"tables: {out / 'sweep.csv'} (a row per day), {out / 'summary.csv'}")


COMMANDS = (sweep,)
