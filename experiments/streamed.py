"""A run's log where it is too large to be read whole: where it is cut in time, and an evenly spaced sample of it.

Whether a log is streamed is a setting and no switch of one command: fit, train, compare and replay each read the log,
and all must read it alike. It goes by rows, which Parquet tells without reading any, since rows decide the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from bidpilot.ctr.chunks import ParquetLog
from bidpilot.ctr.readers import candidates
from bidpilot.ctr.thinning import joined
from bidpilot.ctr.window import Window
from bidpilot.envs.timeline import boundary

if TYPE_CHECKING:
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.experiments.config import Settings


@dataclass(frozen=True)
class Streamed:
    """A log on disk. log: every stride-th row of it. cut: time at which its held-out part begins."""

    disk: ParquetLog
    log: AuctionLog
    stride: int
    cut: float

    @property
    def rows(self) -> int:
        """Return how many rows the files have."""
        return self.disk.rows

    @property
    def note(self) -> str:
        """Say what is read of the log, for people."""
        kept = "all of its rows" if self.stride == 1 else f"one row in {self.stride}"
        return (
            f"larger than stream.above: clicks and conversions are learned from the file in pieces; prices, simulated "
            f"days and comparisons are of {kept}, {len(self.log):,} (bidpilot replay plays all held-out rows)"
        )

    def training(self, validation_share: float) -> Window:
        """Return the rows before the cut; the last share of their time is to validate on."""
        first = float(self.log.frame["time"].iloc[0])
        return Window(self.disk, valid=self.cut - validation_share * (self.cut - first), end=self.cut)

    @property
    def held_out(self) -> Window:
        """The rows from the cut on."""
        return Window(self.disk, begin=self.cut)


def find_streamed(settings: Settings) -> Streamed | None:
    """Return a run's log as one to be streamed, or None where it is small enough, or no Parquet file."""
    disk = large_parquet(settings, Path(settings.log))
    if disk is None:
        return None
    stride = -(-disk.rows // settings.stream.sample)
    parts = tqdm(disk.thinned(stride), desc="sample", unit="piece", leave=False, disable=None)
    log = joined(parts)
    cut = boundary(log.frame["time"].to_numpy(), settings.train_share, log.source)
    return Streamed(disk, log, stride, cut)


def large_parquet(settings: Settings, path: Path) -> ParquetLog | None:
    """Return a file as a log to be read in pieces, where it is Parquet and has more rows than the settings allow."""
    try:
        rows = pq.ParquetFile(path).metadata.num_rows
    except (pa.ArrowException, OSError, ValueError):
        return None  # what is wrong, if anything, is said by the reader of whole logs
    if rows <= settings.stream.above:
        return None
    chosen = candidates(settings.format, settings.mapping)
    max_bad = 0.0 if settings.strict else settings.max_bad
    return ParquetLog(path, chosen[0] if len(chosen) == 1 else None, max_bad=max_bad)
