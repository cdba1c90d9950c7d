"""Every rule: what it sets aside, what it lets through, and the file it ends up in."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.cleaning import clean, longest_in_order, parse_flag, parse_number, parse_time, spread
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.mapping import Mapping, TimeColumn
from bidpilot.ctr.quarantine import check_share, rule_counts, write_quarantine

FULL: dict[str, Any] = {
    "name": "full",
    "time": {"column": "ts", "unit": "s"},
    "won": "won",
    "price": {"column": "price", "unit": "cpm"},
    "bid": {"column": "bid", "unit": "cpm"},
    "reserve": {"column": "floor", "unit": "cpm"},
    "click": "click",
    "conversion": "conv",
    "conversion_time": "came",
    "value": {"column": "worth", "unit": "currency"},
    "pctr": "pctr",
    "id": "id",
    "categorical": ("country",),
    "numeric": ("age",),
}
GOOD = {
    "ts": "5",
    "won": "1",
    "price": "2",
    "bid": "3",
    "floor": "1",
    "click": "1",
    "conv": "1",
    "came": "9000",
    "worth": "9.5",
    "pctr": "0.1",
    "id": "good",
    "country": "NA",
    "age": "31",
}
LOST = {"won": "0", "price": "", "click": "0", "conv": "0", "worth": ""}


def cells(*rows: dict[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame([GOOD | {"id": f"#{i}"} | row for i, row in enumerate(rows)], dtype="str")
    frame.index = pd.RangeIndex(2, 2 + len(frame), name="line")
    return frame


def full(**changes: object) -> Mapping:
    return Mapping.model_validate({key: part for key, part in (FULL | changes).items() if part is not None})


@pytest.mark.parametrize(
    ("change", "rule", "column"),
    [
        ({"ts": "yesterday"}, "time unreadable", "ts"),
        ({"ts": ""}, "time unreadable", "ts"),
        ({"ts": "-1"}, "time outside 1970..9999", "ts"),
        ({"ts": "1370448064828000"}, "time outside 1970..9999", "ts"),
        ({"ts": "1e400"}, "time outside 1970..9999", "ts"),
        ({"won": "2"}, "won not 0 or 1", "won"),
        ({"price": ""}, "price not a finite number", "price"),
        ({"price": "nan"}, "price not a finite number", "price"),
        ({"price": "1e400"}, "price not a finite number", "price"),
        ({"price": "2,5"}, "price not a finite number", "price"),
        ({"price": "abc"}, "price not a finite number", "price"),
        ({"price": "0x1F"}, "price not a finite number", "price"),
        ({"price": "-1"}, "price negative", "price"),
        ({"price": "-1e-9"}, "price negative", "price"),
        ({"price": "1e300", "bid": "1e9"}, "price too large", "price"),
        ({"bid": ""}, "bid not a finite number", "bid"),
        ({"bid": "-2"}, "bid negative", "bid"),
        ({"price": "3.001"}, "price above bid", "price"),
        (LOST | {"bid": ""}, "lost without bid", "bid"),
        (LOST | {"bid": "0"}, "lost without bid", "bid"),
        (LOST | {"price": "2.9"}, "lost although the bid was above the price", "price"),
        (LOST | {"price": "inf"}, "price not a finite number", "price"),
        ({"floor": "-1"}, "reserve negative", "floor"),
        ({"floor": "none"}, "reserve not a finite number", "floor"),
        ({"click": "2"}, "click not 0 or 1", "click"),
        ({"click": ""}, "click not 0 or 1", "click"),
        ({"click": "0.5"}, "click not 0 or 1", "click"),
        (LOST | {"click": "1"}, "click without win", "click"),
        ({"conv": "yes"}, "conversion not 0 or 1", "conv"),
        ({"click": "0"}, "conversion without click", "conv"),
        ({"came": ""}, "conversion without readable time", "came"),
        ({"came": "soon"}, "conversion without readable time", "came"),
        ({"came": "1e300"}, "conversion without readable time", "came"),
        ({"came": "4.9"}, "conversion before its row", "came"),
        ({"worth": ""}, "value not a finite number", "worth"),
        ({"worth": "-3"}, "value negative", "worth"),
        ({"worth": "1e300"}, "value too large", "worth"),
        ({"pctr": "1.0001"}, "pctr outside 0..1", "pctr"),
        ({"pctr": "-0.1"}, "pctr outside 0..1", "pctr"),
        ({"pctr": ""}, "pctr outside 0..1", "pctr"),
        ({"age": "old"}, "feature not a finite number", "age"),
        ({"age": "inf"}, "feature not a finite number", "age"),
        ({"id": "#0"}, "duplicate id", "id"),
    ],
)
def test_each_rule_sets_its_row_aside(change: dict[str, str], rule: str, column: str) -> None:
    cleaned = clean(cells({}, change, {}), full())
    assert len(cleaned.columns["time"]) == 2
    assert cleaned.quarantine[["line", "rule", "column"]].to_numpy().tolist() == [[3, rule, column]]
    assert cleaned.quarantine["value"][0] == (GOOD | change)[column]


def test_a_row_counts_once_with_the_first_rule_it_breaks() -> None:
    cleaned = clean(cells({}, {"click": "x", "price": "-1", "ts": "4"}), full())
    assert rule_counts(cleaned.quarantine) == {"price negative": 1}


def test_good_rows_come_through_in_micro_currency() -> None:
    cleaned = clean(cells({}, {"click": "0", "conv": "0", "worth": "", "floor": "", "age": ""}), full())
    columns = cleaned.columns
    assert cleaned.quarantine.empty
    assert columns["price"].tolist() == [2_000, 2_000]  # 2 CPM are 0.002 currency for one impression
    assert columns["bid"].tolist() == [3_000, 3_000]
    assert columns["reserve"].tolist() == [1_000, 0]
    assert columns["value"].tolist() == [9.5, 0.0]
    assert columns["price"].dtype == np.int64
    assert columns["click"].tolist() == [1, 0]
    assert np.isnan(columns["age"][1])
    assert list(columns["country"]) == ["NA", "NA"]


@pytest.mark.parametrize(("unit", "micros"), [("cpm", 250), ("currency", 250_000), ("micros", 0)])
def test_units_of_money(unit: str, micros: int) -> None:
    cleaned = clean(cells({"price": "0.25"}), full(price={"column": "price", "unit": unit}, won=None, bid=None))
    assert cleaned.columns["price"].tolist() == [micros]


def test_lost_rows() -> None:
    cleaned = clean(cells({}, LOST, LOST | {"price": "3"}, LOST | {"price": "7", "bid": ""}), full())
    assert cleaned.quarantine.empty
    assert cleaned.columns["won"].tolist() == [True, False, False, False]
    assert cleaned.columns["price_known"].tolist() == [True, False, True, True]
    assert cleaned.columns["price"].tolist() == [2_000, 0, 3_000, 7_000]


def test_without_won_every_row_needs_its_price() -> None:
    cleaned = clean(cells({}, {"price": ""}), full(won=None))
    assert "won" not in cleaned.columns
    assert cleaned.columns["price_known"].tolist() == [True]
    assert rule_counts(cleaned.quarantine) == {"price not a finite number": 1}


def test_without_price_nothing_is_known_about_prices() -> None:
    cleaned = clean(cells({}, {}), full(won=None, price=None, bid=None, reserve=None))
    assert not {"price", "price_known", "bid", "won", "reserve"} & set(cleaned.columns)


def test_a_floor_above_the_price_is_lowered_and_reported() -> None:
    cleaned = clean(cells({"floor": "2.5"}, {}, LOST | {"floor": "9"}), full())
    assert cleaned.columns["reserve"].tolist() == [2_000, 1_000, 9_000]
    assert cleaned.notes == ("reserve lowered to the price in 1 rows (33.33%): the floor did not hold",)


def test_counts_of_clicks() -> None:
    rows = cells({"click": "3"}, {"click": "0", "conv": "0"}, {"click": "-1"}, {"click": "0.5"})
    cleaned = clean(rows, full(counts=True))
    assert cleaned.columns["click"].tolist() == [1, 0]
    assert rule_counts(cleaned.quarantine) == {"click not 0 or 1": 2}


def test_duplicates() -> None:
    rows = cells({"id": "a"}, {"id": "a"}, {"id": ""}, {"id": ""}, {"id": "b", "price": "x"}, {"id": "b"})
    assert rule_counts(clean(rows, full()).quarantine) == {"duplicate id": 1, "price not a finite number": 1}
    assert rule_counts(clean(rows, full(duplicates="row")).quarantine) == {
        "duplicate row": 2,
        "price not a finite number": 1,
    }
    assert rule_counts(clean(rows, full(duplicates="keep")).quarantine) == {"price not a finite number": 1}


def test_time_out_of_order_costs_the_fewest_rows() -> None:
    rows = cells(*({"ts": stamp} for stamp in ("1", "2", "99", "3", "3", "1", "4")))
    checked = clean(rows, full())
    assert checked.quarantine["value"].tolist() == ["99", "1"]
    assert checked.quarantine["rule"].unique().tolist() == ["time out of order"]
    kept = clean(rows, full(time={"column": "ts", "unit": "s", "order": "sort"}))
    assert kept.quarantine.empty


@given(st.lists(st.integers(0, 8), max_size=9))
def test_the_longest_order_is_the_longest(values: list[int]) -> None:
    array = np.array(values, dtype=np.float64)
    kept = longest_in_order(array)
    assert (np.diff(array[kept]) >= 0).all()
    best = [1] * len(values)  # the textbook O(n^2) recursion
    for i, high in enumerate(values):
        best[i] += max((best[j] for j in range(i) if values[j] <= high), default=0)
    assert kept.sum() == max(best, default=0)


@pytest.mark.parametrize(
    ("spec", "text", "seconds"),
    [
        ({"format": "%Y%m%d%H%M%S%f"}, "20130606000104828", 1370476864.828),
        ({"format": "%y%m%d%H"}, "14102100", 1413849600.0),
        ({"unit": "iso"}, "2013-06-06T00:01:04.828Z", 1370476864.828),
        ({"unit": "iso"}, "2013-06-06 08:01:04.828+08:00", 1370476864.828),
        ({"unit": "iso", "utc_offset": 8}, "2013-06-06 00:01:04", 1370505664.0),
        ({"unit": "ms"}, "1370476864828", 1370476864.828),
        ({"unit": "us"}, "1370476864828000", 1370476864.828),
        ({"unit": "hours"}, "3208", 3208 * 3600.0),
        ({"unit": "days", "utc_offset": "-1"}, "2", 47 * 3600.0),
        ({"unit": "iso"}, "06/06/2013", float("nan")),
        ({"format": "%d/%m/%Y"}, "31/02/2013", float("nan")),
        ({"unit": "s"}, "12:30", float("nan")),
        ({"unit": "iso"}, "9999-12-31T23:59:59", 253402300799.0),
        ({"unit": "iso"}, "0001-01-01", -62135596800.0),
        ({"unit": "iso"}, "2013-06-06T00:01:04.123456789", 1370476864.123457),
        ({"format": "%Y-%m-%d"}, "4024-05-01", 64828425600.0),
    ],
)
def test_time_notations(spec: dict[str, Any], text: str, seconds: float) -> None:
    column = TimeColumn.model_validate({"column": "t"} | spec)
    read = parse_time(pd.Series([text], dtype="str"), column)
    np.testing.assert_allclose(read, [seconds], rtol=0, atol=1e-6)


def test_numbers_and_flags_are_read_strictly() -> None:
    text = pd.Series(["1e-4", " 5 ", "+2", "1_000", "0x1F", "", "\uff11\uff12", "2,5", "True", "9" * 400], dtype="str")
    np.testing.assert_array_equal(parse_number(text), [1e-4, 5, 2, *[np.nan] * 6, np.inf])
    flags = pd.Series(["0", "1", "1.0", "False", "TRUE ", "2", "", "-0", "yes"], dtype="str")
    np.testing.assert_array_equal(parse_flag(flags), [0, 1, 1, 0, 1, *[np.nan] * 4])


def test_rows_of_an_hour_are_spread_over_it_in_file_order() -> None:
    stamp = np.array([0.0, 3600, 0, 0, 3600, 7200])
    np.testing.assert_allclose(spread(stamp, 3600.0), [0, 3600, 1200, 2400, 5400, 7200])
    np.testing.assert_array_equal(spread(stamp, 0.0), stamp)


def test_a_last_hour_that_was_cut_keeps_the_pace_of_the_hour_before() -> None:
    stamp = np.repeat([0.0, 3600.0, 7200.0], [10, 10, 4])
    np.testing.assert_allclose(spread(stamp, 3600.0)[-4:], 7200 + 360 * np.arange(4))
    whole = np.repeat([0.0, 3600.0], [10, 5])
    np.testing.assert_allclose(spread(whole, 3600.0)[-5:], 3600 + 720 * np.arange(5))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_spreading_stays_inside_and_keeps_the_order(hours: list[int]) -> None:
    stamp = np.array(hours) * 3600.0
    spaced = spread(stamp, 3600.0)
    np.testing.assert_array_equal(spaced // 3600, hours)
    for hour in set(hours):
        assert (np.diff(spaced[stamp == hour * 3600.0]) > 0).all()


TOO_MANY = (
    r"a.csv: 2 of 4 rows break a rule, at most 25 % may .*first: line 3, column 'price', value '-1': price negative"
)


def test_too_many_bad_rows() -> None:
    rows = cells({}, {"price": "-1"}, {"ts": "never"}, {})
    bad = clean(rows, full()).quarantine
    check_share("a.csv", bad, 4, 0.5, strict=False)
    with pytest.raises(InputError, match=TOO_MANY) as caught:
        check_share("a.csv", bad, 4, 0.25, strict=False)
    assert "time unreadable: 1" in str(caught.value)
    with pytest.raises(InputError, match="none may"):
        check_share("a.csv", bad, 4, 0.5, strict=True)
    with pytest.raises(InputError, match="no row is left"):
        check_share("a.csv", bad, 2, 1.0, strict=False)
    check_share("a.csv", bad.iloc[:0], 4, 0.0, strict=True)


def test_the_quarantine_file(tmp_path: Path) -> None:
    rows = cells({}, {"price": "=1+1", "country": 'a"b'}, {"price": "-7"}, {"id": "#0"}, {"price": "@x"}, {"age": "é"})
    quarantine = clean(rows, full()).quarantine
    path = tmp_path / "quarantine.csv"
    path.write_text("old", encoding="utf-8")
    write_quarantine(quarantine, path)
    read = pd.read_csv(path, dtype="str", keep_default_na=False)
    assert list(read) == ["line", "rule", "column", "value", "row"]
    assert read["line"].tolist() == ["3", "4", "5", "6", "7"]
    assert read["value"].tolist() == ["'=1+1", "'-7", "#0", "'@x", "é"]
    assert read["row"][0] == '5,1,=1+1,3,1,1,1,9000,9.5,0.1,#1,"a""b",31'
    assert [file.name for file in tmp_path.iterdir()] == ["quarantine.csv"], "no temporary file is left"


@pytest.mark.parametrize("mark", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_begins_like_a_formula(tmp_path: Path, mark: str) -> None:
    quarantine = clean(cells({"ts": f"{mark}x"}), full()).quarantine
    write_quarantine(quarantine, tmp_path / "q.csv")
    read = pd.read_csv(tmp_path / "q.csv", dtype="str", keep_default_na=False, lineterminator="\n")
    for text in (read["value"][0], read["row"][0]):
        assert text.startswith(f"'{mark}x")


def test_a_quarantine_file_that_cannot_be_written(tmp_path: Path) -> None:
    quarantine = clean(cells({"ts": "x"}), full()).quarantine
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_quarantine(quarantine, tmp_path / "file" / "q.csv")
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_quarantine(quarantine, tmp_path / "taken")
    assert {file.name for file in tmp_path.iterdir()} == {"file", "taken"}


def test_times_of_conversions_are_read_where_there_is_one() -> None:
    """On the clock of time, and never before it, though rows of a coarse stamp are spread over it."""
    columns = clean(cells({"came": "65"}, {"conv": "0", "worth": "", "came": "-1"}), full()).columns
    assert columns["conversion_time"][0] == 65.0
    assert np.isnan(columns["conversion_time"][1])
    coarse = full(time={"column": "ts", "unit": "s", "resolution": 100.0})
    late = clean(cells(*[{"came": "65"}] * 4), coarse).columns
    assert late["time"].tolist() == [5.0, 30.0, 55.0, 80.0]
    assert late["conversion_time"].tolist() == [65.0, 65.0, 65.0, 80.0]
    assert "conversion_time" not in clean(cells({}), full(conversion_time=None)).columns
