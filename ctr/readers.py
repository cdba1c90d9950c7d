"""One reader for every auction log: a file and a mapping in, a checked AuctionLog and the rows set aside out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr.cleaning import clean, parse_time
from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.mapping import SHIPPED, Mapping, known_mappings, load_mapping
from bidpilot.ctr.quarantine import check_share, rule_counts
from bidpilot.ctr.tables import open_table

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.cleaning import Cleaned

LIKELY_MISTAKE = 0.5
"""Share of columns up to which a file that differs from a known format is taken for that format with a mistake."""


@dataclass(frozen=True)
class LogRead:
    """A log as it was read.

    log: the good rows. quarantine: the bad ones (line from 1, rule, column, value, row), see write_quarantine.
    counts: bad rows by rule. rows_read: all rows of the file. mapping: the one used, without what the file lacks.
    notes: columns ignored and values changed, for people.
    """

    log: AuctionLog
    quarantine: pd.DataFrame
    counts: dict[str, int]
    rows_read: int
    mapping: Mapping
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """How a file is read: its columns in file order, the mapping for them, and whether line 1 is already a row."""

    columns: tuple[str, ...]
    mapping: Mapping
    headerless: bool = False


def read_log(
    path: Path,
    *,
    format_name: str | None = None,
    mapping: Path | None = None,
    max_bad: float = 0.01,
    strict: bool = False,
) -> LogRead:
    """Read an auction log from CSV, TSV (plain, .gz or .bz2) or Parquet.

    format_name: a known format; mapping: a YAML file, see Mapping; with neither the format is recognised by its
    columns. max_bad: share of rows that may break a rule; strict: none may.
    Raises InputError on anything that cannot be read, and on too many bad rows.
    """
    if not 0 <= max_bad <= 1:
        raise InputError(f"--max-bad must be a share from 0 to 1, it is {max_bad}")
    chosen = candidates(format_name, mapping)
    table = open_table(path, chosen[0].delimiter if len(chosen) == 1 else None)
    layout = find_layout(path, table.header, chosen)
    cells = table.cells(layout.columns, headerless=layout.headerless)
    cleaned = clean(cells, layout.mapping)
    check_share(str(path), cleaned.quarantine, len(cells), max_bad, strict=strict)
    log = as_log(cleaned, layout.mapping, str(path))
    notes = cleaned.notes + _ignored(layout)
    return LogRead(log, cleaned.quarantine, rule_counts(cleaned.quarantine), len(cells), layout.mapping, notes)


def as_log(cleaned: Cleaned, mapping: Mapping, source: str) -> AuctionLog:
    """Return the log of cleaned columns."""
    return AuctionLog.from_columns(
        cleaned.columns,
        categorical=mapping.categorical,
        numeric=mapping.numeric,
        currency=mapping.currency,
        source=source,
        multi=mapping.multi,
    )


def candidates(format_name: str | None, mapping: Path | None) -> tuple[Mapping, ...]:
    """Return the mappings that come into question. Raises InputError on two of them, or an unknown format."""
    known = known_mappings()
    if format_name is not None and mapping is not None:
        raise InputError("give --format or --mapping, not both")
    if mapping is not None:
        return (load_mapping(mapping),)
    if format_name is None:
        return tuple(known.values())
    if format_name not in known:
        raise unknown("format", format_name, tuple(known))
    return (known[format_name],)


def find_layout(path: Path, header: tuple[str, ...], chosen: tuple[Mapping, ...]) -> Layout:
    """Find the mapping and the columns that the header (or a first row without header) stands for.

    Raises InputError, naming the columns, where none fits.
    """
    for mapping in chosen:
        if layout := _by_header(path, header, mapping) or _by_first_row(header, mapping):
            return layout
    raise InputError(f"{path}: {_unknown(header, chosen)}")


def _by_header(path: Path, header: tuple[str, ...], mapping: Mapping) -> Layout | None:
    if mapping.layouts:
        columns = mapping.layout_of(header)
        return Layout(columns, mapping.within(columns)) if columns else None
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise InputError(f"{path}: column {doubled[0]!r} is there twice; the file has {_listed(header)}")
    keys = mapping.columns | {f"feature {name}": name for name in mapping.features}
    for key, column in keys.items():
        if column not in header:
            raise InputError(
                f"{path}: column {column!r} ({key} in the mapping) is missing; the file has {_listed(header)}"
            )
    return Layout(header, mapping)


def _by_first_row(first: tuple[str, ...], mapping: Mapping) -> Layout | None:
    """Take line 1 for a row if it has as many cells as a layout, a time where that has it, and no column's name."""
    for layout in mapping.layouts if mapping.headerless else ():
        columns = tuple(layout.split())
        if len(columns) != len(first) or {cell.lower() for cell in first} & {name.lower() for name in columns}:
            continue
        stamp = pd.Series([first[columns.index(mapping.time.column)]], dtype="str")
        if not np.isnan(parse_time(stamp, mapping.time)).any():
            return Layout(columns, mapping.within(columns), headerless=True)
    return None


def _unknown(header: tuple[str, ...], chosen: tuple[Mapping, ...]) -> str:
    """Say how the columns differ from a similar layout, which formats are known, and what to do."""
    layouts = [(mapping.name, layout.split()) for mapping in chosen for layout in mapping.layouts]
    have = {name.lower() for name in header}
    apart = [len({n.lower() for n in names} ^ have) / len({n.lower() for n in names} | have) for _, names in layouts]
    best = int(np.argmin(apart))
    near = _difference(header, *layouts[best]) if len(chosen) == 1 or apart[best] <= LIKELY_MISTAKE else ""
    return (
        f"its columns {_listed(header)} are no known format{near}. "
        f"Known formats: {', '.join(sorted(known_mappings()))}. "
        f"For your own columns write a mapping and give --mapping FILE; copy {SHIPPED / 'example.yaml'}"
    )


def _difference(header: tuple[str, ...], name: str, columns: list[str]) -> str:
    have, wanted = ({column.lower() for column in names} for names in (header, columns))
    lacking = [column for column in columns if column.lower() not in have]
    extra = [column for column in header if column.lower() not in wanted]
    doubled = sorted({column for column in header if header.count(column) > 1})
    kinds = {"missing": lacking, "not expected": extra, "there twice": doubled}
    return f"; nearest is {name}: " + "; ".join(
        f"{kind} {_listed(tuple(which))}" for kind, which in kinds.items() if which
    )


def _ignored(layout: Layout) -> tuple[str, ...]:
    used = {*layout.mapping.columns.values(), *layout.mapping.features}
    ignored = tuple(name for name in layout.columns if name not in used)
    return (f"columns ignored: {', '.join(ignored)}",) if ignored else ()


def _listed(names: tuple[str, ...], limit: int = 40) -> str:
    shown = ", ".join(repr(name[:limit]) for name in names[:limit])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > limit else shown
