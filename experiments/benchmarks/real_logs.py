"""How near to what was possible policies come on nine real campaigns, with their defaults and tuned.

`python -m bidpilot.experiments.benchmarks.real_logs --data DIR` does for each iPinYou log what `bidpilot fit` and
`bidpilot compare` do by default: fit the first 70 % of its time, simulate days from it, replay the rest. Policies are
tuned on simulated days only. R/R* is by predicted clicks, the replay's expected worth, as a ratio of sums over the
episodes. Without --out nothing is kept; with it, fits are used again and results lie beside them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

from bidpilot.ctr.errors import InputError
from bidpilot.experiments.benchmarks.real_verdict import markdown, summary, verdict
from bidpilot.experiments.compare import baselines, oracle, results_table
from bidpilot.experiments.config import Settings
from bidpilot.experiments.evaluate import Contender, Field, play_all
from bidpilot.experiments.fit import fit
from bidpilot.experiments.prepare import evaluation_days, prepare
from bidpilot.experiments.run import Run
from bidpilot.experiments.source import load_source
from bidpilot.experiments.streams import stream
from bidpilot.experiments.tuning import campaign_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.experiments.prepare import Arena

LOGS = (
    *(f"ipinyou_hourly/{campaign}.csv.gz" for campaign in (1458, 2259, 2261)),
    *(f"ipinyou_episodes/{campaign}.validation.csv.gz" for campaign in (1458, 2259, 2261, 2821, 3358, 3386)),
)
POLICIES = ("linear", "incremental", "recalibrate", "pid", "dual", "dual_euclid", "resolve", "tracked")
"""Policies of one multiplier or one per segment, for a budget and nothing else."""

REPLICATES = 40
"""Bootstrap copies of a log that is one episode; of one with many, whole episodes are resampled ten times as often."""

KEPT = "real_logs.csv"


def main() -> None:
    """Fit, tune, replay, print."""
    given = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            out = given.out or Path(scratch)
            table = real_logs(given.data, out, given.logs, given.policies, tuned=not given.untuned)
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(2)
    found = summary(table)
    text = markdown(found) if given.markdown else found.round(4).to_string(index=False)
    sys.stdout.write(f"{text}\n\n{verdict(table)}\n")


def real_logs(
    data: Path | None,
    out: Path,
    logs: Sequence[str] = LOGS,
    policies: Sequence[str] = POLICIES,
    *,
    tuned: bool = True,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Return results as bidpilot compare has them (see results_table), one block per campaign, named in `campaign`.

    A policy is there with its defaults, and tuned as `NAME, tuned`. settings: of every run but its log; None: the
    defaults. Raises InputError where a log is not there, or `out` holds runs of other settings.
    """
    paths = {name: _there(data, name) for name in logs}
    tables = []
    for name, path in tqdm(paths.items(), desc="real logs", unit="campaign", disable=None):
        folder, campaign = path.parent.name, path.name.partition(".")[0]
        run = Run.create(out / f"{folder}_{campaign}", (settings or Settings()).model_copy(update={"log": str(path)}))
        tables.append(campaign_table(run, policies, tuned=tuned).assign(campaign=campaign_name(name)))
    return pd.concat(tables, ignore_index=True)


def campaign_name(log: str) -> str:
    """Return what a log is called in tables: `1458 hourly` for ipinyou_hourly/1458.csv.gz."""
    path = Path(log)
    return f"{path.name.partition('.')[0]} {path.parent.name.rpartition('_')[2]}"


def campaign_table(run: Run, policies: Sequence[str], *, tuned: bool) -> pd.DataFrame:
    """Return one run's results of these policies and the oracle, written to its folder; fit it unless it was."""
    source, settings = load_source(run.settings), run.settings
    if not run.done("fit"):
        fit(run, source)
    arena = prepare(run, source)
    contenders = [*_contenders(run, arena, policies, tuned=tuned), oracle()]
    days, rng = evaluation_days(run, source, arena.seen), stream(settings.seed, "bootstrap")
    field = Field.of(days, min(REPLICATES, settings.days.replicates), settings.days.resampled, rng)
    campaigns = {share: campaign_for(days, share, settings.auction, arena.full_cost) for share in settings.budgets}
    played = play_all(contenders, field, campaigns, stream(settings.seed, "policies"))
    table = results_table(played, field, contenders, settings.budgets)
    run.write_table(KEPT, table)
    return table


def _contenders(run: Run, arena: Arena, policies: Sequence[str], *, tuned: bool) -> list[Contender]:
    """Return the policies with their defaults, then tuned the quick way on the arena's days for that."""
    found = []
    for quick in (False, True) if tuned else (False,):
        settings = run.settings.model_copy(update={"tuned": quick})
        each = baselines(Run(run.folder, settings), arena, policies)
        found += [replace(one, name=f"{one.name}, tuned") if quick else one for one in each]
    return found


def _there(data: Path | None, name: str) -> Path:
    if data is None or not (data / name).is_file():
        raise InputError(f"{name} is not in {data}; give --data (or BIDPILOT_DATA) the folder that has ipinyou_hourly")
    return data / name


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="real_logs", description=__doc__)
    known = os.environ.get("BIDPILOT_DATA")
    parser.add_argument("--data", type=Path, default=Path(known) if known else None, help="folder of the iPinYou logs")
    parser.add_argument("--out", type=Path, help="folder to keep fits and results in")
    parser.add_argument("--logs", nargs="+", default=LOGS, metavar="LOG", help="paths below --data; all nine")
    parser.add_argument("--policies", nargs="+", default=POLICIES, metavar="NAME", help=f"{', '.join(POLICIES)}")
    parser.add_argument("--untuned", action="store_true", help="defaults only: a third of the time")
    parser.add_argument("--markdown", action="store_true", help="print as the README has it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
