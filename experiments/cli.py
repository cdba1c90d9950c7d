"""The command line. Heavy imports happen inside the commands, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bidpilot.experiments.config import Settings
    from bidpilot.experiments.run import Run
    from bidpilot.experiments.stages import Stages

INTERRUPTED = 130

app = typer.Typer(
    help="Learn a market from an auction log, train a bidding policy in it, compare it with all others and export it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help answers in a third of the time
)

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


@app.command()
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
    given: dict[str, Any] = {
        "log": log,
        "format": format_name,
        "mapping": mapping,
        "max_bad": max_bad,
        "strict": strict,
    }
    given |= {"seed": seed, "threads": threads, "model.kind": models, "tensorboard": tensorboard}
    stages = _stages(_create(given, config, sets, out))
    stages.fit(again=again, resume=resume)
    stages.say(f"run: {stages.run.folder}")


@app.command()
def fidelity(run: RunOption) -> None:
    """Compare the market simulated from a run's log with the held-out rows."""
    _stages(_open(run)).fidelity()


@app.command()
def train(
    run: RunOption,
    again: AgainOption = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a training was killed, or its time was over.")
    ] = False,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Stop training after so many [never].")] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Stop after so many validations without a better one [never].")
    ] = None,
    tensorboard: Annotated[bool | None, typer.Option("--tensorboard", help="Write curves of the training.")] = None,
) -> None:
    """Train the learner of a run in the market simulated from its log."""
    from bidpilot.experiments.train import Session

    if again and resume:
        _fail("--again begins anew and --resume goes on; give one of them")
    session = Session(resume=resume, minutes=minutes, patience=patience, tensorboard=tensorboard)
    _stages(_open(run)).train(session, again=again)


@app.command()
def evaluate(
    run: RunOption,
    policy: Annotated[list[str], typer.Option("--policy", help="Name, dotted module, or bundle file; repeatable.")],
) -> None:
    """Evaluate policies of a run on its evaluation days; results go to <run>/evaluate."""
    from bidpilot.experiments.contenders import named_contenders

    stages = _stages(_open(run))
    stages.fit()
    stages.evaluate(named_contenders(stages.run, stages.source, policy, stages.say))


@app.command()
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
    resume: Annotated[bool, typer.Option("--resume", help="Keep what a tune that was killed has done.")] = False,
) -> None:
    """Search the baselines' settings on simulated days; bidpilot compare takes what is found."""
    from bidpilot.experiments.tune import Task

    opened = _open(run)
    task = Task.of(opened.settings, policy, budget, trials=trials, jobs=jobs, resume=resume)
    _stages(opened).tune(task)


@app.command()
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
    given: dict[str, Any] = {
        "log": log,
        "format": format_name,
        "mapping": mapping,
        "max_bad": max_bad,
        "strict": strict,
    }
    given |= {"seed": seed, "threads": threads, "budgets": budget, "worth": worth, "scenario": scenario}
    given |= {"learner.steps": steps}
    if run is not None and (out or config or sets or any(value is not None for value in given.values())):
        _fail("--run goes on with the settings of that run; give no others, or start a new run with --log and --out")
    stages = _stages(_open(run) if run is not None else _create(given, config, sets, out))
    stages.compare()


@app.command()
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


@app.command()
def export(
    run: RunOption,
    out: Annotated[Path | None, typer.Option("--out", help="File to write [<run>/policy.zip].")] = None,
) -> None:
    """Write the trained policy of a run as a bundle."""
    _stages(_open(run)).export(out)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the work, to see that it runs.")] = False,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Run the whole job on a synthetic exchange of known truth: fit, train, compare, export, report."""
    from bidpilot.experiments.demo import demo_settings, run_demo

    run_demo(out, demo_settings(quick=quick, seed=seed, threads=threads))


@app.command()
def formats() -> None:
    """List the known log layouts and where an example mapping is."""
    from bidpilot.ctr.mapping import SHIPPED, known_mappings

    for name in sorted(known_mappings()):
        typer.echo(name)
    typer.echo(f"example mapping for your own columns: {SHIPPED / 'example.yaml'}")


def main(*command: str) -> None:
    """Run the command line; command goes before what was typed (the stages run as scripts use it).

    A user's mistake is one line on standard error and exit code 2.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from bidpilot.ctr.errors import InputError

    try:
        app([*command, *sys.argv[1:]])
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            typer.echo("bidpilot: stopped; the same command goes on from the last stage that was done", err=True)
        raise
    except InputError as error:
        _fail(str(error))


def _fail(message: str) -> None:
    typer.echo(f"bidpilot: {message}", err=True)
    sys.exit(2)


def _create(given: dict[str, Any], config: Path | None, sets: list[str] | None, out: Path | None) -> Run:
    """Open a new run for the given settings."""
    from bidpilot.experiments.config import load_settings
    from bidpilot.experiments.run import Run

    for key in ("log", "mapping"):  # a run can then be gone on with from any directory
        if given.get(key) not in {None, "synthetic"}:
            given[key] = str(Path(given[key]).absolute())
    settings = load_settings(config, given, tuple(sets or ()))
    if given.get("log") is None and config is None and not any(pair.startswith("log=") for pair in sets or ()):
        _fail("give --log FILE, or --log synthetic for the exchange that bidpilot brings")
    return Run.create(out or Path("runs") / _name(settings), settings)


def _open(folder: Path) -> Run:
    from bidpilot.experiments.run import Run

    return Run.open(folder)


def _stages(run: Run) -> Stages:
    from bidpilot.experiments.stages import Stages

    return Stages(run)


def _name(settings: Settings) -> str:
    """Name a run after its log."""
    return Path(settings.log).name.partition(".")[0] or "run"


if __name__ == "__main__":
    main()
