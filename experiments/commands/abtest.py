"""Tests in the field: bidpilot abtest size, lift, watch, schedule, switchback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bidpilot.experiments.commands.options import SeedOption, fail

app = typer.Typer(
    help="Plan and read tests in the field: how many units, what lift, looks at any time, switchback.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FileArgument = Annotated[Path, typer.Argument(help="CSV, TSV or Parquet.")]
ArmOption = Annotated[str, typer.Option("--arm", help="Column that names the arm.")]
ControlOption = Annotated[str, typer.Option("--control", help="Name of the control arm.")]
MetricOption = Annotated[str, typer.Option("--metric", help="Column: a number for each row.")]
AlphaOption = Annotated[float, typer.Option("--alpha", help="Chance of a false claim that you accept.")]
PlanOption = Annotated[Path, typer.Option("--plan", help="The schedule's CSV.")]


@app.command()
def size(
    rate: Annotated[float | None, typer.Option("--rate", help="Share of units that respond in the control.")] = None,
    sd: Annotated[float | None, typer.Option("--sd", help="Standard deviation of the metric over units.")] = None,
    pilot: Annotated[Path | None, typer.Option("--pilot", help="Earlier data instead, a row for each unit.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="Of the pilot: column, or a/b.")] = None,
    covariate: Annotated[list[str] | None, typer.Option("--covariate", help="Of the pilot, for CUPED.")] = None,
    effect: Annotated[float | None, typer.Option("--effect", help="Difference to find, in the metric.")] = None,
    units: Annotated[int | None, typer.Option("--units", help="Or: units per arm; says what they can find.")] = None,
    arms: Annotated[int, typer.Option("--arms", help="Arms, the control among them.")] = 2,
    rho: Annotated[float, typer.Option("--rho", help="Correlation with what CUPED adjusts by.")] = 0.0,
    alpha: AlphaOption = 0.05,
    power: Annotated[float, typer.Option("--power", help="Chance to find the effect if it is there.")] = 0.8,
) -> None:
    """Say how many units an effect needs, or what effect a number of units can show."""
    from bidpilot.experiments.abtest.design import Certainty, smallest_effect, units_per_arm
    from bidpilot.experiments.abtest.pilot import noise_of
    from bidpilot.experiments.abtest.words import size_words

    if (effect is None) == (units is None):
        fail("give --effect, to learn how many units it needs, or --units, to learn what they can show")
    noise, rho = noise_of(rate, sd, pilot, metric, covariate or [], rho)
    certainty = Certainty(alpha, power, arms, rho)
    if units is None:
        units = units_per_arm(noise, effect or 0.0, certainty)
    else:
        effect = smallest_effect(noise, units, certainty)
    typer.echo(size_words(units, effect or 0.0, certainty))


@app.command()
def lift(
    file: FileArgument,
    arm: ArmOption,
    control: ControlOption,
    metric: Annotated[list[str], typer.Option("--metric", help="Column, or a/b for sum over sum; repeatable.")],
    covariate: Annotated[
        list[str] | None, typer.Option("--covariate", help="Column known before the test, for CUPED; repeatable.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="Column of who was randomised, if several rows are one unit.")
    ] = None,
    share: Annotated[
        list[str] | None, typer.Option("--share", help="Planned share of an arm, NAME=0.5; for all or none [equal].")
    ] = None,
    alpha: AlphaOption = 0.05,
    out: Annotated[Path | None, typer.Option("--out", help="Write the table as CSV, too.")] = None,
) -> None:
    """Say what each arm of a finished test did to each metric."""
    from bidpilot.ctr.files import write_atomically
    from bidpilot.experiments.abtest.lift import lift_table
    from bidpilot.experiments.abtest.result import read_result
    from bidpilot.experiments.abtest.table import read_experiment

    result = read_result(read_experiment(file, arm, metric, covariate or (), unit), control, _shares(share), alpha)
    typer.echo(result.text)
    if out is not None:
        write_atomically(out, lift_table(result.lifts, alpha).to_csv(index=False))


@app.command()
def watch(
    file: FileArgument,
    arm: ArmOption,
    control: ControlOption,
    metric: MetricOption,
    planned: Annotated[int | None, typer.Option("--planned", help="Units per arm at the planned end.")] = None,
    tau: Annotated[float | None, typer.Option("--tau", help="Or: size of effect to expect, in the metric.")] = None,
    treated: Annotated[str | None, typer.Option("--treated", help="Arm to compare, if there are several.")] = None,
    first: Annotated[int, typer.Option("--first", help="Units per arm before the first look.")] = 100,
    alpha: AlphaOption = 0.05,
) -> None:
    """Say what a running test shows so far; look as often as you like. Rows are units in order of arrival."""
    from bidpilot.experiments.abtest.live import Arms, watch_words
    from bidpilot.experiments.abtest.table import read_experiment

    if (planned is None) == (tau is None):
        fail("give --planned or --tau, once, before the first look; see bidpilot abtest watch --help")
    pair = Arms.of(read_experiment(file, arm, [metric]), control, treated)
    typer.echo(watch_words(pair, tau if tau is not None else pair.tau(planned or 0, first, alpha), alpha, first))


@app.command()
def schedule(
    start: Annotated[str, typer.Option("--start", help="First day, as 2026-01-31.")],
    days: Annotated[int, typer.Option("--days", help="Days, an even number.")] = 14,
    period: Annotated[float, typer.Option("--period", help="Hours of a period; divides 24.")] = 2.0,
    washout: Annotated[float, typer.Option("--washout", help="Hours of each period that are not counted.")] = 0.5,
    seed: SeedOption = None,
    out: Annotated[Path, typer.Option("--out", help="CSV of the plan.")] = Path("switchback.csv"),
) -> None:
    """Draw a switchback plan: which arm runs when, balanced over days and hours of the day."""
    import numpy as np

    from bidpilot.ctr.files import write_atomically
    from bidpilot.experiments.abtest.plan import plan_table
    from bidpilot.experiments.abtest.switchback import Switchback

    plan = Switchback(days, period, washout)
    table = plan_table(plan, plan.draw(np.random.default_rng(seed or 0)), start)
    write_atomically(out, table.to_csv(index=False))
    typer.echo(
        f"{len(table):,} periods of {period:g} h on {days} days, the first {washout:g} h of each washed out: {out}"
    )


@app.command()
def switchback(
    file: FileArgument,
    plan: PlanOption,
    time: Annotated[str, typer.Option("--time", help="Column of times, as the plan has them.")],
    metric: MetricOption,
    seed: SeedOption = None,
    alpha: AlphaOption = 0.05,
) -> None:
    """Say what a switchback that was run by a plan showed."""
    import numpy as np

    from bidpilot.experiments.abtest.plan import read_outcome, read_plan
    from bidpilot.experiments.abtest.switchback import effect
    from bidpilot.experiments.abtest.words import switchback_words

    known = read_plan(plan)
    means, outside = read_outcome(file, known, time, metric)
    found = effect(known.switchback, known.schedule, means, np.random.default_rng(seed or 0), alpha)
    typer.echo(switchback_words(metric, found, outside, alpha))


def _shares(given: list[str] | None) -> dict[str, float] | None:
    """Return planned shares by arm."""
    shares = {}
    for pair in given or ():
        name, _, share = pair.rpartition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            fail(f"--share must be NAME=SHARE, as control=0.5; it is {pair!r}")
    return shares or None
