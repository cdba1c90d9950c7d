"""How fast response models are trained and served: each kind of work beside a plain way of doing the same.

Run: python -m bidpilot.experiments.benchmarks.ctr_speed [--rows 100000] [--markdown]. The log has Criteo's shape: 39
fields, 1.06 million ids, embeddings of 16, layers of 400, 400, 400. Rates are rows per second of CPU time of one
thread, the best of several passes: the ratio is the result. The plain way is torch's textbook one: an embedding a
field, Adam on every weight, float32, a DataLoader.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from bidpilot.ctr.calibration import sigmoid
from bidpilot.ctr.loop import scores
from bidpilot.ctr.metrics import auc, log_loss
from bidpilot.ctr.optimiser import has_bfloat16
from bidpilot.experiments.benchmarks import ctr_work as work
from bidpilot.experiments.benchmarks.env_speed import short

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.benchmarks.ctr_work import Sample, Work

PASSES = 3
HEAD = ("work", "best public library", "bidpilot", "plain", "ratio")
FEW = 8_192
"""Rows that are enough to time steps and scoring."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: its name, the best public figure on a machine with bfloat16, and (ours, plain) of a sample."""

    name: str
    public: str
    prepare: Callable[[Sample], tuple[Work, Work]]
    passes: int = PASSES


ROWS = (
    Row("train DeepFM, batch 4,096, the step alone", "14.2 k", lambda s: work.steps(s, "deepfm", 4_096, 4)),
    Row("train DeepFM, batch 256, the step alone", "2.1 k", lambda s: work.steps(s, "deepfm", 256, 40)),
    Row("train DCNv2, batch 4,096, the step alone", "8.7 k", lambda s: work.steps(s, "dcnv2", 4_096, 4)),
    Row("train DeepFM, an epoch with loading", "12.5 k", lambda s: work.epoch(s, "deepfm", 4_096), 1),
    Row("score DeepFM, batch 4,096, float32 (ONNX)", "70 k", lambda s: work.scoring(s, "float32")),
    Row("score DeepFM, batch 4,096, int8 (ONNX)", "70 k", lambda s: work.scoring(s, "int8")),
)


def main() -> None:
    """Measure everything and print it."""
    given = _arguments()
    torch.set_num_threads(1)
    sample = work.Sample.of(given.rows)
    lines: list[tuple[str, ...]] = [(row.name, row.public, *_figures(*measured(row, sample))) for row in _shown(ROWS)]
    lines.append(("two threads, an epoch, rows a second by the clock", "26.3 k", *_figures(*two_threads(sample))))
    for precision in ("float32", "int8"):
        ours, plain = work.one_row(sample, precision)
        name = f"score one row, {precision} (ONNX), median, microseconds"
        lines.append((name, "58", f"{ours:.0f}", f"{plain:.0f}", f"{plain / ours:.1f}"))
    for part in ("steps", "epoch") if Path("/proc/self/status").exists() else ():
        ours, plain = (peak_memory(part, side, given.rows) for side in ("ours", "plain"))
        lines.append((f"peak memory, {part}, MB", "", f"{ours:.0f}", f"{plain:.0f}", f"{plain / ours:.1f}"))
    _print(lines, [*quality(given.rows), _machine()], markdown=given.markdown)


def measured(row: Row, sample: Sample) -> tuple[float, float]:
    """Return the rates of our way and the plain one, passes in turn so that both meet the same machine."""
    jobs = row.prepare(sample)
    best = [0.0, 0.0]
    for _ in range(row.passes):
        for place, job in enumerate(jobs):
            rows, seconds = job()
            best[place] = max(best[place], rows / seconds)
    return best[0], best[1]


def two_threads(sample: Sample) -> tuple[float, float]:
    """Return the rates of an epoch with two threads, by the clock."""
    torch.set_num_threads(2)
    try:
        row = Row("", "", partial(work.epoch, model="deepfm", size=4_096, clock=time.perf_counter), 1)
        return measured(row, sample)
    finally:
        torch.set_num_threads(1)


def peak_memory(part: str, side: str, rows: int) -> float:
    """Return the most memory, MB, of a process of its own for a few steps or an epoch, data and torch included."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (part, side, rows))


def _peak(part: str, side: str, rows: int) -> float:
    torch.set_num_threads(1)
    sample = work.Sample.of(rows if part == "epoch" else FEW * 2)
    if part == "epoch":
        work.epoch_work(sample, "deepfm", work.BATCH, ours=side == "ours")()
    else:
        work.step_work(sample, "deepfm", work.BATCH, 2, ours=side == "ours")()
    status = Path("/proc/self/status").read_text()  # getrusage knows the parent's peak
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024.0


def quality(rows: int) -> list[str]:
    """Train both ways for one epoch and compare them on rows that neither saw, with the truth beside them."""
    train, test = work.Sample.of(rows, seed=1), work.Sample.of(max(rows // 5, 20_000), seed=2)
    lines = [_said("the true law", test, test.truth)]
    ours = work.trained(train, "deepfm", 4_096)
    lines.append(_said("bidpilot, one epoch", test, sigmoid(scores(ours, test.rows.fields).double().numpy())))
    served = work.scorer_of(ours, "int8").score(test.rows.fields)
    lines.append(_said("the same, served in int8", test, served))
    plain = work.plainly_trained(train, "deepfm", 4_096)
    with torch.no_grad():
        odds = torch.cat([plain(part) for part in test.tensors[0].split(work.BATCH)])
    lines.append(_said("plain Adam, one epoch", test, sigmoid(odds.double().numpy())))
    return lines


def _said(name: str, test: Sample, p: FloatArray) -> str:
    ratio = p.mean() / test.click.mean()
    return f"{name}: AUC {auc(test.click, p):.4f}, log loss {log_loss(test.click, p):.4f}, predicted/actual {ratio:.3f}"


def _figures(ours: float, plain: float) -> tuple[str, str, str]:
    return short(ours), short(plain), f"{ours / plain:.1f}"


def _machine() -> str:
    able = "has bfloat16, in which layers train" if has_bfloat16() else "has no bfloat16: layers train in float32"
    return f"This processor ({torch.backends.cpu.get_cpu_capability()}) {able}."


def _shown(rows: tuple[Row, ...]) -> tqdm[Row]:
    return tqdm(rows, desc="ctr_speed", unit="row", disable=None)


def _print(lines: list[tuple[str, ...]], notes: list[str], *, markdown: bool) -> None:
    if markdown:
        text = [f"| {' | '.join(HEAD)} |", "|---|---:|---:|---:|---:|", *(f"| {' | '.join(line)} |" for line in lines)]
        sys.stdout.write("\n".join([*text, "", *(f"- {note}" for note in notes), ""]))
        return
    table = Table(*HEAD)
    for line in lines:
        table.add_row(*line)
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ctr_speed", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of an epoch [100000]")
    parser.add_argument("--markdown", action="store_true", help="print as the README has it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
