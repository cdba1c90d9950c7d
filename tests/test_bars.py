"""The BARS splits: recognised by their columns, numbered through, and the same in memory and as Parquet."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bidpilot.ctr.bars import HEADERS, NO_CLOCK, NUMBERS, PARTS, WORDS, convert_bars, read_bars
from bidpilot.ctr.chunks import ParquetLog
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder
from bidpilot.ctr.streaming import encode_parquet
from bidpilot.ctr.training import rows_of

if TYPE_CHECKING:
    from pathlib import Path

ROWS = dict(zip(PARTS, (60, 20, 10), strict=True))


def criteo(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return rows as published: counts with and without decimals, hexadecimal words, and empty cells."""
    columns = {"label": rng.integers(0, 2, rows)}
    columns |= {name: rng.choice(["", "0", "-1", "260.0", "17668"], rows) for name in NUMBERS}
    columns |= {name: rng.choice(["", "05db9164", "00000012", "1e5", "16777217"], rows) for name in WORDS}
    return pd.DataFrame(columns)


def avazu(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame({name: rng.integers(0, 5, rows) for name in HEADERS["avazu_x4"]})
    return frame.assign(click=rng.integers(0, 2, rows), hour=rng.choice(["14102100", "14102623"], rows))


@pytest.fixture(params=["criteo", "avazu"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for part, rows in ROWS.items():
        (criteo if request.param == "criteo" else avazu)(rows, rng).to_csv(tmp_path / f"{part}.csv", index=False)
    return tmp_path


def test_the_parts_are_read_and_rows_numbered_through(folder: Path) -> None:
    logs = read_bars(folder)
    assert [len(log) for log in logs] == list(ROWS.values())
    time = np.concatenate([log.frame["time"].to_numpy() for log in logs])
    assert time.tolist() == list(range(90))
    for part, log in zip(PARTS, logs, strict=True):
        plain = pd.read_csv(folder / f"{part}.csv", dtype=str, keep_default_na=False)
        label = "label" if "label" in plain else "click"
        assert log.frame["click"].tolist() == plain[label].astype(int).tolist()
        for name in set(log.categorical) - {"hour", "weekday"}:
            assert log.frame[name].tolist() == plain[name].tolist()
        for name in log.numeric:
            np.testing.assert_array_equal(log.frame[name], pd.to_numeric(plain[name]))


def test_large_files_become_parquet_that_encodes_the_same(folder: Path) -> None:
    logs = read_bars(folder)
    files = convert_bars(folder, folder / "parquet")
    assert {path.suffix for path in (folder / "parquet").iterdir()} == {".parquet"}
    log = ParquetLog((files.train,), files.mapping, valid=(files.valid,))
    encoder, train, valid = encode_parquet(log, NO_CLOCK, "click", folder / "cache")
    assert encoder == FieldEncoder.fit(logs.train, NO_CLOCK)
    for found, whole in ((train, logs.train), (valid, logs.valid)):
        wanted = rows_of(whole, encoder, "click")
        assert found.fields.ids.tobytes() == wanted.fields.ids.tobytes()
        assert found.fields.numbers.tobytes() == wanted.fields.numbers.tobytes()
        assert found.label.tobytes() == wanted.label.tobytes()


def test_the_hour_of_avazu_is_split(tmp_path: Path) -> None:
    for part in PARTS:
        avazu(4, np.random.default_rng(0)).assign(hour="14102623").to_csv(tmp_path / f"{part}.csv", index=False)
    log = read_bars(tmp_path).valid
    assert set(log.frame["hour"]) == {"23"}
    assert set(log.frame["weekday"]) == {"6"}, "26 October 2014 was a Sunday"
    assert "id" not in log.categorical


def test_packed_files_and_columns_in_another_order(tmp_path: Path) -> None:
    frame = criteo(5, np.random.default_rng(0))
    for part in PARTS:
        (tmp_path / f"{part}.csv.gz").write_bytes(
            gzip.compress(frame[frame.columns[::-1]].to_csv(index=False).encode())
        )
    log = read_bars(tmp_path).train
    assert log.frame["C1"].tolist() == frame["C1"].tolist()
    files = convert_bars(tmp_path, tmp_path / "out")
    assert pd.read_parquet(files.test)["C1"].tolist() == frame["C1"].tolist()


def test_the_published_sample_is_of_this_layout(data: Path, tmp_path: Path) -> None:
    sample = (data / "ctr_samples" / "criteo_sample_200.csv.gz").read_bytes()
    for part in PARTS:
        (tmp_path / f"{part}.csv.gz").write_bytes(sample)
    logs = read_bars(tmp_path)
    assert len(logs.test) == 200
    assert 0 < logs.test.frame["click"].sum() < 200


@pytest.mark.parametrize("read", [read_bars, lambda folder: convert_bars(folder, folder / "out")])
def test_what_does_not_fit_is_refused(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(InputError, match=r"has no train\.csv"):
        read(tmp_path)
    frame = criteo(5, np.random.default_rng(0))
    for part in PARTS:
        frame.drop(columns="I3").to_csv(tmp_path / f"{part}.csv", index=False)
    with pytest.raises(InputError, match=r"train\.csv: its columns label, I1, I2, I4.*neither Criteo_x4"):
        read(tmp_path)
    for part in PARTS:
        avazu(3, np.random.default_rng(0)).assign(hour=["14102100", "14103500", "?"]).to_csv(
            tmp_path / f"{part}.csv", index=False
        )
    with pytest.raises(InputError, match=r"train\.csv: line 3: hour '14103500' is not yyMMddHH"):
        read(tmp_path)
    (tmp_path / "train.csv").write_text(frame.to_csv(index=False) + "1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.csv"):
        read(tmp_path)
    assert not list(tmp_path.glob("out/*"))


def test_a_label_that_is_none_is_refused_by_line(tmp_path: Path) -> None:
    frame = criteo(5, np.random.default_rng(0)).astype({"label": str})
    frame.loc[2, "label"] = "2"
    for part in PARTS:
        frame.to_csv(tmp_path / f"{part}.csv", index=False)
    with pytest.raises(InputError, match=r"line 4, column 'label', value '2'"):
        read_bars(tmp_path)
