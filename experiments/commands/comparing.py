"""The commands that compare policies: tune, compare, suite, demo."""

from __future__ import annotations

from dataclasses import replace
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
    RunOption,
    ScenarioOption,
    SeedOption,
    SetOption,
    StepsOption,
    StrictOption,
    ThreadsOption,
    WorthOption,
    create_run,
    fail,
    open_run,
    reading,
    stages_of,
)
from bidpilot.experiments.commands.sweep import RayOption


def tune(
    run: RunOption,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="Name or dotted module; repeatable [the run's baselines].")
    ] = None,
    trials: Annotated[int, typer.Option("--trials", help="Settings to try, for every policy and budget.")] = 40,
    budget: Annotated[
        list[str] | None, typer.Option("--budget", help="One of the run's budgets, as 1/8; repeatable [all].")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes at once; the numbers are the same.")] = 1,
    ray: RayOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what a tune that was killed has done.")] = False,
) -> None:
    """Search the baselines' settings on simulated days; bidpilot compare takes what is found."""
    from bidpilot.experiments.tune import Task

    opened = open_run(run)
    task = Task.of(opened.settings, policy, budget, trials=trials, jobs=jobs, resume=resume, ray=ray)
    stages_of(opened).tune(task)


def compare(
    log: LogOption = None,
    run: Annotated[Path | None, typer.Option("--run", help="Go on with an earlier run instead.")] = None,
    format_name: FormatOption = None,
    mapping: MappingOption = None,
    out: OutOption = None,
    budget: BudgetOption = None,
    worth: WorthOption = None,
    scenario: ScenarioOption = None,
    steps: StepsOption = None,
    max_bad: MaxBadOption = None,
    strict: StrictOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Fit and train what is missing, then compare the learner with every baseline and the hindsight oracle."""
    given = {"log": log} | reading(format_name, mapping, max_bad, strict=strict)
    given |= {"seed": seed, "threads": threads, "budgets": budget, "worth": worth, "scenario": scenario}
    given |= {"learner.steps": steps}
    if run is not None and (out or config or sets or any(value is not None for value in given.values())):
        fail("--run goes on with the settings of that run; give no others, or start a new run with --log and --out")
    stages = stages_of(open_run(run) if run is not None else create_run(given, config, sets, out))
    stages.compare()


def suite(
    out: Annotated[Path | None, typer.Option("--out", help="Where policies and results lie [runs/suite].")] = None,
    family: Annotated[list[str] | None, typer.Option("--family", help="Family to play; repeatable [all].")] = None,
    train: Annotated[bool, typer.Option("--train", help="Train what is missing first (hours).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One seed, two budgets, few days.")] = False,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Training seeds of the learners [5].")] = None,
) -> None:
    """Compare trained policies with tuned baselines in every family of markets, and check what is claimed of them."""
    import torch

    from bidpilot.experiments.stages import readable_console
    from bidpilot.experiments.suite.command import suite as play
    from bidpilot.experiments.suite.families import find_families
    from bidpilot.experiments.suite.run import SuiteConfig

    torch.set_num_threads(1)
    config = SuiteConfig.quick() if quick else SuiteConfig()
    out = out or Path("runs/suite-quick" if quick else "runs/suite")
    config = config if seeds is None else replace(config, seeds=seeds)
    play(out, find_families(family or []), config, readable_console(), train=train)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the work, to see that it runs.")] = False,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Run the whole job on a synthetic exchange of known truth: fit, train, compare, export, report."""
    from bidpilot.experiments.demo import demo_settings, run_demo

    run_demo(out, demo_settings(quick=quick, seed=seed, threads=threads))


COMMANDS = (
    tune,
    compare,
    suite,
    demo,
)
