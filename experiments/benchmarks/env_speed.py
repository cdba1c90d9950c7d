"""How fast the environments are: each kind of work beside a plain reference on the same work.

Run: python -m bidpilot.experiments.benchmarks.env_speed. Figures are per second of CPU time of one thread, the best of
several passes: the ratio is the result. --markdown prints the tables as the README has them.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from bidpilot.experiments.benchmarks import env_work as work

if TYPE_CHECKING:
    from collections.abc import Callable

PASSES, SECONDS = 5, 2.0
"""At least so many passes, and as many more as fit into so many seconds: the best one met the quietest machine."""
OFFERS, STEPS = "opportunities", "steps"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    prepare: builds the work and returns (ours, reference), functions that do it once, see env_work.
    peer: the best public figure for the like of it, in the same unit, and whose it is; "" where there is none.
    """

    name: str
    unit: str
    prepare: Callable[[], tuple[work.Work, work.Work]]
    peer: str = ""


ROWS = (
    Row("7 ticks x 200, fresh traffic, one environment", OFFERS, partial(work.fresh, 7, 200, 40), "0.65 M (RTBGym)"),
    Row("7 ticks x 200, fresh traffic, 256 at once", OFFERS, partial(work.fresh_batch, 7, 200), "0.65 M (RTBGym)"),
    Row("48 ticks x 10,417, fresh traffic", OFFERS, partial(work.fresh, 48, 10_417, 1), "2.9 M (RTBGym)"),
    Row("48 ticks x 10,417, replayed by the ladder", OFFERS, work.replay, "13 M (NeurIPS replay)"),
    Row("48 bidders x 3 slots x 10,417, GSP alone", OFFERS, work.gsp_alone, "75 k (AuctionNet)"),
    Row("48-buyer episode, 500,000 in 48 ticks", OFFERS, work.marketplace, "20.7 k (AuctionNet)"),
    Row("Pacing, 1,000 a tick", STEPS, partial(work.pacing, 1_000, 48)),
    Row("Pacing, 10,417 a tick", STEPS, partial(work.pacing, 10_417, 48), "280 (RTBGym)"),
    Row("Pacing, 100,000 a tick", STEPS, partial(work.pacing, 100_000, 48)),
    Row("Pacing, days of 8 ticks, 1,000 a tick", STEPS, partial(work.pacing, 1_000, 8)),
    Row("Pacing, days of 8 ticks, 1,000,000 a tick", STEPS, partial(work.pacing, 1_000_000, 8)),
    Row("Pacing, 10,417 a tick, until the money is gone", STEPS, partial(work.pacing, 10_417, 48, share=1.0)),
    Row("Pacing, 100,000 a tick, until the money is gone", STEPS, partial(work.pacing, 100_000, 48, share=1.0)),
    Row("Pacing, 10,417 a tick, resets included", STEPS, partial(work.pacing, 10_417, 48, share=1.0, resets=True)),
    Row("Pacing, 256 at once", STEPS, partial(work.batch, "bidpilot/Pacing-v0", resets=False)),
    Row("Pacing, 256 at once, resets included", STEPS, partial(work.batch, "bidpilot/Pacing-v0", resets=True)),
    Row("Targeting, 256 at once", STEPS, partial(work.batch, "bidpilot/Targeting-v0", resets=False)),
)


def main() -> None:
    """Measure all rows and print the tables."""
    rows = [(row, *measured(row)) for row in tqdm(ROWS, desc="env_speed", unit="row", disable=None)]
    lines = [
        (row.name, row.unit, row.peer or "-", short(ours), short(plain), f"{ours / plain:,.1f}")
        for row, ours, plain in rows
    ]
    head = ("work", "per CPU second", "best public peer", "bidpilot", "plain reference", "ratio")
    sizes = work.memory()
    if "--markdown" in sys.argv[1:]:
        text = [
            f"| {' | '.join(head)} |",
            "|---|---|---:|---:|---:|---:|",
            *(f"| {' | '.join(line)} |" for line in lines),
        ]
        sys.stdout.write("\n".join([*text, "", sizes, ""]))
        return
    table = Table(*head)
    for line in lines:
        table.add_row(*line)
    console = Console()
    console.print(table)
    console.print(sizes)


def measured(row: Row) -> tuple[float, float]:
    """Return the rates of our way and of the plain one, passes alternating so that both meet the same machine."""
    ours, plain = row.prepare()
    best, passes, clock = [0.0, 0.0], 0, time.monotonic()
    while passes < PASSES or time.monotonic() - clock < SECONDS:
        passes += 1
        for place, job in enumerate((ours, plain)):
            done, seconds = job()
            best[place] = max(best[place], done / max(seconds, 1e-9))
    return best[0], best[1]


def short(rate: float) -> str:
    """Write a rate in k or M, three digits."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rate >= size:
            return f"{rate / size:.3g} {unit}"
    return f"{rate:.3g}"


if __name__ == "__main__":
    main()
