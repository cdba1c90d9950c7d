"""Files to tables of text: CSV and TSV (plain, gzip, bzip2) and Parquet, with nothing guessed about any cell."""

from __future__ import annotations

import bz2
import csv
import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

PACKED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress}
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
DELIMITERS = "\t,;|"
LINE_LIMIT = 1 << 20


class Table(Protocol):
    """A file whose header is known and whose cells can be read as text."""

    header: tuple[str, ...]

    def cells(self, columns: tuple[str, ...], *, headerless: bool = False) -> pd.DataFrame:
        """Read all rows as text under these column names, indexed by line (Parquet: row), from 1.

        A missing cell is "". Raises InputError when there are no rows or when the rows are not a table.
        """


def open_table(path: Path, delimiter: str | None = None) -> Table:
    """Open a file by its content, whatever its suffix; delimiter: None finds it in the first line.

    Raises InputError on a file that is absent, empty, cut off, not UTF-8 text, or whose header doubles a column.
    """
    data = _content(path)
    if data.startswith(b"PAR1"):
        return ParquetTable(path, data)
    if path.suffix == ".parquet":
        raise InputError(f"{path}: is not a Parquet file (it does not begin with PAR1)")
    return TextTable(path, _text(path, data), delimiter)


@dataclass(init=False)
class TextTable:
    """Delimited text, header in line 1; header holds the cells of that line."""

    header: tuple[str, ...]

    def __init__(self, path: Path, data: bytes, delimiter: str | None) -> None:
        """Split the first line off; data: UTF-8 bytes that do not end in a line break."""
        first, _, self._rows = data.partition(b"\n")
        self._path, self._data, line = path, data, first.decode()
        self._delimiter = delimiter or next((mark for mark in DELIMITERS if mark in line), ",")
        try:
            self.header = tuple(name.strip() for name in next(csv.reader([line], delimiter=self._delimiter)))
        except csv.Error as error:
            raise InputError(f"{path}: line 1 is not a header: {error}") from error

    def cells(self, columns: tuple[str, ...], *, headerless: bool = False) -> pd.DataFrame:
        """Read all rows; see Table."""
        rows = self._data if headerless else self._rows
        if not rows:
            raise InputError(f"{self._path}: has a header and no rows; expected at least one row below line 1")
        ragged: list[pacsv.InvalidRow] = []
        table = self._parse(rows, columns, ragged)
        first_line = 1 if headerless else 2
        for name in columns if b'"' in rows else ():
            broken = pc.match_substring(table[name], "\n").to_numpy()
            if broken.any():
                raise self._open_quote(int(broken.argmax()) + first_line)
        if ragged:
            line, text, found = ragged[0].number - 1 + first_line, ragged[0].text, ragged[0].actual_columns
            if "\n" in (text or ""):
                raise self._open_quote(line)
            raise InputError(f"{self._path}: line {line} has {found} cells; expected {len(columns)}")
        frame: pd.DataFrame = table.to_pandas()
        frame.index = pd.RangeIndex(first_line, first_line + len(frame), name="line")
        return frame

    def _open_quote(self, line: int) -> InputError:
        return InputError(f"{self._path}: line {line}: a quote is opened and not closed on that line")

    def _parse(self, rows: bytes, columns: tuple[str, ...], ragged: list[pacsv.InvalidRow]) -> pa.Table:
        def set_aside(row: pacsv.InvalidRow) -> str:
            ragged.append(row)
            return "skip"

        parse = pacsv.ParseOptions(
            delimiter=self._delimiter,
            newlines_in_values=b'"' in rows,
            ignore_empty_lines=False,
            invalid_row_handler=set_aside,
        )
        # one thread: only then does a ragged row know its number
        read = pacsv.ReadOptions(column_names=list(columns), use_threads=False, block_size=LINE_LIMIT)
        convert = pacsv.ConvertOptions(column_types=dict.fromkeys(columns, pa.large_string()))
        try:
            return pacsv.read_csv(pa.BufferReader(rows), read, parse, convert)
        except pa.ArrowException as error:
            reason = f"a quote is not closed, or a line is longer than {LINE_LIMIT:,} bytes"
            reason = reason if "straddling" in str(error) else _one_line(error)
            raise InputError(f"{self._path}: is not a table of delimited text: {reason}") from error


@dataclass(init=False)
class ParquetTable:
    """A Parquet file; its values are turned into the text that says the same."""

    header: tuple[str, ...]

    def __init__(self, path: Path, data: bytes) -> None:
        """Read the schema."""
        self._path = path
        try:
            self._file = pq.ParquetFile(pa.BufferReader(data))
            self.header = tuple(self._file.schema_arrow.names)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._broken(error) from error

    def cells(self, columns: tuple[str, ...], *, headerless: bool = False) -> pd.DataFrame:
        """Read all rows; see Table. A column of lists or structs is an error."""
        del headerless  # a Parquet file always names its columns
        try:
            table = self._file.read().rename_columns(list(columns))
            table.validate(full=True)  # Parquet only claims that its text is UTF-8
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._broken(error) from error
        if not len(table):
            raise InputError(f"{self._path}: has no rows; expected at least one")
        frame = pd.DataFrame({name: self._as_text(name, table[name]).to_pandas() for name in columns})
        frame.index = pd.RangeIndex(1, 1 + len(frame), name="line")
        return frame

    def _as_text(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
        try:
            return column.cast(pa.large_string()).fill_null("")
        except pa.ArrowException as error:
            message = f"{self._path}: column {name!r}: {column.type} is not one plain value per row; leave it out"
            raise InputError(message) from error

    def _broken(self, error: Exception) -> InputError:
        return InputError(f"{self._path}: is cut off or not a Parquet file: {_one_line(error)}")


def _content(path: Path) -> bytes:
    """Read and unpack the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; expected a CSV, TSV or Parquet file") from error
    except ValueError as error:
        raise InputError(f"{path!r}: is not a file name: {error}") from error
    unpack = next((unpack for mark, unpack in PACKED.items() if data.startswith(mark)), bytes)
    try:
        data = unpack(data)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: is cut off or damaged: {error}; make or download it again") from error
    if not data:
        raise InputError(f"{path}: is empty; expected a header and rows")
    return data


def _text(path: Path, data: bytes) -> bytes:
    """Return checked UTF-8 text with line feeds only and no line break at its end."""
    if data.startswith(UTF16_MARKS):
        raise InputError(f"{path}: is UTF-16 text; save it as UTF-8")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise InputError(f"{path}: line {line} holds a NUL byte: not UTF-8 text (UTF-16, or not text at all?)")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise InputError(f"{path}: line {line}: {found} is not UTF-8; save the file as UTF-8") from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data
    data = data.rstrip(b"\n")
    if not data.strip():
        raise InputError(f"{path}: is empty; expected a header and rows")
    return data


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
