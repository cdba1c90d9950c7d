"""The commands around one policy: train, evaluate, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bidpilot.experiments.commands.options import AgainOption, RunOption, fail, open_run, stages_of


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
        fail("--again begins anew and --resume goes on; give one of them")
    session = Session(resume=resume, minutes=minutes, patience=patience, tensorboard=tensorboard)
    stages_of(open_run(run)).train(session, again=again)


def evaluate(
    run: RunOption,
    policy: Annotated[list[str], typer.Option("--policy", help="Name, dotted module, or bundle file; repeatable.")],
) -> None:
    """Evaluate policies of a run on its evaluation days; results go to <run>/evaluate."""
    from bidpilot.experiments.contenders import named_contenders

    stages = stages_of(open_run(run))
    stages.fit()
    stages.evaluate(named_contenders(stages.run, stages.source, policy, stages.say))


def export(
    run: RunOption,
    out: Annotated[Path | None, typer.Option("--out", help="File to write [<run>/policy.zip].")] = None,
) -> None:
    """Write the trained policy of a run as a bundle."""
    stages_of(open_run(run)).export(out)


COMMANDS = (
    train,
    evaluate,
    export,
)
