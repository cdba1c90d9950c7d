"""A log replayed without holding a day in memory: tick by tick, from pieces of the log in the order of time.

Two readings. The first surveys the episodes: what winning everything costs, and which of them are whole. The second
yields the ticks one by one, each as a day that has traffic in that tick alone, for envs/episode to play. The results
are those of the in-memory replay (envs/replay) to the bit: draws come one to a row, and amounts are rounded to the
grid of the whole episode, of which the survey knows the totals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.types import UNWINNABLE
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.grid import on_grid, total_of
from bidpilot.envs.replay import Draws, Happened, whole_episodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bidpilot.ctr.types import BoolArray, IntArray
    from bidpilot.envs.beliefs import Beliefs

Pieces: TypeAlias = Callable[[], Iterable[AuctionLog]]
"""A log that can be read again and again: pieces of any size, one after the other in the order of time."""

Rows = TypeVar("Rows", Opportunities, Hidden)


@dataclass
class EpisodeFacts:
    """What the first reading finds of an episode.

    rows, unknown, unseen: how many, of how many the log does not know the price, and of how many not the outcome.
    ticks: those with rows. clicks, worth: totals of predicted clicks and worth. full_cost: (W,) micro-currency, of
    winning everything, in each world.
    """

    full_cost: IntArray
    rows: int = 0
    unknown: int = 0
    unseen: int = 0
    ticks: set[int] = field(default_factory=set)
    clicks: float = 0.0
    worth: float = 0.0

    def add(self, part: slice, happened: Happened, hidden: Sequence[Hidden]) -> None:
        """Count some rows."""
        seen = happened.seen.rows(part)
        self.rows += len(seen.tick)
        self.unknown += int((~happened.known[part]).sum())
        self.unseen += int((~happened.won[part]).sum())
        self.ticks.update(np.unique(seen.tick).tolist())
        self.clicks += total_of(seen.pctr)
        self.worth += total_of(seen.value)
        for world, each in enumerate(hidden):
            price = each.price[part]
            self.full_cost[world] += int(price[(seen.value > 0) & (price < UNWINNABLE)].sum())


class Tick(NamedTuple):
    """The traffic of one tick of an episode, in each of W worlds.

    days: of the episode's ticks, with rows in this one alone. known: (n,) prices that the log knows. bid: (n,)
    micro-currency, what was bid.
    """

    episode: int
    tick: int
    days: tuple[Day, ...]
    known: BoolArray
    bid: IntArray


class _Piece(NamedTuple):
    """Rows of one tick."""

    episode: int
    seen: Opportunities
    hidden: list[Hidden]
    known: BoolArray
    bid: IntArray


def draws_of(rng: np.random.Generator, worlds: int) -> tuple[Draws, ...]:
    """Return the streams of so many worlds; those of a single one are the in-memory replay's."""
    return tuple(Draws.of(stream) for stream in ([rng] if worlds == 1 else rng.spawn(worlds)))


def survey(pieces: Pieces, beliefs: Beliefs, worlds: Sequence[Draws]) -> dict[int, EpisodeFacts]:
    """Read the log once; return the episodes that are whole, by number. Raises InputError where there are none."""
    found: dict[int, EpisodeFacts] = {}
    for log in pieces():
        happened = Happened(log, beliefs)
        hidden = [happened.hidden(draws) for draws in worlds]
        for part in _runs(happened.episode):
            facts = EpisodeFacts(np.zeros(len(worlds), dtype=np.int64))
            found.setdefault(int(happened.episode[part.start]), facts).add(part, happened, hidden)
    if not found:
        raise InputError("the log has no rows to replay")
    whole = whole_episodes([len(facts.ticks) for facts in found.values()])
    return {number: facts for (number, facts), keep in zip(found.items(), whole, strict=True) if keep}


def ticks(
    pieces: Pieces, beliefs: Beliefs, worlds: Sequence[Draws], episodes: dict[int, EpisodeFacts]
) -> Iterator[Tick]:
    """Yield the ticks with traffic of the episodes surveyed, in order. worlds: streams as fresh as the survey's were.

    Holds a piece of the log and a tick of it at a time.
    """
    waiting: list[_Piece] = []
    for log in pieces():
        for piece in _pieces(Happened(log, beliefs), worlds):
            if waiting and _moment(waiting[0]) != _moment(piece):
                yield from _tick(waiting, beliefs, episodes)
                waiting = []
            waiting.append(piece)
    yield from _tick(waiting, beliefs, episodes)


def empty_day(beliefs: Beliefs) -> Day:
    """Return an episode without traffic: what a tick that nobody visits is played on."""
    none, no, zero = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool), np.zeros(0)
    seen = Opportunities(zero, zero, zero, zero, none, none)
    hidden = Hidden(none, no, no, none, zero)
    return Day(seen, hidden, beliefs.timeline.ticks, len(beliefs.segments.names), once=True)


def _pieces(happened: Happened, worlds: Sequence[Draws]) -> Iterator[_Piece]:
    hidden = [happened.hidden(draws) for draws in worlds]
    width = int(happened.seen.tick.max(initial=0)) + 1
    for part in _runs(happened.episode * width + happened.seen.tick):
        each = [world.rows(part) for world in hidden]
        episode = int(happened.episode[part.start])
        yield _Piece(episode, happened.seen.rows(part), each, happened.known[part], happened.bid[part])


def _moment(piece: _Piece) -> tuple[int, int]:
    return piece.episode, int(piece.seen.tick[0])


def _tick(waiting: list[_Piece], beliefs: Beliefs, episodes: dict[int, EpisodeFacts]) -> Iterator[Tick]:
    """Put the pieces of one tick together, amounts on the grid of their episode; nothing where that is left out."""
    if not waiting or waiting[0].episode not in episodes:
        return
    (episode, tick), facts = _moment(waiting[0]), episodes[waiting[0].episode]
    seen = _joined([piece.seen for piece in waiting])
    worth = on_grid(seen.value, facts.worth)
    seen = replace(seen, pctr=on_grid(seen.pctr, facts.clicks), pcvr=np.nan_to_num(seen.pcvr), value=worth)
    shape = (beliefs.timeline.ticks, len(beliefs.segments.names))
    worlds = [_joined(parts) for parts in zip(*(piece.hidden for piece in waiting), strict=True)]
    days = [Day(seen, replace(hidden, expected=worth), *shape, once=True) for hidden in worlds]
    known, bid = (np.concatenate([getattr(piece, name) for piece in waiting]) for name in ("known", "bid"))
    yield Tick(episode, tick, tuple(days), known, bid)


def _joined(parts: Sequence[Rows]) -> Rows:
    """Put tables of rows one after the other; columns that they lack stay away."""
    if len(parts) == 1:
        return parts[0]
    columns: list[list[Any]] = [[getattr(part, name) for part in parts] for name in parts[0].__slots__]
    whole: list[Any] = [None if column[0] is None else np.concatenate(column) for column in columns]
    return type(parts[0])(*whole)


def _runs(numbers: IntArray) -> list[slice]:
    """Return the slices of equal numbers (n,) that follow each other."""
    edges = np.flatnonzero(np.diff(numbers)) + 1
    bounds = [0, *edges.tolist(), len(numbers)]
    return [slice(a, b) for a, b in pairwise(bounds) if b > a]
