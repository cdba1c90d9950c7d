"""A log in Parquet files, larger than memory: read through its mapping chunk by chunk, each a checked AuctionLog."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bidpilot.ctr.cleaning import clean, parse_time
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.mapping import Mapping
from bidpilot.ctr.quarantine import check_share
from bidpilot.ctr.readers import as_log, candidates, find_layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.readers import Layout

ROWS = 1 << 15
"""Rows of a chunk: some 50 MB while it is read."""

BUFFER = 1 << 20
"""Bytes of a column that are read at once, so that a file of one huge row group does not fill the memory."""

DISORDER = "time out of order"
"""The rule of ctr/cleaning; here its hint, to sort what is in memory, would not help."""

COARSEST = 3600.0
"""Seconds that a time stamp may stand for: more would leave the hour of day to the spreading of rows."""


class Chunk(NamedTuple):
    """The good rows of a piece of the log, and whether they are to be learned from or to validate on."""

    log: AuctionLog
    train: bool


@dataclass(frozen=True)
class ParquetLog:
    """A log in Parquet files, in the order of time from the first to the last.

    paths: the files, or a single one. mapping: the mapping, its YAML file, or None to recognise the format by the
    columns. valid: files of the rows to validate on, later in time; without them it is the last validation_share of the
    rows. max_bad: share of the rows that may break a rule. Rules are read_log's, with these limits: duplicates are
    found within a chunk alone, rows are sorted within a chunk alone, and a coarse time stamp is taken as it is, not
    spread over the rows that have it.
    Raises InputError on files that cannot be read, hold too few rows, or whose mapping has no place here.
    """

    paths: tuple[Path, ...] | Path
    mapping: Mapping | Path | None = None
    valid: tuple[Path, ...] | Path = ()
    validation_share: float = 0.2
    max_bad: float = 0.01

    def __post_init__(self) -> None:
        """Check the files and figures."""
        if not self.paths:
            raise InputError("no Parquet file is given; name at least one")
        if not (0.0 < self.validation_share < 1.0 and 0.0 <= self.max_bad <= 1.0):
            figures = f"{self.validation_share} and {self.max_bad}"
            raise InputError(f"validation_share must lie between 0 and 1, max_bad from 0 to 1; got {figures}")
        if not 0 < self.cut < self.rows:
            raise InputError(f"{self}: {self.rows} rows, {self.cut} of them to learn from: none is left for the rest")

    def __str__(self) -> str:
        """Name the files."""
        return ", ".join(map(str, self.files))

    @property
    def files(self) -> tuple[Path, ...]:
        """Return all files."""
        return _several(self.paths) + _several(self.valid)

    @property
    def rows(self) -> int:
        """Return the number of rows of all files, good and bad."""
        return sum(self._counts)

    @property
    def cut(self) -> int:
        """Return how many rows, from the first, are to be learned from."""
        if self.valid:
            return sum(self._counts[: len(_several(self.paths))])
        return min(max(round(self.rows * (1.0 - self.validation_share)), 1), self.rows - 1)

    @cached_property
    def layouts(self) -> tuple[Layout, ...]:
        """How each file is read."""
        path = None if isinstance(self.mapping, Mapping) else self.mapping
        chosen = (self.mapping,) if isinstance(self.mapping, Mapping) else candidates(None, path)
        return tuple(find_layout(path, tuple(_open(path).schema_arrow.names), chosen) for path in self.files)

    @property
    def key(self) -> list[Any]:
        """Return what the rows depend on, as JSON has it: files, mappings, cut."""
        files = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in self.files]
        mappings = [layout.mapping.model_dump(mode="json") for layout in self.layouts]
        return [files, mappings, self.cut, self.max_bad]

    def chunks(self, begin: float = -np.inf) -> Iterator[Chunk]:
        """Read all rows in order. Raises InputError where time runs backwards, and where too many rows are bad.

        begin: the first row groups are not read where the file says that they end before this time.
        """
        yield from self._read(begin, 1)

    def thinned(self, stride: int) -> Iterator[AuctionLog]:
        """Read every stride-th row, from the first, which costs little; the rules are judged on those rows alone."""
        yield from (chunk.log for chunk in self._read(-np.inf, stride))

    def _read(self, begin: float, stride: int) -> Iterator[Chunk]:
        start, last, bad = 0, -np.inf, pd.DataFrame()
        for path, layout, count in zip(self.files, self.layouts, self._counts, strict=True):
            mapping = _unspread(path, layout.mapping)
            for cells in _texts(path, layout, mapping, Part(self.cut - start, begin, stride)):
                cleaned = clean(cells, mapping)
                if len(cleaned.quarantine):
                    bad = pd.concat([bad, cleaned.quarantine], ignore_index=True)
                    late = bad["line"][bad["rule"] == DISORDER]
                    if len(late) > self.max_bad * -(-self.rows // stride):
                        raise _backwards(path, int(late.iloc[-1]), mapping)
                    check_share(str(self), bad, -(-self.rows // stride), self.max_bad, strict=False)
                time = cleaned.columns["time"]
                if len(time):
                    if time.min() < last:
                        good = np.setdiff1d(cells.index.to_numpy(), cleaned.quarantine["line"].to_numpy())
                        raise _backwards(path, int(good[int(np.argmin(time))]), mapping)
                    last = time.max()
                    yield Chunk(as_log(cleaned, mapping, str(path)), start + int(cells.index[0]) <= self.cut)
            start += count

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        return tuple(_open(path).metadata.num_rows for path in self.files)


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


class Part(NamedTuple):
    """What of a file to read: no table over row cut, no first row groups before the time begin, every stride-th row."""

    cut: int
    begin: float
    stride: int


def _texts(path: Path, layout: Layout, mapping: Mapping, part: Part) -> Iterator[pd.DataFrame]:
    """Yield tables of text, rows numbered from 1."""
    file = _open(path)
    spelling = dict(zip(file.schema_arrow.names, layout.columns, strict=True))
    used = {*mapping.columns.values(), *mapping.features}
    names = [name for name, column in spelling.items() if column in used or mapping.duplicate_rule == "row"]
    try:
        groups, first = _groups(file, spelling, mapping, part.begin)
        for batch in file.iter_batches(ROWS, row_groups=groups, columns=names):
            turn = np.arange(-first % part.stride, len(batch), part.stride)
            kept = batch if part.stride == 1 else batch.take(pa.array(turn))
            texts = pd.DataFrame({spelling[name]: _text(path, name, kept[name]) for name in names})
            texts.index = pd.Index(first + 1 + turn, name="line")
            at = int(np.searchsorted(first + turn, part.cut))
            yield from (piece for piece in (texts.iloc[:at], texts.iloc[at:]) if len(piece))
            first += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _groups(file: pq.ParquetFile, spelling: dict[str, str], mapping: Mapping, begin: float) -> tuple[range, int]:
    """Return the row groups to read, and how many rows are before them."""
    every, skipped = file.metadata, 0
    leaves = [every.schema.column(place).path for place in range(every.num_columns)]
    name = next(name for name, column in spelling.items() if column == mapping.time.column)
    for group in range(every.num_row_groups if np.isfinite(begin) and name in leaves else 0):
        told = every.row_group(group).column(leaves.index(name)).statistics
        if told is None or not told.has_min_max or isinstance(told.max, str | bytes):  # texts may be cut short
            return range(group, every.num_row_groups), skipped
        if not parse_time(pd.Series([str(told.max)]), mapping.time)[0] < begin:
            return range(group, every.num_row_groups), skipped
        skipped += every.row_group(group).num_rows
    return range(every.num_row_groups) if not skipped else range(0), skipped


def _text(path: Path, name: str, column: pa.Array) -> pd.Series[str]:
    """Return the text that says the same, as tables.ParquetTable does; ids are whole numbers or text, never floats."""
    column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    try:
        text = column.cast(pa.large_string()).fill_null("")
        text.validate(full=True)  # Parquet only claims that its text is UTF-8
    except pa.ArrowException as error:
        raise InputError(
            f"{path}: column {name!r}: {column.type} is not one plain value per row: leave it out"
        ) from error
    return pd.Series(text.to_pandas())


def _unspread(path: Path, mapping: Mapping) -> Mapping:
    """Take stamps as they are: a chunk does not know how many rows a stamp has."""
    if mapping.time.resolution > COARSEST:
        raise InputError(
            f"{path}: a time stamp stands for {mapping.time.resolution:g} s (time.resolution in the mapping); a log "
            f"that is read in chunks needs at most {COARSEST:g} s. Read it whole with read_log"
        )
    exact = mapping.time.model_copy(update={"resolution": 0.0})
    return mapping.model_copy(update={"time": exact, "duplicates": mapping.duplicate_rule})


def _backwards(path: Path, row: int, mapping: Mapping) -> InputError:
    return InputError(
        f"{path}: row {row}: column {mapping.time.column!r} is earlier than in rows before it; a log that is read in "
        "chunks must be in the order of time, its files too: sort them first (bidpilot sort FILE --out SORTED)"
    )


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read, is cut off or not a Parquet file: {' '.join(str(error).split())}")


def _several(paths: tuple[Path, ...] | Path) -> tuple[Path, ...]:
    return paths if isinstance(paths, tuple) else (paths,)
