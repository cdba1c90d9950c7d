"""One episode's traffic: what is seen and what is hidden are two types.

So a leak is a type error: a policy is handed Opportunities and CampaignState, never Hidden.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE, BoolArray, FloatArray, IntArray
from bidpilot.envs.day_checks import check_day
from bidpilot.envs.grid import on_grid

Codes: TypeAlias = npt.NDArray[np.integer[Any]]
"""Small whole numbers, in any integer type: a day holds millions of them."""

if TYPE_CHECKING:
    from bidpilot.envs.ladder import Ladder


@dataclass(frozen=True, slots=True)
class Opportunities:
    """What a bidder sees of n bid opportunities before bidding.

    pctr, pcvr: (n,) predicted probabilities. value: (n,) currency, predicted worth of winning.
    reserve: (n,) currency. segment, tick: (n,) integers. user: (n,) integers from 0, who is looking; None: unknown.
    soft_floor: (n,) currency, see auctions.soft_floor; None: none.
    """

    pctr: FloatArray
    pcvr: FloatArray
    value: FloatArray
    reserve: FloatArray
    segment: Codes
    tick: Codes
    user: Codes | None = None
    soft_floor: FloatArray | None = None

    def rows(self, part: slice | IntArray) -> Opportunities:
        """Return the opportunities of some rows."""
        return Opportunities(*_rows(self, part))


@dataclass(frozen=True, slots=True)
class Hidden:
    """What a bidder cannot see: prices, and the outcomes if the impression were shown.

    price: (n,) int64 micro-currency, the lowest bid that wins (the reserve included).
    click, conversion: (n,) bool. revenue: (n,) int64 micro-currency, the worth that is realised.
    expected: (n,) currency, the expected worth under the law of this market.
    delay: (n,) integers, ticks after the win until a conversion is reported; None: within its tick.
    """

    price: IntArray
    click: BoolArray
    conversion: BoolArray
    revenue: IntArray
    expected: FloatArray
    delay: Codes | None = None

    def rows(self, part: slice | IntArray) -> Hidden:
        """Return what is hidden of some rows."""
        return Hidden(*_rows(self, part))


def _rows(table: Opportunities | Hidden, part: slice | IntArray) -> list[Any]:
    """Return some rows of every column, in order."""
    columns = [getattr(table, name) for name in table.__slots__]
    return [None if column is None else column[part] for column in columns]


@dataclass(frozen=True)
class Day:
    """One episode's traffic, in time order: what is seen and what is hidden of every opportunity.

    Potential outcomes are drawn once, so that every policy meets the same people (common random numbers).
    Worths and click rates must lie on a binary grid on which float64 sums are exact in any order (build rounds
    them, see on_grid): totals do not depend on how they were added up. once: the day will not be replayed, so that
    scanning it is cheaper than building an index (the results are the same). belief: (segments,) factors by which
    the bidder misjudges click rates and worths; None: 1 (see misjudged). draws: what was drawn for this day, by name.
    Raises InputError for prices below 0, rates outside 0..1, ticks out of order or range, and totals that are not
    numbers or too large to be exact.
    """

    seen: Opportunities
    hidden: Hidden
    ticks: int
    segments: int = 1
    once: bool = False
    belief: FloatArray | None = None
    draws: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check order and range."""
        check_day(self)

    @classmethod
    def trusted(
        cls,
        seen: Opportunities,
        hidden: Hidden,
        counts: IntArray,
        segments: int,
        *,
        once: bool,
        draws: dict[str, float],
    ) -> Day:
        """Make a day without checking it: for laws that draw nothing else than what check_day asks for.

        counts: (ticks,) number of opportunities.
        """
        day = object.__new__(cls)
        columns = {"seen": seen, "hidden": hidden, "ticks": len(counts), "segments": segments}
        day.__dict__.update(columns, once=once, belief=None, draws=draws, volume=counts.reshape(-1, 1))
        return day

    def kept(self) -> Day:
        """Return the day as one that will be replayed: through its index, see once."""
        if not self.once:
            return self
        day = object.__new__(Day)
        day.__dict__.update(self.__dict__, once=False)
        return day

    def misjudged(self, belief: FloatArray) -> Day:
        """Return the day as a bidder sees it who misjudges each segment's click rate by a factor (segments,).

        On top of how this day is misjudged already.
        It shares everything else with this day, the sorted index included: nothing is sorted again.
        """
        if belief.shape != (self.segments,) or not ((belief > 0) & np.isfinite(belief)).all():
            raise InputError(f"a belief must be {self.segments} factors above 0, one per segment; got {belief}")
        _ = self.starts, self.offered, self.volume, None if self.once else self.by_segment  # once, for all views
        view = object.__new__(Day)
        view.__dict__.update(self.__dict__, belief=belief if self.belief is None else self.belief * belief)
        view.__dict__.pop("traffic_hash", None)
        return view

    @classmethod
    def build(
        cls,
        seen: Opportunities,
        hidden: Hidden,
        ticks: int,
        segments: int = 1,
        *,
        once: bool = False,
        draws: dict[str, float] | None = None,
    ) -> Day:
        """Make a day of arrays as they come: sums of worth and clicks are made exact; a NaN is 0, so no bid."""
        exact = replace(seen, pctr=on_grid(seen.pctr), pcvr=np.nan_to_num(seen.pcvr), value=on_grid(seen.value))
        return cls(exact, replace(hidden, expected=on_grid(hidden.expected)), ticks, segments, once, draws=draws or {})

    def __len__(self) -> int:
        """Return the number of opportunities."""
        return len(self.seen.tick)

    @cached_property
    def starts(self) -> IntArray:
        """(ticks + 1,) first row of every tick."""
        if "volume" in self.__dict__:
            return np.append(0, np.cumsum(self.volume))
        return np.searchsorted(self.seen.tick, np.arange(self.ticks + 1, dtype=self.seen.tick.dtype))

    @property
    def ratio(self) -> FloatArray:
        """(n,) r = price / value before any misjudgement: the multiplier from which on an opportunity is won.

        Infinite where the value is not above 0 (no bid on a worthless impression) or no bid can win. Always by the
        same two operations on the same numbers, so ties fall alike wherever it is used.
        """
        return ratio_of(self.hidden.price, self.seen.value)

    @property
    def payable(self) -> IntArray:
        """(n,) micro-currency: the price where a bid can win, else 0 (keeps sums of prices exact)."""
        price = self.hidden.price
        return np.where((self.seen.value > 0) & (price < UNWINNABLE), price, 0)

    @property
    def believed(self) -> FloatArray:
        """(n,) currency: predicted worth of winning as the bidder sees it, misjudgement included."""
        value = self.seen.value
        return value if self.belief is None else value * self.belief[self.seen.segment]

    def sight(self, part: slice) -> Opportunities:
        """Return what the bidder sees of some rows, misjudgement included."""
        seen = self.seen.rows(part)
        if self.belief is None:
            return seen
        factor = self.belief[seen.segment]
        return replace(seen, pctr=np.minimum(seen.pctr * factor, 1.0), value=seen.value * factor)

    @cached_property
    def offered(self) -> IntArray:
        """(ticks, segments) number of opportunities."""
        cell = self.seen.tick.astype(np.int64) * self.segments + self.seen.segment
        return np.bincount(cell, minlength=self.ticks * self.segments).reshape(self.ticks, self.segments)

    def only(self, segment: int) -> Day:
        """Return the opportunities of one segment as a day of their own."""
        rows = np.flatnonzero(self.seen.segment == segment)
        seen = self.seen.rows(rows)
        one = replace(seen, segment=np.zeros_like(seen.segment))
        part = Day(one, self.hidden.rows(rows), self.ticks, once=self.once, draws=self.draws)
        return part if self.belief is None else part.misjudged(self.belief[[segment]])

    @cached_property
    def posted(self) -> FloatArray:
        """(ticks, segments, 2) sum (micro-currency) and number of the prices that a bid can reach."""
        reached = (self.seen.value > 0) & (self.hidden.price < UNWINNABLE)
        cell = self.seen.tick.astype(np.int64) * self.segments + self.seen.segment
        sums = [np.bincount(cell, weights, self.ticks * self.segments) for weights in (self.payable, reached)]
        return np.stack(sums, axis=-1).reshape(self.ticks, self.segments, 2).astype(np.float64, copy=False)

    @cached_property
    def paying(self) -> IntArray:
        """Rows (m,) whose win is worth something in the end."""
        return np.flatnonzero(self.hidden.revenue)

    @cached_property
    def clicks_pay(self) -> bool:
        """Tell whether clicks that do not convert are worth something."""
        return bool(self.hidden.revenue[~self.hidden.conversion].any())

    @cached_property
    def certain(self) -> bool:
        """Tell whether every value is above 0 and every price one that a bid can reach."""
        return len(self) > 0 and bool(self.seen.value.min() > 0 and self.hidden.price.max() < UNWINNABLE)

    @cached_property
    def users(self) -> int:
        """Number of users: one more than the highest id."""
        return 0 if self.seen.user is None or not len(self) else int(self.seen.user.max()) + 1

    @cached_property
    def volume(self) -> IntArray:
        """(ticks, 1) number of opportunities of all segments."""
        return np.diff(self.starts).reshape(-1, 1)

    @cached_property
    def volumes(self) -> list[float]:
        """The same as Python numbers, which are quicker to index."""
        volumes: list[float] = self.volume[:, 0].astype(np.float64).tolist()
        return volumes

    @cached_property
    def bounds(self) -> list[int]:
        """(ticks + 1) first row of every tick, likewise."""
        bounds: list[int] = self.starts.tolist()
        return bounds

    @cached_property
    def pooled(self) -> Ladder:
        """The sorted index over all segments together: one multiplier a tick."""
        from bidpilot.envs.ladder import Ladder  # the index is built from a Day

        return Ladder.build(self, groups=1)

    @cached_property
    def by_segment(self) -> Ladder:
        """The sorted index per segment: one multiplier a segment and tick."""
        from bidpilot.envs.ladder import Ladder  # the index is built from a Day

        return Ladder.build(self, groups=self.segments)

    @cached_property
    def full_cost(self) -> int:
        """Micro-currency that winning every winnable opportunity would cost at second price."""
        return int(self.payable.sum())

    @cached_property
    def frontier(self) -> tuple[FloatArray, FloatArray]:
        """R* as a function of the budget, see hindsight.thinned_frontier."""
        from bidpilot.envs.hindsight import thinned_frontier  # it reads a Day

        return thinned_frontier(self)

    @cached_property
    def traffic_hash(self) -> str:
        """Fingerprint of everything in the day: equal for paired comparisons."""
        digest = hashlib.blake2b(digest_size=8)
        for part in (self.seen, self.hidden):
            for name in part.__slots__:
                column = getattr(part, name)
                digest.update(b"" if column is None else np.ascontiguousarray(column).tobytes())
        digest.update(b"" if self.belief is None else self.belief.tobytes())
        return digest.hexdigest()


def ratio_of(price: IntArray, value: FloatArray) -> FloatArray:
    """Return r (n,) = price / value, see Day.ratio."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        worth = value * MICROS
        return np.where((worth > 0) & (price < UNWINNABLE), price / worth, np.inf)
