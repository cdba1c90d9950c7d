"""Logs larger than memory, end to end: write one, fit and replay it by the command line, tell rows/s and peak memory.

The rows come from the synthetic exchange, day by day: a buyer bids around a fixed level, the price is known where it
won. The fit learns from the first 70 % of the days; the replay plays two policies on all days, 20 times each. Figures
are those of the whole process: reading, learning and writing, imports included. Peak memory is the
resident set of the process that ran the command, as the system counts it.

python -m bidpilot.experiments.benchmarks.big_log FOLDER --rows 5000000
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from bidpilot.ctr.synthetic import Exchange, ExchangeConfig
from bidpilot.ctr.types import MICROS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.synthetic import Traffic

ROW_GROUP = 1 << 17
DAY = 500_000
"""Opportunities of a day, at most: one is drawn at a time."""

KILOBYTE = 1024.0
MAPPING = """\
time: {column: time, unit: s}
won: won
price: {column: price, unit: micros}
bid: {column: bid, unit: micros}
click: click
conversion: conversion
value: {column: value, unit: currency}
segment: segment
categorical: [device, slot, site, user_segment]
numeric: [recency]
duplicates: keep
currency: EUR
"""


def write_log(path: Path, rows: int, seed: int = 0, days: int | None = None) -> int:
    """Write a log of about so many rows, its mapping beside it (.yaml); return how many there are.

    days: that they are spread over; None: as many as DAY asks for, at least a week.
    """
    days = days or max(7, -(-rows // DAY))
    exchange = Exchange(ExchangeConfig(opportunities=rows / days, trend=0.14 / days))
    rng, written, writer = np.random.default_rng(seed), 0, None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".yaml").write_text(MAPPING, encoding="utf-8")
    try:
        for day in tqdm(range(days), desc="write", unit="day", disable=None):
            table = logged(exchange.draw([day], rng), exchange.config, rng)
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=ROW_GROUP)
            written += len(table)
    finally:
        if writer is not None:
            writer.close()
    return written


def logged(traffic: Traffic, config: ExchangeConfig, rng: np.random.Generator) -> pa.Table:
    """Return what a buyer's log tells of traffic: prices, clicks and conversions where it won, as Exchange.logged."""
    bid = np.rint(config.bid * config.price * MICROS * rng.lognormal(0.0, 0.4, len(traffic.price))).astype(np.int64)
    won, frame = bid >= traffic.price, traffic.log.frame
    columns = {"time": frame["time"].to_numpy(), "won": won, "bid": bid}
    columns["price"] = pa.array(traffic.price, mask=~won)
    columns |= {"click": traffic.click & won, "conversion": traffic.conversion & won}
    columns["value"] = np.where(won, np.round(traffic.value, 2), 0.0)
    columns["recency"] = np.round(frame["recency"].to_numpy(), 2)
    for name in ("user_segment", "device", "slot", "site"):
        columns[name] = pa.array(frame[name], pa.large_string())
    return pa.table(columns | {"segment": columns["user_segment"]})


def measured(command: Sequence[str]) -> tuple[float, float]:
    """Run a bidpilot command; return its seconds and its peak memory in GB. Raises SystemExit where it fails."""
    child = (
        "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    start = time.monotonic()
    whole = [sys.executable, "-c", child, sys.executable, "-m", "bidpilot.experiments.cli", *command]
    done = subprocess.run(whole, check=False, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own program
    said = done.stderr.rstrip().rpartition("\n")
    if done.returncode:
        raise SystemExit(said[0] or f"{command[0]} failed")
    unit = KILOBYTE if sys.platform != "darwin" else 1.0  # bytes there
    return time.monotonic() - start, float(said[2]) * unit / 1e9


def main() -> None:
    """Write the log, fit, replay, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where log and run go")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5, help="of the click models, at most")
    parser.add_argument("--only", choices=("write", "fit", "replay"), action="append", help="some of the steps")
    given = parser.parse_args()
    log, run = given.folder / "log.parquet", given.folder / "run"
    steps = given.only or ["write", "fit", "replay"]
    if "write" in steps:
        start = time.monotonic()
        rows = write_log(log, given.rows, given.seed)
        tell(
            "write", rows, time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE / 1e9
        )
        groups = pq.ParquetFile(log).num_row_groups
        sys.stdout.write(f"{log}: {log.stat().st_size / 1e9:.2f} GB in {groups:,} row groups\n")
    rows = pq.ParquetFile(log).metadata.num_rows
    source, where = ["--log", str(log)], ["--mapping", str(log.with_suffix(".yaml")), "--out", str(run)]
    fit = ["fit", *source, *where, "--seed", str(given.seed), "--set", f"model.epochs={given.epochs}"]
    policies = ["--policy", "constant", "--policy", "pid", "--budget", "1/8"]
    replay = ["replay", "--run", str(run), *source, *policies]
    for name, command in (("fit", fit), ("replay", replay)):
        if name in steps:
            tell(name, rows, *measured(command))


def tell(step: str, rows: int, seconds: float, gigabytes: float) -> None:
    """Print a step's figures."""
    speed = f"{rows:,} rows in {seconds:,.0f} s, {rows / seconds:,.0f} rows/s"
    sys.stdout.write(f"{step}: {speed}, peak memory {gigabytes:.2f} GB\n")


if __name__ == "__main__":
    main()
