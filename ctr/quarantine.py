"""Rows set aside: which rule each broke, how many are too many, and the file that keeps them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.types import BoolArray

HINTS = {
    "time out of order": "if the file is not in the order of time, say time: {order: sort} in the mapping",
    "duplicate row": "if equal rows are different people, map an id or say duplicates: keep in the mapping",
    "time unreadable": "see the time key of the mapping",
}
SHOWN = 80
"""Characters of a bad value that a message shows."""


class Verdicts:
    """The first rule that each of n rows breaks; a rule belongs to the column that it reads."""

    def __init__(self, rows: int) -> None:
        """Begin with n rows that break no rule."""
        self._first = np.full(rows, -1, dtype=np.int64)
        self._rules: list[tuple[str, str]] = []

    @property
    def good(self) -> BoolArray:
        """(n,) rows that break no rule so far."""
        return self._first < 0

    def add(self, rule: str, column: str, bad: BoolArray) -> None:
        """Apply one more rule; a row that already broke an earlier one stays with that."""
        self._first[bad & self.good] = len(self._rules)
        self._rules.append((rule, column))

    def frame(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Table of the bad rows in file order: line, rule, column, value, row (the whole row as CSV)."""
        places = np.flatnonzero(~self.good)
        broken, bad = self._first[places], cells.iloc[places]
        values = np.full(len(places), "", dtype=object)
        for number in np.unique(broken):
            if column := self._rules[number][1]:
                values[broken == number] = bad.loc[broken == number, column]
        table = {
            "line": bad.index.to_numpy(dtype=np.int64),
            "rule": [self._rules[number][0] for number in broken],
            "column": [self._rules[number][1] for number in broken],
            "value": values,
            "row": [_as_csv(row) for row in bad.itertuples(index=False, name=None)],
        }
        return pd.DataFrame(table)


def check_share(source: str, quarantine: pd.DataFrame, rows: int, max_bad: float, *, strict: bool) -> None:
    """Refuse a file with too many bad rows (or, if strict, any), and one without a good row.

    Raises InputError that names the first bad row and the counts.
    """
    bad = len(quarantine)
    if not bad or (bad <= max_bad * rows and not strict and bad < rows):
        return
    first, counts = quarantine.iloc[0], rule_counts(quarantine)
    allowed = "none may (--strict)" if strict else f"at most {100 * max_bad:g} % may (--max-bad)"
    allowed = allowed if bad < rows else "no row is left"
    found = f"column {first['column']!r}, value {str(first['value'])[:SHOWN]!r}" if first["column"] else "whole row"
    summary = ", ".join(f"{rule}: {count:,}" for rule, count in counts.items())
    hints = "".join(f"; {hint}" for rule, hint in HINTS.items() if rule in counts)
    raise InputError(
        f"{source}: {bad:,} of {rows:,} rows break a rule, {allowed}; "
        f"first: line {first['line']}, {found}: {first['rule']} ({summary}){hints}"
    )


def rule_counts(quarantine: pd.DataFrame) -> dict[str, int]:
    """Count the rows by the rule they broke, most frequent first."""
    return {str(rule): int(count) for rule, count in quarantine["rule"].value_counts().items()}


def write_quarantine(quarantine: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV, whole or not at all; text that a spreadsheet would run as a formula gets a leading '.

    Raises InputError when the file cannot be written.
    """
    table = quarantine.assign(**{name: _inert(quarantine[name]) for name in quarantine.columns if name != "line"})
    write_atomically(path, table.to_csv(index=False, lineterminator="\n"))


def _inert(text: pd.Series[str]) -> pd.Series[str]:
    text = text.astype("str")
    return text.mask(text.str.match(r"[=+\-@\t\r\0]"), "'" + text)


def _as_csv(row: tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(row)
    return line.getvalue()
