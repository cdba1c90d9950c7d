"""Log columns -> numbers a network can read: ids of one fused table, and standardised numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.scale import Scale
from bidpilot.ctr.vocabulary import Hashed, Vocabulary, ids_from_json
from bidpilot.ctr.wordcount import WordCount
from bidpilot.ctr.words import DERIVED, HOUR, WEEKDAY, Words, read_words, split_words

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray, IntArray

PAD = -1
"""As embedding.PAD, which this module cannot import without torch."""

COUNTED = 1 << 20
"""Rows whose ids are counted at once: a log on disk is read in pieces."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The features of n rows.

    ids: (n, F) int32, rows of one table of FieldEncoder.size embeddings; no two fields share an id.
    bags: (n, B) int32, the same of fields with many values, next to each other; embedding.PAD where there are fewer.
    numbers: (n, D) float32, standardised value and missing flag of every numeric column.
    """

    ids: npt.NDArray[np.int32]
    bags: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    def rows(self, part: slice | IntArray) -> Fields:
        """Return some rows."""
        return Fields(self.ids[part], self.bags[part], self.numbers[part])

    def counts(self, size: int) -> IntArray:
        """Return how often each id of a table (size,) occurs."""
        total = np.zeros(size, dtype=np.int64)
        for start in range(0, len(self), COUNTED):
            ids, bags = (part[start : start + COUNTED] for part in (self.ids, self.bags))
            total += np.bincount(ids.ravel(), minlength=size) + np.bincount(bags[bags >= 0], minlength=size)
        return total


@dataclass(frozen=True)
class FieldSettings:
    """How columns become fields.

    min_count: rarer ids share the id of the unseen. hour: the hour of day is a field. weekday: so is the day, modulo 7;
    a log whose time starts at midnight of its own first day repeats every 7 days too, but which of the 7 is Monday
    nobody knows, so two such logs do not agree. buckets: a column with more distinct ids in training is hashed into so
    many (0: none is); min_count does not matter there. crosses: pairs of categorical columns (or HOUR, WEEKDAY) whose
    pairs of values become a field of their own. multi: categorical columns with many values in a cell, beside those
    that the log itself names; separator: between the values; most: values that count, the first ones of a cell.
    Raises InputError for figures out of range.
    """

    min_count: int = 2
    hour: bool = True
    weekday: bool = False
    buckets: int = 0
    crosses: tuple[tuple[str, str], ...] = ()
    multi: tuple[str, ...] = ()
    separator: str = ","
    most: int = 32

    def __post_init__(self) -> None:
        """Check the figures; the lists of JSON become tuples again."""
        object.__setattr__(self, "crosses", tuple(tuple(pair) for pair in self.crosses))
        if isinstance(self.multi, str):
            raise InputError(f"fields: multi is a tuple of column names, as ({self.multi!r},); got {self.multi!r}")
        object.__setattr__(self, "multi", tuple(self.multi))
        for name, least in (("min_count", 1), ("buckets", 0), ("most", 1)):
            if getattr(self, name) < least:
                raise InputError(f"fields: {name} must be at least {least}; got {getattr(self, name)}")
        for pair in self.crosses:
            if len(set(pair)) != 2 or len(pair) != 2:  # noqa: PLR2004 - a pair
                raise InputError(f"fields: crosses are pairs of different columns; got {pair}")
        if not self.separator:
            raise InputError("fields: separator must not be empty; it stands between the values of a cell")


@dataclass(frozen=True)
class Field:
    """One field: what it reads and what it knows.

    columns: one, or two that are crossed. width: 0, or values of a cell that are kept (never more than the richest
    cell of training has). separator: between them.
    """

    columns: tuple[str, ...]
    ids: Vocabulary | Hashed
    width: int = 0
    separator: str = ","

    def encode(self, words: Words, offset: int) -> npt.NDArray[np.int32]:
        """Return the ids of n cells in the common table: (n,), or (n, width) padded."""
        if not self.width:
            return (self.ids.encode(words.words) + offset).astype(np.int32)[words.place]
        split = split_words(words, self.separator, self.width)
        bag = np.full((len(words.place), self.width), PAD, dtype=np.int32)
        bag[split.row, split.turn] = (self.ids.encode(split.values.words) + offset)[split.values.place]
        return bag

    def to_json(self) -> Any:  # noqa: ANN401 - a list or a dictionary
        """Return plain JSON values; a column with a vocabulary is the list of its words."""
        known = self.ids.to_json()
        plain = len(self.columns) == 1 and not self.width and isinstance(self.ids, Vocabulary)
        return known if plain else asdict(self) | {"columns": list(self.columns), "ids": known}

    @classmethod
    def from_json(cls, name: str, data: Any) -> Self:  # noqa: ANN401 - what to_json returned
        """Rebuild what to_json returned."""
        if isinstance(data, list):
            return cls((name,), ids_from_json(data))
        return cls(tuple(data["columns"]), ids_from_json(data["ids"]), data["width"], data["separator"])


class FieldCount:
    """What is learned of every field of a training log that comes in chunks.

    limit: distinct words per field that are counted exactly, see WordCount.
    """

    def __init__(self, log: AuctionLog, settings: FieldSettings, limit: int | None = None) -> None:
        """Take the columns from a first chunk, without counting it. Raises InputError where they lack a setting's."""
        self._settings = settings
        many = tuple(name for name in log.categorical if name in (*log.multi, *settings.multi))
        self._check(log, many)
        single = [name for name in log.categorical if name not in many]
        single += [HOUR] * settings.hour + [WEEKDAY] * settings.weekday
        columns = {name: (name,) for name in single} | {f"{a} × {b}": (a, b) for a, b in settings.crosses}
        self._columns: dict[str, tuple[str, ...]] = {**columns, **{name: (name,) for name in many}}
        self._widths = dict.fromkeys(many, 1)
        self._counts = {n: WordCount(settings.min_count, settings.buckets, limit) for n in self._columns}

    def add(self, log: AuctionLog) -> None:
        """Count the words of more rows."""
        for name, columns in self._columns.items():
            words = read_words(log, columns)
            if name in self._widths:
                split = split_words(words, self._settings.separator, self._settings.most)
                self._widths[name] = max(self._widths[name], int(split.turn.max(initial=0)) + 1)
                words = split.values
            self._counts[name].add(words)

    def encoder(self, scales: dict[str, Scale]) -> FieldEncoder:
        """Return the encoder of what was counted."""
        separator = self._settings.separator
        known = {
            name: Field(columns, self._counts[name].ids(), self._widths.get(name, 0), separator)
            for name, columns in self._columns.items()
        }
        return FieldEncoder(known, scales)

    def _check(self, log: AuctionLog, many: tuple[str, ...]) -> None:
        single = set(log.categorical) - set(many) | set(DERIVED)
        crossed = [name for pair in self._settings.crosses for name in pair]
        wrong = {"multi": [name for name in self._settings.multi if name not in log.categorical]}
        wrong["crosses"] = sorted({name for name in crossed if name not in single})
        for setting, names in wrong.items():
            if names:
                raise InputError(
                    f"{log.source}: the setting {setting} of fields names {', '.join(names)}, which is no categorical "
                    f"column{' of one value per cell' * (setting == 'crosses')} of this log; it has: "
                    f"{', '.join(log.categorical) or 'none'}. Map the column, or change the setting"
                )


