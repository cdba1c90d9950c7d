"""A log's columns as words: every cell names one word, or several where a field has many values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import IntArray
    from bidpilot.ctr.vocabulary import Texts

HOUR = "hour of day"
"""Name of the field derived from the time; its space keeps it apart from the columns of most logs."""

WEEKDAY = "day of week"
"""Name of the field of days, modulo 7."""

DERIVED = (HOUR, WEEKDAY)

DAYS, HOURS = 7, 24


class Words(NamedTuple):
    """n cells by their distinct words. place: (n,) of each cell among the words. words: (u,) text, each once."""

    place: IntArray
    words: Texts

    def counts(self) -> IntArray:
        """Return how many cells have each word, (u,)."""
        return np.bincount(self.place, minlength=len(self.words))


class Split(NamedTuple):
    """The values of n cells, laid out one after the other.

    row: (m,) cell that a value belongs to. turn: (m,) its place in the cell, from 0. values: of m cells.
    """

    row: IntArray
    turn: IntArray
    values: Words


def read_words(log: AuctionLog, columns: tuple[str, ...]) -> Words:
    """Return the words of one column, or of the pairs of two; a missing value is the word ""."""
    words = _column(log, columns[0])
    for name in columns[1:]:
        words = _crossed(words, _column(log, name))
    return words


def split_words(cells: Words, separator: str, most: int) -> Split:
    """Split every cell at the separator and keep its first `most` values; blanks around values are dropped.

    A cell without values has none. Equal values of a cell all count.
    """
    lists = pc.split_pattern(pa.array(cells.words, pa.large_string()), separator)
    owner = np.asarray(pc.list_parent_indices(lists))
    text = pc.utf8_trim_whitespace(pc.list_flatten(lists)).to_numpy(zero_copy_only=False)
    there = text != ""
    owner, (place, words) = owner[there], pd.factorize(text[there])
    count = np.bincount(owner, minlength=len(cells.words))
    first = np.cumsum(count) - count
    held = np.minimum(count, most)[cells.place]
    row = np.repeat(np.arange(len(cells.place)), held)
    turn = np.arange(len(row)) - np.repeat(np.cumsum(held) - held, held)
    return Split(row, turn, Words(place[first[cells.place[row]] + turn].astype(np.int64), words))


def _column(log: AuctionLog, name: str) -> Words:
    if name in DERIVED:
        number, count = (log.hour, HOURS) if name == HOUR else (log.day % DAYS, DAYS)
        return Words(number, np.arange(count).astype(str).astype(object))
    place, words = pd.factorize(log.frame[name].fillna("").astype("str"))
    return Words(place.astype(np.int64), np.asarray(words, dtype=object))


def _crossed(left: Words, right: Words) -> Words:
    """Return the pairs as words; the length of the left one keeps ("a", "bc") and ("ab", "c") apart."""
    pair, place = np.unique(left.place * len(right.words) + right.place, return_inverse=True)
    first, second = left.words[pair // len(right.words)], right.words[pair % len(right.words)]
    size = pd.Series(first, dtype=object).str.len().astype(str).to_numpy(dtype=object)
    return Words(place, size + ":" + first + second)
