"""Log columns -> numbers a network can read: ids of one fused table, and standardised numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray, IntArray

HOUR = "hour of day"
"""Name of the field derived from the time; its space keeps it apart from the columns of most logs."""

CLIP = 5.0
"""Standardised numbers end here, so that one outlier cannot move a prediction without bound."""


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
        bags = self.bags[self.bags >= 0]
        return np.bincount(self.ids.ravel(), minlength=size) + np.bincount(bags, minlength=size)


@dataclass(frozen=True)
class FieldSettings:
    """How columns become fields. min_count: rarer ids share the id of the unseen. hour: the hour of day is a field."""

    min_count: int = 2
    hour: bool = True


@dataclass(frozen=True)
class Scale:
    """How one numeric column is standardised: signed log1p of x / unit, less mean, over deviation."""

    unit: float
    mean: float
    deviation: float

    @classmethod
    def fit(cls, values: FloatArray) -> Self:
        """Learn from the finite values (n,); the unit is their median magnitude, so that units cancel."""
        known = values[np.isfinite(values)]
        sizes = np.abs(known[known != 0.0])
        unit = float(np.median(sizes)) if sizes.size else 1.0
        squeezed = cls(unit, 0.0, 1.0).squeeze(known)
        deviation = float(squeezed.std()) if known.size else 0.0
        return cls(unit, float(squeezed.mean()) if known.size else 0.0, deviation if deviation > 0.0 else 1.0)

    def squeeze(self, values: FloatArray) -> FloatArray:
        """Return sign(x) log(1 + |x| / unit), which tames heavy tails and keeps zero."""
        return np.asarray(np.sign(values) * np.log1p(np.abs(values) / self.unit))

    def transform(self, values: FloatArray) -> FloatArray:
        """Standardise (n,) and clip; a missing value becomes the mean, 0."""
        z = (self.squeeze(values) - self.mean) / self.deviation
        return np.asarray(np.where(np.isnan(values), 0.0, np.clip(z, -CLIP, CLIP)))


@dataclass(frozen=True)
class FieldEncoder:
    """The vocabulary of every categorical field and the scale of every numeric column.

    Within a field, id 0 stands for what is unseen or rarer than min_count. Fields are laid one after the
    other in one id space, so one embedding table of `size` rows serves all.
    """

    vocabularies: dict[str, tuple[str, ...]]
    scales: dict[str, Scale]

    @classmethod
    def fit(cls, log: AuctionLog, settings: FieldSettings | None = None) -> Self:
        """Learn from training rows only; ids seen fewer than min_count times share id 0 with the unseen."""
        settings = settings or FieldSettings()
        names = (*log.categorical, HOUR) if settings.hour else log.categorical
        vocabularies = {}
        for name in names:
            counts = _column(log, name).value_counts()
            vocabularies[name] = tuple(sorted(counts.index[counts >= settings.min_count]))
        return cls(vocabularies, {name: Scale.fit(log.frame[name].to_numpy()) for name in log.numeric})

    @cached_property
    def offsets(self) -> IntArray:
        """(F,) first id of every field, which is also its id for the unseen."""
        sizes = [len(words) + 1 for words in self.vocabularies.values()]
        return np.cumsum([0, *sizes])[:-1].astype(np.int64)

    @property
    def size(self) -> int:
        """Return the number of ids of all fields together."""
        return sum(len(words) + 1 for words in self.vocabularies.values())

    @property
    def fields(self) -> int:
        """Return F, the number of categorical fields."""
        return len(self.vocabularies)

    @property
    def bags(self) -> tuple[int, ...]:
        """Return the widths of the fields with many values."""
        return ()

    @property
    def numbers(self) -> int:
        """Return D, the number of numeric inputs: two for every numeric column."""
        return 2 * len(self.scales)

    def transform(self, log: AuctionLog) -> Fields:
        """Encode every row. Raises InputError when the log lacks a column the encoder was fitted on."""
        self._check(log)
        n = len(log)
        ids = np.empty((n, self.fields), dtype=np.int32)
        for column, (name, index) in enumerate(self._indexes.items()):
            ids[:, column] = index.get_indexer(pd.Index(_column(log, name))) + 1 + self.offsets[column]
        numbers = np.zeros((n, self.numbers), dtype=np.float32)
        for column, (name, scale) in enumerate(self.scales.items()):
            values = log.frame[name].to_numpy()
            numbers[:, 2 * column] = scale.transform(values)
            numbers[:, 2 * column + 1] = np.isnan(values)
        return Fields(ids, np.zeros((n, 0), dtype=np.int32), numbers)

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        words = {name: list(words) for name, words in self.vocabularies.items()}
        return {"vocabularies": words, "scales": {name: asdict(scale) for name, scale in self.scales.items()}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Rebuild what to_json returned."""
        words = {name: tuple(words) for name, words in data["vocabularies"].items()}
        return cls(words, {name: Scale(**scale) for name, scale in data["scales"].items()})

    @cached_property
    def _indexes(self) -> dict[str, pd.Index]:
        return {name: pd.Index(words, dtype="str") for name, words in self.vocabularies.items()}

    def _check(self, log: AuctionLog) -> None:
        missing = [name for name in self.vocabularies if name != HOUR and name not in log.categorical]
        missing += [name for name in self.scales if name not in log.numeric]
        if missing:
            had = ", ".join((*log.categorical, *log.numeric)) or "none"
            raise InputError(
                f"{log.source}: the model was fitted on the feature column{'s' * (len(missing) > 1)} "
                f"{', '.join(missing)}, which this log lacks; its features: {had}. Map these columns, or fit again"
            )


def _column(log: AuctionLog, name: str) -> pd.Series[str]:
    """Return a categorical field as text; a missing value is the word ''."""
    values = pd.Series(log.hour).astype(str) if name == HOUR else log.frame[name]
    return values.fillna("").astype("str")
