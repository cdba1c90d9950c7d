"""Words of one field -> ids: a vocabulary where words are few, hashing into buckets where they are many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.types import IntArray

    Texts = npt.NDArray[np.object_]

KEY = "bidpilot: fields"
"""Key of the hash, 16 bytes: it belongs to every saved model, so it never changes."""


class Ids(Protocol):
    """What a field knows about its words."""

    @property
    def size(self) -> int:
        """Return the number of ids, 0..size-1."""

    def encode(self, words: Texts) -> IntArray:
        """Return the ids (u,) of words (u,)."""

    def to_json(self) -> Any:  # noqa: ANN401 - a list or a dictionary
        """Return it as plain JSON values; ids_from_json reads them."""


@dataclass(frozen=True)
class Vocabulary:
    """Words with an id each, from 1 on; 0 stands for the unseen and the rare."""

    words: tuple[str, ...]

    @property
    def size(self) -> int:
        """Return the number of ids."""
        return len(self.words) + 1

    def encode(self, words: Texts) -> IntArray:
        """Return the ids (u,) of words (u,)."""
        return np.asarray(self._index.get_indexer(pd.Index(words, dtype=object)) + 1, dtype=np.int64)

    def to_json(self) -> list[str]:
        """Return the words."""
        return list(self.words)

    @cached_property
    def _index(self) -> pd.Index:
        return pd.Index(self.words, dtype=object)


@dataclass(frozen=True)
class Hashed:
    """Words share buckets 1..buckets by a hash that is the same on every machine; 0 is the missing word "".

    A word that training never saw falls into a bucket too. distinct: words in training, of which collisions tells.
    """

    buckets: int
    distinct: int

    @property
    def size(self) -> int:
        """Return the number of ids."""
        return self.buckets + 1

    @property
    def collisions(self) -> float:
        """Return the expected share of training's distinct words that share their bucket with another."""
        return expected_collisions(self.buckets, self.distinct)

    def encode(self, words: Texts) -> IntArray:
        """Return the ids (u,) of words (u,)."""
        bucket = (hashes(words) % np.uint64(self.buckets)).astype(np.int64)
        return np.asarray(np.where(words == "", 0, bucket + 1), dtype=np.int64)

    def to_json(self) -> dict[str, int]:
        """Return the figures."""
        return {"buckets": self.buckets, "distinct": self.distinct}


def hashes(words: Texts) -> npt.NDArray[np.uint64]:
    """Return a hash (u,) of words (u,): SipHash under a fixed key, by pandas.util.hash_array."""
    return np.asarray(pd.util.hash_array(words, hash_key=KEY, categorize=False), dtype=np.uint64)


def expected_collisions(buckets: int, distinct: int) -> float:
    """Return 1 - (1 - 1/b)^(u - 1): how likely one of u words meets another in one of b buckets."""
    return 1.0 - (1.0 - 1.0 / buckets) ** max(distinct - 1, 0)


def ids_from_json(data: Any) -> Vocabulary | Hashed:  # noqa: ANN401 - what to_json returned
    """Rebuild what to_json returned: a list of words is a vocabulary."""
    return Vocabulary(tuple(data)) if isinstance(data, list) else Hashed(**data)
