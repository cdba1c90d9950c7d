"""From cells of text to columns of the log: every value parsed once, every row judged by the rules.

Rules and what they take for wrong: see clean(). A row that breaks a rule is set aside with that rule, never
mended; the one exception is a floor above the price that was paid, which plainly did not hold: it is lowered to
the price and counted in a note (0.1 to 0.7 % of iPinYou rows, too many and too regular to throw away).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from bidpilot.ctr.mapping import MICROS_PER_UNIT, SECONDS_PER_UNIT
from bidpilot.ctr.quarantine import Verdicts
from bidpilot.ctr.types import MICROS, UNWINNABLE

if TYPE_CHECKING:
    from bidpilot.ctr.mapping import Mapping, MoneyColumn, TimeColumn
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray

LARGEST_VALUE = 2.0**53
"""The worth of a conversion, micro-currency, stays below this; money per impression below UNWINNABLE."""

LAST_TIME = 253_402_300_800.0
"""Seconds from 1970 to the year 10000; a later stamp is a mistaken unit."""

CUT = 0.5
"""A last hour with less than this share of the rows of the hour before was not logged to its end."""

FLAGS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


class Cleaned(NamedTuple):
    """What cleaning made of n rows.

    columns: of the good rows, for AuctionLog.from_columns. quarantine: table of the bad rows (line, rule, column,
    value, row). notes: what was changed or left out, for people.
    """

    columns: dict[str, Any]
    quarantine: pd.DataFrame
    notes: tuple[str, ...]


@np.errstate(over="ignore")  # 1e308 hours or dollars become infinite, and are judged as that
def clean(cells: pd.DataFrame, mapping: Mapping) -> Cleaned:
    """Parse and judge a table of text (n rows, index: line).

    Rules, in the order in which a row is judged; the first one broken counts:
    time unreadable | time outside 1970..9999 | won not 0 or 1
    bid, price, reserve: not a finite number | negative | too large (2**40 micro-currency, about 1.1 million)
    lost without bid | price above bid (won) | lost although the bid was above the price
    click, conversion: not 0 or 1 | click without win | conversion without click
    conversion without readable time | conversion before its row
    value: not a finite number | negative | too large (2**53 micro-currency) | pctr outside 0..1
    feature not a finite number | duplicate id, duplicate row
    time out of order: the fewest rows without which time never runs backwards

    Empty cells are allowed where nothing is lost: price and bid of a lost row (not both), reserve (0: no floor), value
    without conversion (0), and numeric features (NaN). conversion_time is not read where nothing converted.
    """
    verdicts = Verdicts(len(cells))
    stamp = _time(cells, mapping.time, verdicts)
    auction = _auction(cells, mapping, verdicts)
    response = _response(cells, mapping, verdicts, auction.get("won"))
    response |= _conversion_time(cells, mapping, verdicts, response, stamp)
    numbers = {name: _feature(cells, name, verdicts) for name in mapping.numeric}
    _duplicates(cells, mapping, verdicts)
    if mapping.time.order == "check":
        _order(stamp, mapping.time, verdicts)
    good = verdicts.good
    notes = _lower_reserve(auction, good)
    texts = {field: cells[column] for field, column in mapping.columns.items() if field in ("id", "segment")}
    texts |= {name: cells[name] for name in mapping.categorical}
    columns = {name: values[good] for name, values in (auction | response | numbers).items()}
    columns |= {name: values[good].array for name, values in texts.items()}
    columns["time"] = spread(stamp[good], mapping.time.resolution)
    if "conversion_time" in columns:  # spreading may have passed a conversion of the same stamp
        columns["conversion_time"] = np.maximum(columns["conversion_time"], columns["time"])
    return Cleaned(columns, verdicts.frame(cells), notes)


def parse_number(text: pd.Series[str]) -> FloatArray:
    """Read decimal numbers, (n,); NaN where the text is none (empty, "2,5", "0x1F", ...)."""
    return pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)


def parse_time(text: pd.Series[str], spec: TimeColumn) -> FloatArray:
    """Read stamps as seconds since the origin, (n,); NaN where the text is none."""
    shift = spec.utc_offset * SECONDS_PER_UNIT["hours"]
    if spec.unit is not None and spec.unit in SECONDS_PER_UNIT:
        return parse_number(text) * SECONDS_PER_UNIT[spec.unit] + shift
    stamps = pd.to_datetime(text, format=spec.format or "ISO8601", errors="coerce", utc=True)
    elapsed = (stamps - pd.Timestamp(0, unit="s", tz="UTC")).dt.total_seconds()
    return np.asarray(elapsed, dtype=np.float64) + shift


def parse_flag(text: pd.Series[str], *, counts: bool = False) -> FloatArray:
    """Read 0 and 1 (or false and true), (n,); NaN for anything else. counts: whole numbers above 0 mean 1."""
    if not counts:
        return np.asarray(text.str.strip().str.lower().map(FLAGS), dtype=np.float64)
    number = parse_number(text)
    whole = np.isfinite(number) & (number >= 0) & (number == np.rint(number))
    return np.asarray(np.where(whole, np.minimum(number, 1.0), np.nan), dtype=np.float64)


def spread(stamp: FloatArray, resolution: float) -> FloatArray:
    """Spread the rows of each stamp evenly over the resolution seconds after it, in the order given.

    A last stamp with fewer than half of the rows of the one before is where the file was cut: its rows come at the
    pace of the stamp before, and the log ends there.
    """
    if not resolution or not len(stamp):
        return stamp
    known, place, count = np.unique(stamp, return_inverse=True, return_counts=True)
    width = np.full(len(known), resolution)
    if len(known) > 1 and count[-1] < CUT * count[-2]:
        width[-1] *= count[-1] / count[-2]
    turn = pd.Series(place).groupby(place).cumcount().to_numpy(dtype=np.float64)
    return np.asarray(stamp + (width / count)[place] * turn)


def longest_in_order(values: FloatArray) -> BoolArray:
    """Mark a longest non-decreasing subsequence, (n,): patience sorting, O(n log n)."""
    if not (np.diff(values) < 0).any():
        return np.ones(len(values), dtype=np.bool_)
    tails: list[float] = []  # the lowest end of a subsequence of each length, and where it is
    places: list[int] = []
    before = np.full(len(values), -1, dtype=np.int64)
    for place, value in enumerate(values.tolist()):
        length = bisect_right(tails, value)
        before[place] = places[length - 1] if length else -1
        tails[length : length + 1] = [value]
        places[length : length + 1] = [place]
    kept = np.zeros(len(values), dtype=np.bool_)
    place = places[-1]
    while place >= 0:
        kept[place] = True
        place = int(before[place])
    return kept


def _time(cells: pd.DataFrame, spec: TimeColumn, verdicts: Verdicts) -> FloatArray:
    stamp = parse_time(cells[spec.column], spec)
    verdicts.add("time unreadable", spec.column, np.isnan(stamp))
    verdicts.add("time outside 1970..9999", spec.column, ~((stamp >= 0) & (stamp < LAST_TIME)))
    return stamp


def _money(cells: pd.DataFrame, field: str, spec: MoneyColumn, verdicts: Verdicts, needed: BoolArray) -> IntArray:
    """Read a column of money as micro-currency, (n,); where not needed it may be empty, and is 0."""
    text, limit = cells[spec.column], LARGEST_VALUE if field == "value" else UNWINNABLE
    amount = parse_number(text) * MICROS_PER_UNIT[spec.unit]
    empty = ~needed & (text.str.strip() == "").to_numpy(dtype=np.bool_)
    verdicts.add(f"{field} not a finite number", spec.column, ~np.isfinite(amount) & ~empty)
    verdicts.add(f"{field} negative", spec.column, amount < 0)
    verdicts.add(f"{field} too large", spec.column, amount >= limit)
    return np.rint(np.where(np.abs(amount) < limit, amount, 0.0)).astype(np.int64)


def _auction(cells: pd.DataFrame, mapping: Mapping, verdicts: Verdicts) -> dict[str, Any]:
    """Read won, bid, price, price_known and reserve: those that the source has."""
    every = np.ones(len(cells), dtype=np.bool_)
    found: dict[str, Any] = {}
    if mapping.won:
        flag = parse_flag(cells[mapping.won])
        verdicts.add("won not 0 or 1", mapping.won, np.isnan(flag))
        found["won"] = flag == 1
    won = found.get("won", every)
    if mapping.bid:
        found["bid"] = _money(cells, "bid", mapping.bid, verdicts, won)
    if mapping.price:
        found["price"] = _money(cells, "price", mapping.price, verdicts, won)
        found["price_known"] = won | (cells[mapping.price.column].str.strip() != "").to_numpy(dtype=np.bool_)
    if mapping.price and mapping.bid:
        bid, price, known = found["bid"], found["price"], found["price_known"]
        verdicts.add("lost without bid", mapping.bid.column, ~known & (bid == 0))
        verdicts.add("price above bid", mapping.price.column, won & (price > bid))
        verdicts.add("lost although the bid was above the price", mapping.price.column, ~won & known & (bid > price))
    if mapping.reserve:
        found["reserve"] = _money(cells, "reserve", mapping.reserve, verdicts, ~every)
    return found


def _response(cells: pd.DataFrame, mapping: Mapping, verdicts: Verdicts, won: BoolArray | None) -> dict[str, Any]:
    """Read click, conversion, value and pctr: those that the source has."""
    found: dict[str, Any] = {}
    for field, column in (("click", mapping.click), ("conversion", mapping.conversion)):
        if column:
            flag = parse_flag(cells[column], counts=mapping.counts)
            verdicts.add(f"{field} not 0 or 1", column, np.isnan(flag))
            found[field] = (flag == 1).astype(np.int8)
    if mapping.click and won is not None:
        verdicts.add("click without win", mapping.click, (found["click"] == 1) & ~won)
    if mapping.conversion:
        verdicts.add("conversion without click", mapping.conversion, found["conversion"] > found["click"])
    if mapping.value:
        found["value"] = _money(cells, "value", mapping.value, verdicts, found["conversion"] == 1) / MICROS
    if mapping.pctr:
        rate = parse_number(cells[mapping.pctr])
        verdicts.add("pctr outside 0..1", mapping.pctr, ~((rate >= 0) & (rate <= 1)))
        found["pctr"] = rate
    return found


def _conversion_time(
    cells: pd.DataFrame, mapping: Mapping, verdicts: Verdicts, response: dict[str, Any], stamp: FloatArray
) -> dict[str, FloatArray]:
    """Read when conversions came (n,), on the clock of the rows' stamps (n,), NaN where there is none."""
    column = mapping.conversion_time
    if column is None or "conversion" not in response:
        return {}
    converted = response["conversion"] == 1
    came = np.where(converted, parse_time(cells[column], mapping.time), np.nan)
    verdicts.add("conversion without readable time", column, converted & ~(came < LAST_TIME))
    verdicts.add("conversion before its row", column, came < stamp)
    return {"conversion_time": came}


