"""Logs larger than memory: the same bytes as in memory, the same network, and little memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bidpilot.ctr import chunks, loop, streaming
from bidpilot.ctr.chunks import ParquetLog
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder, FieldSettings
from bidpilot.ctr.loop import batches
from bidpilot.ctr.mapping import Mapping
from bidpilot.ctr.models.deepfm import Config
from bidpilot.ctr.readers import read_log
from bidpilot.ctr.streaming import encode_parquet, fit_parquet
from bidpilot.ctr.training import rows_of

MAPPING = """
time: {column: ts, unit: s}
click: clicks
conversion: sales
categorical: [site, user, tags]
multi: [tags]
numeric: [age]
duplicates: keep
"""
SETTINGS = FieldSettings(weekday=True, crosses=(("site", "user"),), most=2)


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    clicks = rng.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "ts": np.sort(rng.integers(0, 40 * 86_400, rows)),
            "clicks": clicks,
            "sales": clicks * rng.integers(0, 2, rows),
            "site": rng.choice(["a", "b", ""], rows),
            "user": 16_777_216 + rng.integers(0, 9, rows),
            "tags": rng.choice(["", "x", "y,x", "z, x,y"], rows),
            "age": np.where(rng.random(rows) < 0.1, np.nan, rng.lognormal(3.0, 1.0, rows)),
            "unused": [[1, 2]] * rows,
        }
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small logs into many chunks and windows."""
    monkeypatch.setattr(chunks, "ROWS", 77)
    monkeypatch.setattr(loop, "BLOCK", 16)
    monkeypatch.setattr(loop, "WINDOW", 4)


def written(folder: Path, frame: pd.DataFrame, name: str = "log.parquet", mapping: str = MAPPING) -> ParquetLog:
    frame.to_parquet(folder / name, row_group_size=200, index=False)
    (folder / "mine.yaml").write_text(mapping, encoding="utf-8")
    return ParquetLog((folder / name,), folder / "mine.yaml")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("event", ["click", "conversion"])
def test_arrays_on_disk_are_those_in_memory(tmp_path: Path, event: str) -> None:
    log = written(tmp_path, table(1000))
    encoder, train, valid = encode_parquet(log, SETTINGS, event, tmp_path / "cache")
    frame = tmp_path / "plain.parquet"
    table(1000).drop(columns="unused").to_parquet(frame)
    whole = read_log(frame, mapping=tmp_path / "mine.yaml").log
    parts = [whole.rows(slice(0, 800)), whole.rows(slice(800, None))]
    if event == "conversion":
        parts = [part.rows(part.frame["click"].to_numpy() == 1) for part in parts]
    assert encoder == FieldEncoder.fit(parts[0], SETTINGS)
    assert encoder.bags == (2,)
    for rows, part in zip((train, valid), parts, strict=True):
        wanted = rows_of(part, encoder, event)
        assert isinstance(rows.fields.ids, np.memmap)
        for name in ("ids", "bags", "numbers"):
            found, expected = getattr(rows.fields, name), getattr(wanted.fields, name)
            assert found.dtype == expected.dtype
            assert found.tobytes() == expected.tobytes()
        assert rows.label.tobytes() == wanted.label.tobytes()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("change", [{}, {"negatives": 0.5}, {"whole_up_to": 1}])
def test_the_network_is_the_one_fitted_in_memory(tmp_path: Path, change: dict[str, float]) -> None:
    config = replace(Config(epochs=2, fields=SETTINGS), **change)  # type: ignore[arg-type]
    log = written(tmp_path, table(600).drop(columns="unused"))
    fitted, curve = fit_parquet(log, config, "click", np.random.default_rng(5), tmp_path / "cache")
    whole = read_log(log.files[0], mapping=tmp_path / "mine.yaml").log
    parts = whole.rows(slice(0, 480)), whole.rows(slice(480, None))
    other, expected = config.fit(*parts, "click", np.random.default_rng(5))
    assert curve == expected
    assert (fitted.predict(whole) == other.predict(whole)).all()
    assert fitted.predict(whole).std() > 0.001


@pytest.mark.usefixtures("small")
def test_the_cache_is_used_again_and_only_for_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, cache = written(tmp_path, table(300)), tmp_path / "cache"
    first = encode_parquet(log, SETTINGS, "click", cache)
    with monkeypatch.context() as patched:
        patched.setattr(ParquetLog, "chunks", lambda _: iter(()))
        again = encode_parquet(ParquetLog(log.paths, log.mapping), SETTINGS, "click", cache)
        with pytest.raises(InputError, match="0 rows to learn clicks from"):
            encode_parquet(log, FieldSettings(), "click", cache)
    assert again.encoder == first.encoder
    assert (again.train.fields.ids == first.train.fields.ids).all()
    again.train.label[:] = 7.0
    assert encode_parquet(log, SETTINGS, "click", cache).train.label.max() == 1.0, "the files stay as they are"
    assert [path.name[0] != "." for path in cache.iterdir()] == [True]


