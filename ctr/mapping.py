"""Which column of a file is what: the mapping from any auction log to AuctionLog, written in YAML."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import SCHEMA_NAMES
from bidpilot.ctr.yamlfile import read_yaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Name: TypeAlias = Annotated[str, Field(min_length=1)]

SHIPPED = Path(__file__).with_name("mappings")
"""Folder of the mappings of public logs; its example.yaml is the one to copy."""

MICROS_PER_UNIT = MappingProxyType({"cpm": 1_000, "currency": 1_000_000, "micros": 1})
"""Micro-currency per impression in one unit of a money column; CPM is currency per thousand impressions."""

SECONDS_PER_UNIT = MappingProxyType({"us": 1e-6, "ms": 1e-3, "s": 1.0, "hours": 3600.0, "days": 86400.0})
"""Seconds in one unit of a numeric time column."""

FIELDS = (
    *("time", "price", "bid", "reserve", "won", "click", "conversion", "conversion_time", "value", "pctr"),
    *("segment", "id"),
)
"""The keys of a mapping that name one column each."""

OUTCOMES = ("price", "won", "click", "conversion", "conversion_time", "value", "id")
"""Fields whose column cannot be a feature: they are known after the auction only, or identify the row."""


class Spec(BaseModel):
    """A frozen part of a mapping; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeColumn(Spec):
    """How time is written: a strptime format, or a unit ("iso" for ISO 8601 text, else a number since an origin).

    resolution: seconds that one stamp stands for; the rows of a stamp are spread evenly over it in file order (0:
    stamps are exact). order: "check" sets rows aside that run backwards, "sort" says that the source is unsorted.
    utc_offset: hours added to every stamp, for stamps in UTC where the hour of day should be local.
    """

    column: Name
    format: Name | None = None
    unit: Literal["iso", "us", "ms", "s", "hours", "days"] | None = None
    resolution: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    order: Literal["check", "sort"] = "check"
    utc_offset: float = Field(default=0.0, ge=-24.0, le=24.0)

    @model_validator(mode="after")
    def _one_notation(self) -> Self:
        if (self.format is None) == (self.unit is None):
            raise ValueError("give either format (strptime) or unit (iso, us, ms, s, hours, days)")
        return self

    @field_validator("format")
    @classmethod
    def _strptime(cls, text: str) -> str:
        if "%" not in text:
            raise ValueError(f"{text!r} is not a strptime format like %Y-%m-%d %H:%M:%S")
        try:
            pd.to_datetime(pd.Series(["-"]), format=text, errors="coerce")
        except (ValueError, re.error) as error:
            raise ValueError(f"{text!r} is not a strptime format: {error}") from error
        return text


class MoneyColumn(Spec):
    """A column of money and its unit: cpm (currency per 1000 impressions), currency or micros (per impression)."""

    column: Name
    unit: Literal["cpm", "currency", "micros"]


