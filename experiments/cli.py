"""The command line. Heavy imports happen inside the commands, so that --help answers at once."""

from __future__ import annotations

import os
import sys

import typer

from bidpilot.experiments.commands import abtest, comparing, fitting, learning, offline, replay, sweep
from bidpilot.experiments.commands.options import fail

INTERRUPTED = 130

app = typer.Typer(
    help="Learn a market from an auction log, train a bidding policy in it, compare it with all others and export it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help answers in a third of the time
)
for module in (fitting, learning, comparing, offline, replay, sweep):
    for function in module.COMMANDS:
        app.command()(function)
app.add_typer(abtest.app, name="abtest")


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
        fail(str(error))


if __name__ == "__main__":
    main()
