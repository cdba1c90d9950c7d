"""Counting the words of a field, chunk by chunk, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidpilot.ctr.vocabulary import Hashed, Vocabulary, hashes

if TYPE_CHECKING:
    from bidpilot.ctr.words import Words

BITS = 1 << 22
"""Bitmap of what has been seen where words are too many to count: an error of 0.1 % up to some 20 million words."""

PENDING = 1 << 16
"""So many words are gathered at least before they are merged with those counted."""


class WordCount:
    """How often each word of one field occurs.

    limit: so many distinct words are counted exactly, None for all. Beyond it, a field that is to be hashed forgets
    its words and estimates their number (linear counting: Whang et al., TODS 15, 1990); another drops its rarest words
    until half are left, so a word that is rare at first may be counted late, or never (lossy counting: Manku and
    Motwani, VLDB 2002).
    """

    def __init__(self, min_count: int, buckets: int = 0, limit: int | None = None) -> None:
        """Begin with no words."""
        self._min_count, self._buckets, self._limit = min_count, buckets, limit
        self._counts = pd.Series(dtype=np.int64, index=pd.Index([], dtype=object))
        self._new: list[pd.Series[int]] = []
        self._seen: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None

    def add(self, words: Words) -> None:
        """Count the words of more cells."""
        counts = words.counts()
        there = counts > 0
        if self._seen is not None:
            self._mark(words.words[there])
            return
        self._new.append(pd.Series(counts[there], index=pd.Index(words.words[there], dtype=object)))
        if sum(map(len, self._new)) > max(len(self._counts), PENDING):
            self._merge()

    def ids(self) -> Vocabulary | Hashed:
        """Return what a field with these words should know: buckets where it has more words than those."""
        if self._seen is None:
            self._merge()
        if self._seen is not None:
            free = max(int((~self._seen).sum()), 1)
            return Hashed(self._buckets, round(BITS * np.log(BITS / free)))
        words = self._counts.index
        distinct = len(words) - ("" in words)
        if self._buckets and distinct > self._buckets:
            return Hashed(self._buckets, distinct)
        return Vocabulary(tuple(sorted(words[self._counts >= self._min_count])))

    def _merge(self) -> None:
        parts = [self._counts, *self._new]
        self._counts, self._new = pd.concat(parts).groupby(level=0, sort=False).sum(), []
        if self._limit is None or len(self._counts) - ("" in self._counts.index) <= self._limit:
            return
        if self._buckets:
            self._seen = np.zeros(BITS, dtype=np.bool_)
            self._mark(self._counts.index.to_numpy(dtype=object))
            self._counts = self._counts.iloc[:0]
        else:
            self._counts = self._counts.sort_values(ascending=False, kind="stable").iloc[: self._limit // 2]

    def _mark(self, words: np.ndarray[tuple[int], np.dtype[np.object_]]) -> None:
        if self._seen is not None:
            self._seen[hashes(words[words != ""]) % np.uint64(BITS)] = True