class Mapping(Spec):
    """Which column is what. Columns that are not named are ignored.

    price: the lowest bid that wins. won: 0/1; without it every row was shown at a known price; a lost row may leave
    its price empty, and then needs a bid. counts: click and conversion are counts, above 0 means 1. conversion_time:
    when the conversion came, written as time is; read where there is a conversion only.
    duplicates: "id" sets rows of an id seen before aside, "row" rows equal in every column, "keep" none; by default
    id where one is mapped, else row where stamps are exact (a table by the hour has equal rows of different people).
    layouts: the column lists of a known format, each separated by blanks; a file is recognised by them in any order
    and case, and columns that its own layout lacks are not asked for. headerless: such files may come without header.
    multi: those of the categorical whose cells hold several values, separated by commas.
    delimiter: of a text file; by default the first of tab, comma, semicolon and bar that its first line has.
    """

    name: Name
    time: TimeColumn
    price: MoneyColumn | None = None
    bid: MoneyColumn | None = None
    reserve: MoneyColumn | None = None
    won: Name | None = None
    click: Name | None = None
    conversion: Name | None = None
    conversion_time: Name | None = None
    value: MoneyColumn | None = None
    pctr: Name | None = None
    segment: Name | None = None
    id: Name | None = None
    categorical: tuple[Name, ...] = ()
    numeric: tuple[Name, ...] = ()
    multi: tuple[Name, ...] = ()
    currency: Name = "currency"
    counts: bool = False
    duplicates: Literal["id", "row", "keep"] | None = None
    layouts: tuple[Name, ...] = ()
    headerless: bool = False
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None

    @property
    def columns(self) -> dict[str, str]:
        """Column of each mapped field: {"price": "payprice", ...}."""
        parts = {field: getattr(self, field) for field in FIELDS}
        return {field: part if isinstance(part, str) else part.column for field, part in parts.items() if part}

    @property
    def features(self) -> tuple[str, ...]:
        """Names of all feature columns."""
        return self.categorical + self.numeric

    @property
    def duplicate_rule(self) -> str:
        """What counts as a duplicate: "id", "row" or "keep"."""
        by_default = "id" if self.id else "keep" if self.time.resolution else "row"
        return self.duplicates or by_default

    def layout_of(self, header: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the header in the spelling of the layout that has the same columns, None where none has."""
        for layout in self.layouts:
            spelling = {name.lower(): name for name in layout.split()}
            lowered = [name.lower() for name in header]
            if sorted(lowered) == sorted(spelling):
                return tuple(spelling[name] for name in lowered)
        return None

    def within(self, columns: tuple[str, ...]) -> Mapping:
        """Return the mapping without the fields and features that these columns lack."""
        absent = {field: None for field, column in self.columns.items() if column not in columns}
        kinds = ("categorical", "numeric", "multi")
        features = {kind: tuple(name for name in getattr(self, kind) if name in columns) for kind in kinds}
        return self.model_copy(update=absent | features)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        needs = {"won": ("price", "bid"), "conversion": ("click",), "value": ("conversion",)}
        needs |= {"conversion_time": ("conversion",)}
        needs |= {"headerless": ("layouts",)} | ({"duplicates": ("id",)} if self.duplicates == "id" else {})
        for key, others in needs.items():
            lacking = [other for other in others if getattr(self, key) and not getattr(self, other)]
            if lacking:
                raise ValueError(f"{key} needs {lacking[0]} to be given too")
        if not (self.price or self.click):
            raise ValueError("give price or click: without either there is nothing to learn")
        for column in (*self.columns.values(), *self.features) if self.layouts else ():
            if not any(column in layout.split() for layout in self.layouts):
                raise ValueError(f"no layout has the column {column!r}")
        return self

    @model_validator(mode="after")
    def _features_are_features(self) -> Self:
        outcome = {self.columns[field]: field for field in OUTCOMES if field in self.columns}
        for name in self.features:
            if name in outcome:
                raise ValueError(f"feature {name!r} is also {outcome[name]}: not known when the bid is made")
            if name in SCHEMA_NAMES and not (name == self.segment == "segment" and name in self.categorical):
                raise ValueError(f"feature {name!r} has the name of a column of the log; rename it in the file")
            if self.features.count(name) > 1:
                raise ValueError(f"feature {name!r} is given twice")
        for name in self.multi:
            if name not in self.categorical:
                raise ValueError(f"multi: {name!r} is not among the categorical features; name it there too")
        return self


def load_mapping(path: Path) -> Mapping:
    """Read a mapping from a YAML file; its name is the file's.

    Raises InputError, naming the key, on unknown keys and unusable values.
    """
    values = {key: value for key, value in read_yaml(path).items() if value is not None}
    try:
        return Mapping.model_validate({"name": path.stem} | values)
    except ValidationError as error:
        raise InputError(f"{path}: {'; '.join(map(_explain, error.errors()))}") from error


@cache
def known_mappings() -> dict[str, Mapping]:
    """Return the shipped mappings of public logs by name, in the order of their names."""
    loaded = (load_mapping(path) for path in sorted(SHIPPED.glob("*.yaml")))
    return {mapping.name: mapping for mapping in loaded if mapping.layouts}


def _explain(error: ErrorDetails) -> str:
    """Say in one phrase where a mapping is wrong and what was expected."""
    key, kind = ".".join(map(str, error["loc"])), error["type"]
    if kind == "extra_forbidden":
        owner = Mapping if len(error["loc"]) == 1 else TimeColumn if error["loc"][0] == "time" else MoneyColumn
        return f"unknown key {key!r}; known: {', '.join(sorted(owner.model_fields))}"
    if kind == "missing":
        return f"key {key!r} is missing"
    if kind == "model_type":
        return f"key {key!r}: expected {{column: NAME, unit: UNIT}}, got {error['input']!r}"
    if kind == "value_error":
        return ": ".join(filter(None, (key, error["msg"].removeprefix("Value error, "))))
    return f"key {key!r}: {error['msg']}, got {error['input']!r}"
