"""The splits of the BARS benchmark: Criteo_x4 and Avazu_x4 as train.csv, valid.csv and test.csv.

Rows of these files are shuffled and have no time, so the number of a row stands for it, in seconds, going on from file
to file: an hour of day would mean nothing, and models are to be fitted with NO_CLOCK. Layouts: Zhu et al., BARS,
SIGIR 2022, and https://github.com/reczoo/Datasets.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from bidpilot.ctr.cleaning import clean
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldSettings
from bidpilot.ctr.mapping import Mapping, TimeColumn, known_mappings
from bidpilot.ctr.quarantine import check_share
from bidpilot.ctr.readers import as_log
from bidpilot.ctr.tables import open_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bidpilot.ctr.log import AuctionLog

PARTS = ("train", "valid", "test")

ROW = "row number"
"""Name of the column that stands for time; the files have none of this name."""

NO_CLOCK = FieldSettings(hour=False)
"""How these logs become fields."""

NUMBERS, WORDS = (tuple(f"{kind}{i}" for i in range(1, count + 1)) for kind, count in (("I", 13), ("C", 26)))

SITES = known_mappings()["avazu"].categorical
"""Avazu's columns, as in the original file."""

CRITEO = Mapping(
    name="criteo_x4",
    time=TimeColumn(column=ROW, unit="s"),
    click="label",
    categorical=WORDS,
    numeric=NUMBERS,
    duplicates="keep",
)
"""Display ads of a week, sampled: 13 counts and 26 hashed columns; label says whether the ad was clicked."""

AVAZU = Mapping(
    name="avazu_x4",
    time=TimeColumn(column=ROW, unit="s"),
    click="click",
    categorical=(*SITES, "hour", "weekday"),
    duplicates="keep",
)
"""Mobile ads of ten days. hour (yyMMddHH in the files) is split into the hour of day and the day of the week."""

HEADERS = MappingProxyType(
    {
        "criteo_x4": ("label", *NUMBERS, *WORDS),
        "avazu_x4": ("id", "click", "hour", *SITES),
    }
)
"""Columns of the files, in any order."""


class Splits(NamedTuple):
    """The three parts of a data set."""

    train: AuctionLog
    valid: AuctionLog
    test: AuctionLog


class Files(NamedTuple):
    """The three parts as Parquet, and how ParquetLog is to read them."""

    train: Path
    valid: Path
    test: Path
    mapping: Mapping


def read_bars(folder: Path) -> Splits:
    """Read train, valid and test (.csv, or packed as .csv.gz) into memory; large ones: see convert_bars.

    Raises InputError where a file is missing, has other columns, or a row whose label or number is none.
    """
    logs, start = [], 0
    for part in PARTS:
        path = _path(folder, part)
        table = open_table(path)
        mapping = _mapping(path, table.header)
        cells = _timed(path, table.cells(table.header), start)
        start += len(cells)
        cleaned = clean(cells, mapping)
        check_share(str(path), cleaned.quarantine, len(cells), 0.0, strict=True)
        logs.append(as_log(cleaned, mapping, str(path)))
    return Splits(*logs)


def convert_bars(folder: Path, out: Path) -> Files:
    """Write train, valid and test as Parquet with row numbers, chunk by chunk, for ParquetLog and fit_parquet.

    Raises InputError where a file is missing, has other columns, or cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    start, paths, mapping = 0, [out / f"{part}.parquet" for part in PARTS], CRITEO
    for part, target in zip(PARTS, paths, strict=True):
        path, partial = _path(folder, part), target.with_suffix(".partial")
        try:
            with _open(path) as reader:
                mapping = _mapping(path, tuple(reader.schema.names))
                start = _copy(path, reader, partial, start)
            partial.replace(target)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: cannot become {target}: {' '.join(str(error).split())}") from error
        finally:
            partial.unlink(missing_ok=True)
    return Files(paths[0], paths[1], paths[2], mapping)


def _path(folder: Path, part: str) -> Path:
    found = [path for path in (folder / f"{part}.csv", folder / f"{part}.csv.gz") if path.is_file()]
    if not found:
        raise InputError(f"{folder}: has no {part}.csv or {part}.csv.gz; expected the three files of a BARS split")
    return found[0]


def _mapping(path: Path, header: tuple[str, ...]) -> Mapping:
    for mapping in (CRITEO, AVAZU):
        if sorted(header) == sorted(HEADERS[mapping.name]):
            return mapping
    shown = ", ".join(header[:40])
    raise InputError(f"{path}: its columns {shown} are neither Criteo_x4 (label, I1..I13, C1..C26) nor Avazu_x4")


def _timed(path: Path, cells: pd.DataFrame, start: int) -> pd.DataFrame:
    """Return the rows numbered, and Avazu's hour, yyMMddHH, split."""
    timed = cells.assign(**{ROW: np.arange(start, start + len(cells)).astype(str)})
    if "hour" in timed:
        days = pd.to_datetime(timed["hour"], format="%y%m%d%H", errors="coerce")
        if days.isna().any():
            at = int(days.isna().to_numpy().argmax())
            raise InputError(f"{path}: line {cells.index[at]}: hour {timed['hour'].iloc[at]!r} is not yyMMddHH")
        timed = timed.assign(hour=timed["hour"].str[6:], weekday=days.dt.day_of_week.astype(str))
    return timed


def _open(path: Path) -> pacsv.CSVStreamingReader:
    """Open as text, every column of it: ids that look like numbers stay as they are written."""
    with pacsv.open_csv(path) as first:
        names = first.schema.names
    convert = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()))
    return pacsv.open_csv(path, pacsv.ReadOptions(block_size=1 << 24), convert_options=convert)


def _copy(path: Path, reader: pacsv.CSVStreamingReader, target: Path, start: int) -> int:
    """Copy all rows, numbered from start; return the number after the last."""
    names = [*reader.schema.names, ROW] + ["weekday"] * ("hour" in reader.schema.names)
    schema = pa.schema([(name, pa.large_string()) for name in names])
    line = 2
    with pq.ParquetWriter(target, schema) as writer:
        for cells in _tables(reader):
            cells.index = pd.RangeIndex(line, line + len(cells))
            writer.write_table(pa.Table.from_pandas(_timed(path, cells, start), schema, preserve_index=False))
            start, line = start + len(cells), line + len(cells)
    return start


def _tables(reader: pacsv.CSVStreamingReader) -> Iterator[pd.DataFrame]:
    for batch in reader:
        yield batch.to_pandas()
