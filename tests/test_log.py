"""The auction log: complete, typed, and in time order."""

import numpy as np
import pandas as pd
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import LOG_SCHEMA, SCHEMA_NAMES, AuctionLog


def log_of(**columns: object) -> AuctionLog:
    return AuctionLog.from_columns({"time": [30.0, 10.0, 20.0]} | columns, source="my log")


def test_absent_columns_get_their_default() -> None:
    log = log_of(click=[1, 0, 0])
    for column in LOG_SCHEMA:
        assert str(log.frame[column.name].dtype) == column.dtype
        if column.name not in {"time", "click"}:
            value = log.frame[column.name].iloc[0]
            assert value == column.default or (np.isnan(value) and np.isnan(column.default))
    assert log.recorded == {"time", "click"}
    assert "click" in log
    assert "price" not in log


def test_rows_are_sorted_by_time_and_equal_times_keep_their_order() -> None:
    log = AuctionLog.from_columns({"time": [2.0, 1.0, 2.0, 1.0] * 100, "price": np.arange(400)})
    early = [row for row in range(400) if row % 2]
    late = [row for row in range(400) if not row % 2]
    assert log.frame["price"].tolist() == early + late
    assert log.frame.index.tolist() == list(range(400))


def test_columns_are_matched_by_place_whatever_their_index() -> None:
    log = log_of(price=pd.Series([3, 1, 2], index=[9, 8, 7]), segment=pd.Series(["c", "a", "b"], index=[1, 2, 0]))
    assert log.frame["price"].tolist() == [1, 2, 3]
    assert log.frame["segment"].tolist() == ["a", "b", "c"]


def test_features_keep_what_they_are() -> None:
    log = AuctionLog.from_columns(
        {"time": [0.0, 1.0], "country": ["NA", "9007199254740993"], "age": [3, np.nan]},
        categorical=("country",),
        numeric=("age",),
    )
    assert log.frame["country"].tolist() == ["NA", "9007199254740993"]
    assert log.frame["age"].dtype == np.float64
    assert np.isnan(log.frame["age"][1])
    assert not log.recorded - {"time"}


@pytest.mark.parametrize("columns", [{"price": [1]}, {"segment": ["a", "b"]}, {"x": [1.0, 2.0, 3.0, 4.0]}])
def test_columns_of_another_length_are_refused(columns: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"my log: column '\w+' has \d rows, time has 3"):
        log_of(**columns)


def test_a_missing_column_is_named() -> None:
    frame = log_of().frame.drop(columns="bid")
    with pytest.raises(InputError, match=r"my log: column 'bid' is missing; the log has \['id', 'time'"):
        AuctionLog(frame, source="my log")
    with pytest.raises(InputError, match="column 'age' is missing"):
        AuctionLog(log_of().frame, numeric=("age",))


@pytest.mark.parametrize(
    ("name", "dtype", "wanted"), [("price", "float64", "int64"), ("click", "int64", "int8"), ("won", "int8", "bool")]
)
def test_a_wrong_dtype_is_named(name: str, dtype: str, wanted: str) -> None:
    with pytest.raises(InputError, match=f"column '{name}' must be {wanted}, it is {dtype}"):
        AuctionLog(log_of().frame.astype({name: dtype}))


def test_time_runs_forwards() -> None:
    with pytest.raises(InputError, match="my log: time runs backwards; sort the rows"):
        AuctionLog(log_of().frame.iloc[::-1], source="my log")
    with pytest.raises(InputError, match="my log: row 2 has no time"):
        AuctionLog.from_columns({"time": [2.0, np.nan, 1.0]}, source="my log")


def test_hours_and_days() -> None:
    log = AuctionLog.from_columns({"time": np.array([0, 3599, 3600, 86_399, 86_400, 90_000 + 86_400]) * 1.0})
    assert log.hour.tolist() == [0, 0, 1, 23, 0, 1]
    assert log.day.tolist() == [0, 0, 0, 0, 1, 2]
    assert log.hour.dtype == log.day.dtype == np.int64


@pytest.mark.parametrize(
    "keep", [np.array([False, True, True]), np.array([1, 2]), slice(1, None)], ids=["mask", "numbers", "slice"]
)
def test_parts_of_a_log(keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
    part = AuctionLog.from_columns({"time": [1.0, 2.0, 3.0], "price": [4, 5, 6]}, currency="fen").rows(keep)
    assert len(part) == 2
    assert part.frame["price"].tolist() == [5, 6]
    assert part.frame.index.tolist() == [0, 1]
    assert part.currency == "fen"
    assert part.recorded == {"time", "price"}


def test_parts_must_stay_in_time_order() -> None:
    with pytest.raises(InputError, match="time runs backwards"):
        log_of().rows(np.array([2, 0]))


def test_a_log_may_be_empty() -> None:
    log = AuctionLog.from_columns({"time": []})
    assert len(log) == len(log.hour) == 0
    assert tuple(log.frame.columns) == SCHEMA_NAMES


def test_a_conversion_before_its_row_is_refused() -> None:
    log = log_of(conversion_time=[np.nan, 10.0, 90.0])
    assert log.frame["conversion_time"].tolist()[:2] == [10.0, 90.0]
    with pytest.raises(InputError, match=r"my log: row 1 has a conversion_time before its own time"):
        log_of(conversion_time=[np.nan, 10.0, 19.0])
