"""A Parquet file in the order of time, by DuckDB, which sorts what does not fit in memory on disk."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bidpilot.ctr.errors import InputError

ROW_GROUP = 1 << 17


def sort_parquet(path: Path, out: Path, column: str, memory: float) -> int:
    """Write the rows of a file in the order of a column (rows of one time stay in their order); return how many.

    memory: GB to sort in. out appears whole or not at all. Raises InputError where DuckDB is not installed, the file or
    the column is not there, or out is the file itself.
    """
    if find_spec("duckdb") is None:
        raise InputError("sorting needs DuckDB: pip install 'bidpilot[duckdb]'; or sort the file by other means")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read or is not a Parquet file: {' '.join(str(error).split())}") from error
    if column not in file.schema_arrow.names:
        raise InputError(f"{path}: there is no column {column!r}; the file has {', '.join(file.schema_arrow.names)}")
    if out.resolve() == path.resolve():
        raise InputError(f"{out}: is the file itself; name another file to write to")
    import duckdb

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".sort-") as folder:
        part = Path(folder) / "sorted.parquet"
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{round(memory * 1000)}MB",
            "temp_directory": str(Path(folder) / "spill"),
            "threads": 1,
        }
        with duckdb.connect(config=settings) as base:
            name = '"' + column.replace('"', '""') + '"'
            source = f"read_parquet({_text(path)}, file_row_number = true)"
            rows = f"SELECT * EXCLUDE (file_row_number) FROM {source} ORDER BY {name}, file_row_number"  # noqa: S608 - quoted
            base.execute(
                f"COPY ({rows}) TO {_text(part)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
            )
        part.replace(out)
    return int(file.metadata.num_rows)


def _text(path: Path) -> str:
    """Write a path as SQL text."""
    return "'" + str(path).replace("'", "''") + "'"
