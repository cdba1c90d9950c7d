"""Words -> ids: hashing that is the same everywhere and collides as often as stated; counting in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from bidpilot.ctr import wordcount
from bidpilot.ctr.vocabulary import Hashed, Vocabulary, expected_collisions, ids_from_json
from bidpilot.ctr.wordcount import WordCount
from bidpilot.ctr.words import Words


def texts(*words: str) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    return np.array(words, dtype=object)


def counted(count: WordCount, *cells: str) -> WordCount:
    words, place = np.unique(texts(*cells), return_inverse=True)
    count.add(Words(place, words))
    return count


def test_unseen_words_get_id_0() -> None:
    known = Vocabulary(("a", "é", "\U0001f600"))
    assert known.encode(texts("é", "new", "", "a", "\U0001f600")).tolist() == [2, 0, 0, 1, 3]
    assert known.size == 4


def test_a_missing_word_is_a_bucket_of_its_own() -> None:
    ids = Hashed(8, 1000).encode(texts("", *map(str, range(1000))))
    assert ids[0] == 0
    assert set(ids[1:]) == set(range(1, 9))


def test_hashing_is_known_and_the_same_in_every_process() -> None:
    code = (
        "import numpy as np; from bidpilot.ctr.vocabulary import Hashed;"
        "print(Hashed(10**6, 0).encode(np.array(['a', '10006', 'é'], dtype=object)).tolist(), hash('a'))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    ids, seeds = zip(*(run.rsplit(maxsplit=1) for run in runs), strict=True)
    assert seeds[0] != seeds[1], "the runs hash differently"
    assert ids[0] == ids[1] == "[375548, 316537, 187551]"


@pytest.mark.parametrize(("buckets", "distinct"), [(1_000, 300), (1_000, 5_000), (100_000, 20_000)])
def test_words_collide_as_often_as_stated(buckets: int, distinct: int) -> None:
    hashed = Hashed(buckets, distinct)
    ids = hashed.encode(texts(*(f"user-{i}" for i in range(distinct))))
    shared = float((np.bincount(ids)[ids] > 1).mean())
    assert hashed.collisions == pytest.approx(1.0 - (1.0 - 1.0 / buckets) ** (distinct - 1))
    noise = np.sqrt(hashed.collisions * (1.0 - hashed.collisions) / distinct)
    assert abs(shared - hashed.collisions) < 5.0 * noise  # words that collide do so in pairs: twice the variance


def test_one_word_collides_with_none() -> None:
    assert expected_collisions(10, 1) == 0.0
    assert expected_collisions(10, 0) == 0.0
    assert expected_collisions(1, 2) == 1.0


def test_json_restores_what_is_known() -> None:
    for known in (Vocabulary(()), Vocabulary(("a", "")), Hashed(7, 9)):
        assert ids_from_json(known.to_json()) == known


def test_chunks_count_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordcount, "PENDING", 10)
    cells = np.random.default_rng(0).integers(0, 300, 2000).astype(str).tolist()
    pieces = WordCount(5, limit=300)
    for start in range(0, 2000, 70):
        counted(pieces, *cells[start : start + 70])
    whole = counted(WordCount(5), *cells).ids()
    assert pieces.ids() == whole
    assert 1 < whole.size < 301


def test_rare_words_go_where_there_are_too_many_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordcount, "PENDING", 10)
    count = WordCount(2, limit=50)
    for chunk in range(40):
        counted(count, "common", "common", "often", *(f"once {chunk} {i}" for i in range(20)))
        assert len(count._counts) <= 50 + 50 + 22
    known = count.ids()
    assert known == Vocabulary(("common", "often"))


def test_the_number_of_words_that_are_hashed_is_exact_or_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordcount, "PENDING", 1000)
    few, many = WordCount(2, buckets=100), WordCount(2, buckets=100, limit=100)
    for start in range(0, 60_000, 6_000):
        cells = ("", *(f"w{i}" for i in range(start, start + 9_000)))
        counted(few, *cells)
        counted(many, *cells)
    exact, close = few.ids(), many.ids()
    assert exact == Hashed(100, 63_000)
    assert isinstance(close, Hashed)
    assert close.distinct == pytest.approx(63_000, rel=0.003)
    assert len(many._counts) == 0, "no word is held any more"
