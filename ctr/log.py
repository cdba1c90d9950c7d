"""The auction log: one row is one bid opportunity, checked and in time order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray

SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Column:
    """One column of LOG_SCHEMA: its name, dtype, unit, value where the source has none, and meaning."""

    name: str
    dtype: str
    unit: str
    default: Any
    meaning: str


LOG_SCHEMA = (
    Column("id", "str", "-", "", "identity of the opportunity; used to find duplicates, never a feature"),
    Column("time", "float64", "s", 0.0, "seconds since 1970-01-01, or since midnight of the log's first day"),
    Column("price", "int64", "micro-currency", 0, "lowest bid that wins, where price_known"),
    Column("price_known", "bool", "-", False, "False: only price > bid is known (right-censored)"),
    Column("bid", "int64", "micro-currency", 0, "what the logging buyer bid; 0 where not recorded"),
    Column("won", "bool", "-", True, "the impression was shown; clicks can be seen only then"),
    Column("click", "int8", "0/1", 0, "the impression was clicked"),
    Column("conversion", "int8", "0/1", 0, "the click led to a conversion"),
    Column("value", "float64", "currency", 0.0, "worth of the conversion"),
    Column("conversion_time", "float64", "s", float("nan"), "when the conversion came, as time; NaN: none"),
    Column("reserve", "int64", "micro-currency", 0, "floor price of the slot"),
    Column("segment", "str", "-", "all", "user segment, for targeting"),
    Column("pctr", "float64", "probability", float("nan"), "click prediction that came with the log"),
)
"""Every column outside this table is a feature."""

SCHEMA_NAMES = tuple(column.name for column in LOG_SCHEMA)


@dataclass(frozen=True)
class AuctionLog:
    """A checked, time-ordered auction log.

    frame: one row per opportunity, all columns of LOG_SCHEMA with its dtypes, plus the features.
    categorical, numeric: names of the feature columns (str and float64; a missing number is NaN).
    recorded: names of the LOG_SCHEMA columns that the source really had.
    currency: name of the currency unit, for tables and figures.
    source: where it came from, for messages.
    multi: names of the categorical columns whose cells hold several values, separated by commas.

    Raises InputError when a column is missing or of the wrong dtype, when time is missing or runs backwards, or when a
    conversion comes before its row.
    """

    frame: pd.DataFrame
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    recorded: frozenset[str] = frozenset()
    currency: str = "currency"
    source: str = field(default="log", compare=False)
    multi: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the columns, their dtypes and the order of time."""
        wanted = {column.name: column.dtype for column in LOG_SCHEMA}
        wanted |= dict.fromkeys(self.categorical, "str") | dict.fromkeys(self.numeric, "float64")
        for name, dtype in wanted.items():
            if name not in self.frame.columns:
                raise InputError(f"{self.source}: column {name!r} is missing; the log has {list(self.frame.columns)}")
            if str(self.frame[name].dtype) != dtype:
                raise InputError(f"{self.source}: column {name!r} must be {dtype}, it is {self.frame[name].dtype}")
        for name in self.multi:
            if name not in self.categorical:
                raise InputError(
                    f"{self.source}: {name!r} is to hold several values; name it among the categorical too"
                )
        time = self.frame["time"].to_numpy()
        if not np.isfinite(time).all():
            raise InputError(f"{self.source}: row {int(np.argmin(np.isfinite(time)))} has no time")
        if (np.diff(time) < 0).any():
            raise InputError(f"{self.source}: time runs backwards; sort the rows by time (stable) first")
        early = self.frame["conversion_time"].to_numpy() < time
        if early.any():
            raise InputError(f"{self.source}: row {int(np.argmax(early))} has a conversion_time before its own time")

    def __len__(self) -> int:
        """Return the number of opportunities."""
        return len(self.frame)

    def __contains__(self, name: str) -> bool:
        """Tell whether the source recorded this column of LOG_SCHEMA."""
        return name in self.recorded

    @property
    def hour(self) -> IntArray:
        """(n,) hour of day, 0..23."""
        return (self.frame["time"].to_numpy() // SECONDS_PER_HOUR).astype(np.int64) % 24

    @property
    def day(self) -> IntArray:
        """(n,) number of the calendar day since 1970-01-01 (or since the log's first day)."""
        return (self.frame["time"].to_numpy() // SECONDS_PER_DAY).astype(np.int64)

    def rows(self, keep: BoolArray | IntArray | slice) -> AuctionLog:
        """Return the log of the kept rows; the order must stay that of time."""
        part = self.frame.loc[keep] if isinstance(keep, np.ndarray) and keep.dtype == bool else self.frame.iloc[keep]
        return replace(self, frame=part.reset_index(drop=True))

    def resampled(self, weight: FloatArray, rng: np.random.Generator) -> AuctionLog:
        """Return as many rows, each as often as its weight (n,) says on average; the order stays that of time."""
        return self.rows(np.sort(rng.choice(len(self), len(self), p=weight / weight.sum())))

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, Any],
        *,
        categorical: tuple[str, ...] = (),
        numeric: tuple[str, ...] = (),
        currency: str = "currency",
        source: str = "log",
        multi: tuple[str, ...] = (),
    ) -> AuctionLog:
        """Build a log from the columns at hand: absent ones get their default, rows are sorted by time (stable).

        Raises InputError when the columns' lengths differ.
        """
        n = len(columns["time"])
        for name, values in columns.items():
            if len(values) != n:
                raise InputError(f"{source}: column {name!r} has {len(values)} rows, time has {n}")
        data = {c.name: _series(columns.get(c.name, np.full(n, c.default)), c.dtype) for c in LOG_SCHEMA}
        data |= {name: _series(columns[name], "str") for name in categorical}
        data |= {name: _series(columns[name], "float64") for name in numeric}
        frame = pd.DataFrame(data).sort_values("time", kind="stable", ignore_index=True)
        recorded = frozenset(set(columns) & set(SCHEMA_NAMES))
        return cls(frame, categorical, numeric, recorded, currency, source, multi)


def _series(values: Any, dtype: str) -> pd.Series[Any]:  # noqa: ANN401 - whatever pandas reads as a column
    """Make a column; rows are matched by place, whatever index they come with."""
    return pd.Series(values, dtype=dtype).reset_index(drop=True)
