"""Broken files: every way is one InputError, and no bytes at all are anything else."""

import bz2
import gzip
import io
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.readers import read_log

HEADER = "click,market_price,pctr,hour_index"
MINE = "time: {column: ts, unit: s}\nprice: {column: p, unit: currency}\nid: id\ncategorical: [country]\nclick: c\n"


def written(folder: Path, content: str | bytes, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return written(tmp_path, MINE, "mine.yaml")


ROW = "0,50,0.001,0\n"
PACKED = gzip.compress(f"{HEADER}\n{ROW * 5000}".encode())
BROKEN: list[tuple[str, str | bytes, str]] = [
    ("empty", "", "is empty"),
    ("only blanks", "\n \n", "is empty"),
    ("header only", HEADER + "\n", "has a header and no rows"),
    ("one column short", f"{HEADER}\n{ROW}0,50,0.001\n", r"line 3 has 3 cells; expected 4"),
    ("one column more", f"{HEADER}\n{ROW}{ROW}0,5,0,0.001,0\n{ROW}", r"line 4 has 5 cells; expected 4"),
    ("doubled column", f"click,{HEADER}\n0,{ROW}", "there twice 'click'"),
    (
        "wrong column",
        f"{HEADER.replace('market_price', 'price')}\n{ROW}",
        "missing 'market_price'; not expected 'price'",
    ),
    (
        "unknown",
        "a,b,c\n1,2,3\n",
        r"known format.*avazu, ipinyou_episodes, ipinyou_hourly, ipinyou_raw.*--mapping FILE",
    ),
    ("no header", ROW * 3, "no known format"),
    ("UTF-16", f"{HEADER}\n{ROW}".encode("utf-16"), "UTF-16"),
    ("UTF-16 without mark", f"{HEADER}\n{ROW}".encode("utf-16-le"), "NUL byte"),
    (
        "latin-1",
        f"{HEADER}\n{ROW}".encode() + "0,50,é,0\n".encode("latin-1"),
        r"line 3: byte 0xe9 at offset \d+ is not",
    ),
    ("NUL", f"{HEADER}\n0,5\0,0.1,0\n", "line 2 holds a NUL byte"),
    ("half a gzip", PACKED[: len(PACKED) // 2], "cut off or damaged"),
    ("gzip with a flipped byte", PACKED[:-6] + b"\0\0" + PACKED[-4:], "cut off or damaged"),
    ("half a bzip2", bz2.compress(b"x" * 999)[:20], "cut off or damaged"),
    ("quote not closed", f'{HEADER}\n{ROW}"0,50,0.001,0\n{ROW}{ROW}', "line 3: a quote is opened and not closed"),
    ("cell over lines", f'{HEADER}\n0,50,0.001,"0\n1"\n{ROW}', "line 2: a quote is opened and not closed"),
    ("endless quote", f'{HEADER}\n"{ROW * 90_000}', "line 2: a quote is opened and not closed"),
    ("only the magic of Parquet", b"PAR1", "cut off or not a Parquet file"),
]


@pytest.mark.parametrize(("content", "said"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_file_is_one_clear_error(tmp_path: Path, content: str | bytes, said: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=said) as caught:
        read_log(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_line_of_a_ragged_row_deep_in_a_file(tmp_path: Path) -> None:
    text = f"{HEADER}\n{ROW * 200_000}0,50\n{ROW}"
    with pytest.raises(InputError, match="line 200002 has 2 cells"):
        read_log(written(tmp_path, text))


def test_broken_parquet(tmp_path: Path, mine: Path) -> None:
    with pytest.raises(InputError, match="is not a Parquet file"):
        read_log(written(tmp_path, f"{HEADER}\n{ROW}", "log.parquet"))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": ["a"], "ts": ["1"], "p": [[1.0]], "c": ["0"], "country": ["x"]}), buffer)
    with pytest.raises(InputError, match=r"column 'p': list<.*> is not one plain value per row"):
        read_log(written(tmp_path, buffer.getvalue(), "log.parquet"), mapping=mine)
    with pytest.raises(InputError, match="cut off or not a Parquet file"):
        read_log(written(tmp_path, buffer.getvalue()[:-9], "log.parquet"), mapping=mine)
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: pa.array([], pa.string()) for name in ("id", "ts", "p", "c", "country")}), buffer)
    with pytest.raises(InputError, match="has no rows"):
        read_log(written(tmp_path, buffer.getvalue(), "log.parquet"), mapping=mine)


def test_a_file_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_log(path)

    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_log(tmp_path / "secret.csv")


MARKS = (
    b"",
    b"\x1f\x8b\x08",
    b"BZh9",
    b"PAR1",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    f"{HEADER}\n".encode(),
    b"id,ts,p,c,country\n",
)
CELL = st.sampled_from(
    ["0", "1", "-1", "nan", "1e999", "", '"', ",", "\n", "\r", "18446744073709551616", "é", "\t", "NA"]
)
NOISE = st.one_of(st.binary(max_size=300), st.lists(CELL, max_size=60).map(lambda cells: ",".join(cells).encode()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mark=st.sampled_from(MARKS), noise=NOISE, own=st.booleans())
def test_any_bytes_are_a_log_or_an_input_error(
    tmp_path: Path, mine: Path, mark: bytes, noise: bytes, *, own: bool
) -> None:
    path = written(tmp_path, mark + noise)
    try:
        read = read_log(path, mapping=mine if own else None, max_bad=1.0)
    except InputError:
        return
    assert len(read.log) + len(read.quarantine) == read.rows_read


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 5000), byte=st.integers(0, 255))
@example(place=223, byte=128)  # text that is no UTF-8 although the schema says so
def test_a_damaged_parquet_file_is_a_log_or_an_input_error(tmp_path: Path, mine: Path, place: int, byte: int) -> None:
    table = pa.table({"id": ["a", "b"], "ts": ["1", "2"], "p": ["1", "2"], "c": ["0", "1"], "country": ["x", "y"]})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    content = bytearray(buffer.getvalue())
    content[4 + place % (len(content) - 4)] = byte
    with suppress(InputError):
        assert len(read_log(written(tmp_path, bytes(content)), mapping=mine, max_bad=1.0).log) > 0