@dataclass(frozen=True)
class FieldEncoder:
    """What every categorical field knows and the scale of every numeric column.

    Within a field, id 0 stands for what is unseen or rarer than min_count (of a hashed field, for what is missing).
    Fields are laid one after the other in one id space, those of many values last, so one embedding table of `size`
    rows serves all.
    """

    vocabularies: dict[str, Field]
    scales: dict[str, Scale] = field(default_factory=dict)

    @classmethod
    def fit(cls, log: AuctionLog, settings: FieldSettings | None = None) -> FieldEncoder:
        """Learn from training rows only. Raises InputError where the settings name columns that the log lacks."""
        count = FieldCount(log, settings or FieldSettings())
        count.add(log)
        return count.encoder({name: Scale.fit(log.frame[name].to_numpy()) for name in log.numeric})

    @cached_property
    def offsets(self) -> IntArray:
        """(F,) first id of every field of one value, which is also its id for the unseen."""
        return self._starts[: self.fields]

    @property
    def size(self) -> int:
        """Return the number of ids of all fields together."""
        return sum(known.ids.size for known in self.vocabularies.values())

    @property
    def fields(self) -> int:
        """Return F, the number of categorical fields of one value."""
        return len(self.vocabularies) - len(self.bags)

    @property
    def bags(self) -> tuple[int, ...]:
        """Return the widths of the fields with many values."""
        return tuple(known.width for known in self.vocabularies.values() if known.width)

    @property
    def numbers(self) -> int:
        """Return D, the number of numeric inputs: two for every numeric column."""
        return 2 * len(self.scales)

    @property
    def collisions(self) -> dict[str, float]:
        """Return the expected share of training's distinct words that share a bucket, for every hashed field."""
        known = {name: known.ids for name, known in self.vocabularies.items()}
        return {name: ids.collisions for name, ids in known.items() if isinstance(ids, Hashed)}

    def transform(self, log: AuctionLog) -> Fields:
        """Encode every row. Raises InputError when the log lacks a column the encoder was fitted on."""
        self._check(log)
        ids = np.empty((len(log), self.fields), dtype=np.int32)
        bags = np.empty((len(log), sum(self.bags)), dtype=np.int32)
        single = iter(ids.T)
        many = iter(np.split(bags, np.cumsum(self.bags)[:-1], axis=1) if self.bags else ())
        for known, start in zip(self.vocabularies.values(), self._starts.tolist(), strict=True):
            next(many if known.width else single)[...] = known.encode(read_words(log, known.columns), start)
        return Fields(ids, bags, self._numbers(log))

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        words = {name: known.to_json() for name, known in self.vocabularies.items()}
        return {"vocabularies": words, "scales": {name: asdict(scale) for name, scale in self.scales.items()}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Rebuild what to_json returned."""
        known = {name: Field.from_json(name, words) for name, words in data["vocabularies"].items()}
        return cls(known, {name: Scale(**scale) for name, scale in data["scales"].items()})

    @cached_property
    def _starts(self) -> IntArray:
        return np.cumsum([0, *(known.ids.size for known in self.vocabularies.values())])[:-1].astype(np.int64)

    def _numbers(self, log: AuctionLog) -> npt.NDArray[np.float32]:
        numbers = np.zeros((len(log), self.numbers), dtype=np.float32)
        for column, (name, scale) in enumerate(self.scales.items()):
            values: FloatArray = log.frame[name].to_numpy()
            numbers[:, 2 * column] = scale.transform(values)
            numbers[:, 2 * column + 1] = np.isnan(values)
        return numbers

    def _check(self, log: AuctionLog) -> None:
        read = dict.fromkeys(name for known in self.vocabularies.values() for name in known.columns)
        missing = [name for name in read if name not in DERIVED and name not in log.categorical]
        missing += [name for name in self.scales if name not in log.numeric]
        if missing:
            had = ", ".join((*log.categorical, *log.numeric)) or "none"
            raise InputError(
                f"{log.source}: the model was fitted on the feature column{'s' * (len(missing) > 1)} "
                f"{', '.join(missing)}, which this log lacks; its features: {had}. Map these columns, or fit again"
            )


def from_json(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a Config's settings with what JSON lost: tuples became lists, FieldSettings a dictionary."""
    flat: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in settings.items()}
    return flat | {"fields": FieldSettings(**flat["fields"])} if "fields" in flat else flat