@pytest.mark.usefixtures("small")
def test_a_run_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    log, cache = written(tmp_path, table(300)), tmp_path / "cache"
    monkeypatch.setattr(FieldEncoder, "transform", fail)
    with pytest.raises(InputError, match="No space left"):
        encode_parquet(log, SETTINGS, "click", cache)
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_files_follow_each_other_and_those_to_validate_on_may_be_given(tmp_path: Path) -> None:
    frame = table(500)
    first, second = written(tmp_path, frame[:310], "1.parquet"), written(tmp_path, frame[310:], "2.parquet")
    both = ParquetLog(first.files + second.files, first.mapping, validation_share=0.38)
    apart = ParquetLog(first.files[0], first.mapping, valid=second.files[0])
    assert both.cut == apart.cut == 310
    found = [encode_parquet(log, SETTINGS, "click", tmp_path / "cache") for log in (both, apart)]
    assert found[0].encoder == found[1].encoder
    assert [len(part.valid.label) for part in found] == [190, 190]
    back = ParquetLog(second.paths, first.mapping, valid=first.paths)
    with pytest.raises(InputError, match=r"1\.parquet: row 1: column 'ts' is earlier.*sort them"):
        encode_parquet(back, SETTINGS, "click", tmp_path / "cache")


@pytest.mark.usefixtures("small")
def test_a_file_that_is_not_in_the_order_of_time_is_refused_with_the_row(tmp_path: Path) -> None:
    frame = table(500)
    log = written(tmp_path, pd.concat([frame[200:400], frame[:200], frame[400:]]))
    with pytest.raises(InputError, match=r"(?s)log\.parquet.*(row 2\d\d|line 2\d\d)"):
        encode_parquet(log, SETTINGS, "click", tmp_path / "cache")
    chunked = written(tmp_path, pd.concat([frame[77:154], frame[:77], frame[154:]]))
    with pytest.raises(InputError, match=r"log\.parquet: row 78: column 'ts' is earlier"):
        encode_parquet(chunked, SETTINGS, "click", tmp_path / "cache")


@pytest.mark.usefixtures("small")
def test_bad_rows_are_left_out_until_they_are_too_many(tmp_path: Path) -> None:
    frame = table(1000).astype({"clicks": str})
    frame.loc[[3, 500, 990], "clicks"] = "maybe"
    log = written(tmp_path, frame)
    _, train, valid = encode_parquet(log, SETTINGS, "click", tmp_path / "cache")
    assert (len(train.label), len(valid.label)) == (798, 199)
    strict = ParquetLog(log.paths, log.mapping, max_bad=0.0015)
    with pytest.raises(InputError, match=r"2 of 1,000 rows.*first: line 4, column 'clicks', value 'maybe'"):
        encode_parquet(strict, SETTINGS, "click", tmp_path / "cache")


@pytest.mark.usefixtures("small")
def test_hashed_columns_need_no_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bidpilot.ctr.wordcount.PENDING", 1)
    log = written(tmp_path, table(1000))
    settings = FieldSettings(hour=False, buckets=5)
    encoder = encode_parquet(log, settings, "click", tmp_path / "cache").encoder
    assert list(encoder.collisions) == ["user"]
    assert encoder.collisions["user"] == pytest.approx(1.0 - 0.8**8)


def test_coarse_stamps_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "ROWS", 50)
    frame = pd.DataFrame({"h": np.repeat([0, 1, 2, 25], 40), "c": [0, 1] * 80, "site": ["a", "b", "a", "b"] * 40})
    text = "time: {column: h, unit: hours, resolution: 3600}\nclick: c\ncategorical: [site]\n"
    log = written(tmp_path, frame, mapping=text)
    encoder, train, valid = encode_parquet(log, FieldSettings(), "click", tmp_path / "cache")
    whole = read_log(log.files[0], mapping=tmp_path / "mine.yaml").log
    ids = np.concatenate([train.fields.ids, valid.fields.ids])
    assert (ids == encoder.transform(whole).ids).all()
    daily = written(tmp_path, frame, mapping=text.replace("3600", "86400"))
    with pytest.raises(InputError, match="stands for 86400 s"):
        encode_parquet(daily, FieldSettings(), "click", tmp_path / "cache")


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    good = written(tmp_path, table(50))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    for name in ("bad.parquet", "absent.parquet"):
        with pytest.raises(InputError, match=rf"{name}: cannot be read"):
            ParquetLog((tmp_path / name,), good.mapping)
    with pytest.raises(InputError, match="no Parquet file"):
        ParquetLog(())
    with pytest.raises(InputError, match=r"validation_share.*got 1\.0"):
        ParquetLog(good.paths, good.mapping, validation_share=1.0)
    with pytest.raises(InputError, match="0 rows"):
        written(tmp_path, table(0))
    with pytest.raises(InputError, match="event must be click or conversion; got 'sale'"):
        encode_parquet(good, SETTINGS, "sale", tmp_path)
    lists = written(tmp_path, table(50), mapping=MAPPING.replace("user, tags", "user, tags, unused"))
    with pytest.raises(InputError, match=r"column 'unused': list.*not one plain value"):
        encode_parquet(lists, SETTINGS, "click", tmp_path)
    none = written(tmp_path, table(50), mapping=MAPPING.replace("conversion: sales", ""))
    with pytest.raises(InputError, match="the column conversion is needed"):
        encode_parquet(none, SETTINGS, "conversion", tmp_path)


