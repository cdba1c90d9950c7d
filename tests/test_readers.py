"""Files in, logs out: real files against numbers found by other means, and own files through a mapping."""

import bz2
import csv
import gzip
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.mapping import SHIPPED
from bidpilot.ctr.readers import LogRead, read_log

HEADER = "click,market_price,pctr,hour_index"
ROW = "0,50,0.001,0\n"
MINE = "time: {column: ts, unit: s}\nprice: {column: p, unit: currency}\nid: id\ncategorical: [country]\nclick: c\n"


def written(folder: Path, content: str | bytes, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return written(tmp_path, MINE, "mine.yaml")


def plain_rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """Read with the standard library alone: the independent witness."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


# --- real files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rows", "clicks", "fen"),
    [("1458", 300_000, 207, 20_137.672), ("2259", 80_000, 26, 7_050.762), ("2261", 80_000, 19, 7_227.178)],
)
def test_ipinyou_hourly(data: Path, name: str, rows: int, clicks: int, fen: float) -> None:
    started = time.perf_counter()
    read = read_log(data / "ipinyou_hourly" / f"{name}.csv.gz")
    took = time.perf_counter() - started
    log = read.log
    assert (read.mapping.name, read.rows_read, len(log), read.counts) == ("ipinyou_hourly", rows, rows, {})
    assert log.frame["click"].sum() == clicks
    assert log.frame["price"].sum() == round(fen * 1e6)
    assert log.recorded == {"time", "price", "price_known", "click", "pctr"}
    assert log.frame["price_known"].all()
    assert log.currency == "fen"
    assert took < 6  # 0.6 s measured; the machine may be busy


def test_the_cost_per_click_of_2259_by_hand(data: Path) -> None:
    path = data / "ipinyou_hourly" / "2259.csv.gz"
    rows = plain_rows(path)
    cost_per_click = sum(int(row["market_price"]) for row in rows) / 1000 / sum(row["click"] == "1" for row in rows)
    frame = read_log(path).log.frame
    assert cost_per_click == pytest.approx(271.183, abs=5e-4)  # 7,050,762 CPM / 1000 / 26 clicks, fen
    assert frame["price"].sum() / 1e6 / frame["click"].sum() == pytest.approx(cost_per_click, rel=1e-12)


def test_unordered_hours_are_sorted_stably(data: Path) -> None:
    path = data / "ipinyou_hourly" / "2261.csv.gz"
    rows = sorted(plain_rows(path), key=lambda row: int(row["hour_index"]))
    log = read_log(path).log
    assert log.frame["pctr"].tolist() == [float(row["pctr"]) for row in rows]
    assert (log.frame["time"] // 3600).tolist() == [float(row["hour_index"]) for row in rows]


@pytest.mark.parametrize(("name", "clicks"), [("1458", 143), ("2259", 111), ("2821", 143), ("3386", 131)])
def test_ipinyou_episodes(data: Path, name: str, clicks: int) -> None:
    path = data / "ipinyou_episodes" / f"{name}.validation.csv.gz"
    log = read_log(path).log
    assert (len(log), log.frame["click"].sum()) == (100_000, clicks)
    assert np.bincount(log.day)[1:].tolist() == [1000] * 100, "a block is a day"
    place = (log.frame["time"] % 86400 / 86.4).round().astype(int)
    assert place.tolist() == [int(row["t"]) for row in plain_rows(path)]


def test_ipinyou_raw(data: Path) -> None:
    folder = data / "ipinyou_raw"
    train, test = (read_log(folder / f"2259_{part}_1pct.csv.gz") for part in ("train", "test"))
    assert (train.rows_read, len(train.log), train.counts) == (8355, 8354, {"duplicate id": 1})
    assert (test.rows_read, len(test.log), test.counts) == (4171, 4171, {})
    assert (train.log.frame["click"].sum(), test.log.frame["click"].sum()) == (5, 0)
    assert train.log.frame["price"].sum() == 779_249_000
    assert ("conversion" in train.log, "conversion" in test.log) == (False, True)
    assert train.log.frame["segment"].value_counts().to_dict() == {"1": 3010, "2": 2876, "3": 2468}
    assert (train.log.frame["reserve"] <= train.log.frame["price"]).all()
    assert train.notes[0].startswith("reserve lowered to the price in 55 rows (0.66%)")
    assert (train.log.hour == train.log.frame["hour"].astype(int)).all(), "the stamp agrees with the hour column"
    assert train.quarantine["line"].tolist() == [2583]


def test_ipinyou_tab_separated(data: Path) -> None:
    read = read_log(data / "ipinyou_raw" / "1458_first99.tsv.gz")
    assert (len(read.log), read.mapping.name, read.log.frame["price"].sum()) == (99, "ipinyou_raw", 5_283_000)
    assert read.log.frame["usertag"][0] == "10006,10110"
    assert read.log.frame["time"][0] == pytest.approx(1370476864.828)


@pytest.mark.parametrize("columns", [24, 25, 26, 27])
def test_ipinyou_without_header(data: Path, tmp_path: Path, columns: int) -> None:
    with gzip.open(data / "ipinyou_raw" / "1458_first99.tsv.gz", "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    published = [row[3:] for row in rows]
    made = {24: [], 25: ["1"], 26: [], 27: ["0", "4", "00"]}[columns]
    ending = ["2", "0"] if columns == 26 else []
    text = "\n".join("\t".join(made + row + ending) for row in published)
    read = read_log(written(tmp_path, bz2.compress(text.encode()), "imp.txt.bz2"))
    assert (len(read.log), len(published[0] + made + ending)) == (99, columns)
    assert read.log.frame["price"].sum() == 5_283_000
    assert ("click" in read.log) == (columns != 24)
    assert read.log.frame["click"].sum() == {24: 0, 25: 99, 26: 99, 27: 0}[columns]


def test_avazu(data: Path) -> None:
    path = data / "ctr_samples" / "avazu_first9999.csv.gz"
    log, rows = read_log(path).log, plain_rows(path)
    assert (len(log), log.frame["click"].sum(), len(log.categorical)) == (9999, 1706, 21)
    assert log.frame["id"].tolist() == [row["id"] for row in rows], "rows of an hour keep their order"
    assert log.frame["device_ip"].tolist() == [row["device_ip"] for row in rows]
    assert log.recorded == {"time", "click", "id"}
    assert not log.frame["price_known"].any()
    assert (log.hour == 0).all()


# --- own files ----------------------------------------------------------------------------------------------------


def test_ids_and_countries_stay_text(tmp_path: Path, mine: Path) -> None:
    text = "id,ts,p,c,country,extra\n9007199254740993,1,0.5,0,NA,x\n007,2,1,1,null,y\n,3,1,0,,z\n"
    read = read_log(written(tmp_path, text), mapping=mine)
    assert read.log.frame["id"].tolist() == ["9007199254740993", "007", ""]
    assert read.log.frame["country"].tolist() == ["NA", "null", ""]
    assert read.notes == ("columns ignored: extra",)
    assert read.log.frame["segment"].unique().tolist() == ["all"]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("packing", ["plain", "gz", "bz2", "bom", "crlf", "cr", "blank lines at the end", "quotes"])
def test_one_table_in_many_dresses(tmp_path: Path, mine: Path, delimiter: str, packing: str) -> None:
    text = "id,ts,p,c,country\na,1,0.5,0,DE\nb,2,0.25,1,FR\n".replace(",", delimiter)
    dress = {
        "plain": text.encode(),
        "gz": gzip.compress(text.encode()),
        "bz2": bz2.compress(text.encode()),
        "bom": text.encode("utf-8-sig"),
        "crlf": text.replace("\n", "\r\n").encode(),
        "cr": text.replace("\n", "\r").encode(),
        "blank lines at the end": (text + "\n\n").encode(),
        "quotes": text.replace("DE", '"DE"').replace("id", '"id"').encode(),
    }
    frame = read_log(written(tmp_path, dress[packing]), mapping=mine).log.frame
    assert frame[["id", "price", "click", "country"]].to_numpy().tolist() == [
        ["a", 500_000, 0, "DE"],
        ["b", 250_000, 1, "FR"],
    ]


def test_a_delimiter_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, MINE + "delimiter: ':'\n", "colon.yaml")
    read = read_log(written(tmp_path, "id:ts:p:c:country:a,b\nx:1:2:0:DE:\n"), mapping=path)
    assert len(read.log) == 1


def test_parquet_is_the_same_log(tmp_path: Path, mine: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([9007199254740993, None], pa.int64()),
            "ts": pa.array([1.5, 2.0]),
            "p": pa.array(["0.5", "1"]).dictionary_encode(),
            "c": pa.array([True, False]),
            "country": ["NA", None],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet", mapping=mine).log
    assert log.frame["id"].tolist() == ["9007199254740993", ""]
    assert log.frame["country"].tolist() == ["NA", ""]
    assert log.frame[["time", "price", "click"]].to_numpy().tolist() == [[1.5, 500_000, 1], [2.0, 1_000_000, 0]]


def test_parquet_stamps_are_iso(tmp_path: Path) -> None:
    stamps = pa.array([1370448064828, 1370448064829], pa.timestamp("ms"))
    for zone in (None, "Asia/Shanghai"):
        column = stamps.cast(pa.timestamp("ms", zone)) if zone else stamps
        pq.write_table(pa.table({"ts": column, "c": [0, 1]}), tmp_path / "log.parquet")
        mapping = written(tmp_path, "time: {column: ts, unit: iso}\nclick: c\n", "iso.yaml")
        read = read_log(tmp_path / "log.parquet", mapping=mapping)
        assert read.log.frame["time"].tolist() == pytest.approx([1370448064.828, 1370448064.829])


def test_bad_rows_are_set_aside_and_counted(tmp_path: Path) -> None:
    good = ["0,50,0.001,0"] * 198
    path = written(tmp_path, "\n".join([HEADER, *good[:100], "0,-5,0.1,0", *good[100:], "3,5,0.1,0"]))
    read = read_log(path)
    assert isinstance(read, LogRead)
    assert (read.rows_read, len(read.log)) == (200, 198)
    assert read.counts == {"price negative": 1, "click not 0 or 1": 1}
    assert read.quarantine.to_numpy().tolist() == [
        [102, "price negative", "market_price", "-5", "0,-5,0.1,0"],
        [201, "click not 0 or 1", "click", "3", "3,5,0.1,0"],
    ]
    with pytest.raises(InputError, match=r"log.csv: 2 of 200 rows .*line 102, column 'market_price', value '-5'"):
        read_log(path, strict=True)
    with pytest.raises(InputError, match=r"at most 0\.5 % may"):
        read_log(path, max_bad=0.005)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="--max-bad must be a share from 0 to 1"):
            read_log(path, max_bad=share)


def test_a_blank_line_in_the_middle_is_a_bad_row(tmp_path: Path) -> None:
    read = read_log(written(tmp_path, f"{HEADER}\n0,50,0.001,0\n\n0,50,0.001,0\n"), max_bad=0.5)
    assert read.quarantine["line"].tolist() == [3]


def test_wrong_choices(tmp_path: Path, mine: Path) -> None:
    path = written(tmp_path, f"{HEADER}\n{ROW}")
    with pytest.raises(InputError, match=r"unknown format 'ipinyuo'; known: avazu, ipinyou_episodes"):
        read_log(path, format_name="ipinyuo")
    with pytest.raises(InputError, match="not both"):
        read_log(path, format_name="avazu", mapping=mine)
    with pytest.raises(InputError, match="nearest is avazu: missing 'id', 'hour'"):
        read_log(path, format_name="avazu")
    with pytest.raises(
        InputError, match=r"column 'ts' \(time in the mapping\) is missing; the file has 'click', 'market"
    ):
        read_log(path, mapping=mine)
    assert read_log(path, format_name="ipinyou_hourly").rows_read == 1
    with pytest.raises(InputError, match="column 'ts' is there twice"):
        read_log(written(tmp_path, "id,ts,p,c,country,ts\n"), mapping=mine)


def test_a_misspelt_header_is_never_taken_for_a_row(data: Path, tmp_path: Path) -> None:
    with gzip.open(data / "ipinyou_raw" / "1458_first99.tsv.gz", "rt", encoding="utf-8") as file:
        text = file.read().replace("payprice", "pay_price", 1)
    with pytest.raises(InputError, match="nearest is ipinyou_raw: missing 'payprice'; not expected 'pay_price'"):
        read_log(written(tmp_path, text))


def test_the_example_reads_a_log_of_its_columns(tmp_path: Path) -> None:
    header = "timestamp,won,price,bid,click,conversion,converted_at,revenue,auction_id,segment,site,device,country,age"
    rows = [
        "2024-05-01T10:00:00Z,1,1.5,2,1,1,2024-05-01T12:00:00Z,20,a1,new,s,phone,NO,31",
        "2024-05-01T10:00:01Z,0,,2,0,0,,,a2,old,s,tv,NA,",
    ]
    frame = read_log(written(tmp_path, "\n".join([header, *rows])), mapping=SHIPPED / "example.yaml").log.frame
    assert frame["price"].tolist() == [1_500, 0]
    assert frame["price_known"].tolist() == [True, False]
    assert frame["country"].tolist() == ["NO", "NA"]
    assert frame["value"].tolist() == [20.0, 0.0]
    assert (frame["conversion_time"] - frame["time"]).tolist()[0] == 7_200.0


def test_the_quarantine_is_a_frame(tmp_path: Path) -> None:
    read = read_log(written(tmp_path, f"{HEADER}\n{ROW}"))
    assert isinstance(read.quarantine, pd.DataFrame)
    assert list(read.quarantine) == ["line", "rule", "column", "value", "row"]
    assert read.quarantine.empty