def _feature(cells: pd.DataFrame, name: str, verdicts: Verdicts) -> FloatArray:
    number = parse_number(cells[name])
    empty = (cells[name].str.strip() == "").to_numpy(dtype=np.bool_)
    verdicts.add("feature not a finite number", name, ~np.isfinite(number) & ~empty)
    return number


def _duplicates(cells: pd.DataFrame, mapping: Mapping, verdicts: Verdicts) -> None:
    good = verdicts.good
    if mapping.duplicate_rule == "id" and mapping.id:
        known = cells[mapping.id].where(good, "")
        verdicts.add("duplicate id", mapping.id, (known.duplicated() & (known != "")).to_numpy(dtype=np.bool_))
    elif mapping.duplicate_rule == "row":
        verdicts.add("duplicate row", "", cells.duplicated().to_numpy(dtype=np.bool_))


def _order(stamp: FloatArray, spec: TimeColumn, verdicts: Verdicts) -> None:
    good = np.flatnonzero(verdicts.good)
    back = np.zeros(len(stamp), dtype=np.bool_)
    back[good] = ~longest_in_order(stamp[good])
    verdicts.add("time out of order", spec.column, back)


def _lower_reserve(auction: dict[str, Any], good: BoolArray) -> tuple[str, ...]:
    """Lower each floor to the known price; a floor above what was paid did not hold."""
    if not {"reserve", "price"} <= set(auction):
        return ()
    above = auction["price_known"] & (auction["reserve"] > auction["price"])
    auction["reserve"] = np.where(above, auction["price"], auction["reserve"])
    count = int((above & good).sum())
    share = count / max(int(good.sum()), 1)
    return (f"reserve lowered to the price in {count:,} rows ({share:.2%}): the floor did not hold",) if count else ()