@pytest.mark.usefixtures("small")
def test_batches_of_many_rows_are_each_row_once_and_read_in_pieces() -> None:
    parts = list(batches(1001, 50, np.random.default_rng(0)))
    assert sorted(np.concatenate(parts).tolist()) == list(range(1001))
    assert {len(part) for part in parts} == {50, 1}
    assert all(len(set((part // 16).tolist())) <= 8 for part in parts), "a batch reads from a window or two"


MEMORY = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from bidpilot.ctr.chunks import ParquetLog
from bidpilot.ctr.fields import FieldSettings
from bidpilot.ctr.streaming import encode_parquet

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
def peak():
    # not ru_maxrss, which begins with that of the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
log = ParquetLog((folder / f"{rows}.parquet",), folder / "mine.yaml")
before = peak()
encoded = encode_parquet(log, FieldSettings(buckets=10_000), "click", folder / "cache")
print(peak() - before, len(encoded.train.label) + len(encoded.valid.label), *encoded.encoder.collisions)
"""


def large(folder: Path, rows: int) -> int:
    """Write a log of 8 columns in pieces; return its size as text in memory."""
    rng, size = np.random.default_rng(0), 0
    names = [f"c{i}" for i in range(6)]
    mapping = f"time: {{column: ts, unit: s}}\nclick: clk\ncategorical: [{', '.join(names)}]\nduplicates: keep\n"
    (folder / "mine.yaml").write_text(mapping, encoding="utf-8")
    schema = pa.schema([("ts", pa.int64()), ("clk", pa.int8()), *((name, pa.string()) for name in names)])
    with pq.ParquetWriter(folder / f"{rows}.parquet", schema) as writer:
        for start in range(0, rows, 100_000):
            ids = [np.char.add("identity-", rng.integers(0, 10 ** (i + 2), 100_000).astype(str)) for i in range(6)]
            columns = [np.arange(start, start + 100_000), rng.integers(0, 2, 100_000), *ids]
            arrays = [pa.array(column).cast(kind) for column, kind in zip(columns, schema.types, strict=True)]
            piece = pa.Table.from_arrays(arrays, schema=schema)
            size += piece.nbytes
            writer.write_table(piece)
    return size


@pytest.mark.slow
def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of memory is read from /proc")
    grown = {}
    for rows in (400_000, 2_000_000):
        size = large(tmp_path, rows)
        run = [sys.executable, "-c", MEMORY, str(tmp_path), str(rows)]
        out = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
        assert int(out[1]) == rows
        assert out[2:] == ["c3", "c4", "c5"] if rows > 400_000 else out[2:]
        grown[rows] = int(out[0])
    assert 0 < grown[2_000_000] < grown[400_000] + 0.1 * size, (grown, size)
    assert grown[2_000_000] < size, (grown, size)


def test_few_rows_scale_as_in_memory_and_many_are_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(tmp_path, table(1000))
    exact = encode_parquet(log, SETTINGS, "click", tmp_path / "a").encoder.scales["age"]
    monkeypatch.setattr(streaming, "SAMPLE", 300)
    close = encode_parquet(log, SETTINGS, "click", tmp_path / "b").encoder.scales["age"]
    assert close != exact
    assert close.unit == pytest.approx(exact.unit, rel=0.25)
    assert close.deviation == pytest.approx(exact.deviation, rel=0.25)


def test_a_mapping_may_be_given_as_it_is(tmp_path: Path) -> None:
    log = written(tmp_path, table(100))
    mapping = Mapping.model_validate(
        {"name": "m", "time": {"column": "ts", "unit": "s"}, "click": "clicks", "duplicates": "keep"}
    )
    encoder, train, _ = encode_parquet(ParquetLog(log.paths, mapping), FieldSettings(), "click", tmp_path / "cache")
    assert encoder.fields == 1
    assert len(train.label) <= 80
