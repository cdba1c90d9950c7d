"""A policy that plays ticks as they come, in one world, and what of its play the log itself tells."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.ctr.types import MICROS, FloatArray, whole_micros
from bidpilot.envs.auctions import pricing_rule
from bidpilot.envs.episode import Episode
from bidpilot.envs.simulator import rows_of, seen_at, spread
from bidpilot.envs.types import COLUMNS

if TYPE_CHECKING:
    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.ctr.types import BoolArray, IntArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign, Outcome

KNOWN = ("known_spend", "known_wins", "bids", "known_bids")
"""What is counted beside COLUMNS: spend (micro-currency) and wins where the log knows the price; auctions with a bid,
and those of them of which the log tells whether they are won."""


class Logged(NamedTuple):
    """What the log tells of a tick's rows: prices that are known (n,), and what was bid (n,), micro-currency."""

    known: BoolArray
    bid: IntArray


class Player:
    """Plays one campaign, episode after episode; every tick goes through envs/episode, so through simulator.play.

    Each player has a policy of its own, a copy of the one given.
    """

    def __init__(self, policy: BiddingPolicy, campaign: Campaign, empty: Day) -> None:
        """Keep what does not change. empty: an episode without traffic."""
        self._policy, self._campaign, self._empty = deepcopy(policy), campaign, empty
        self._episode = Episode(empty, campaign, policy.groups)
        self._known = np.zeros(len(KNOWN))

    def begin(self, rng: np.random.Generator) -> None:
        """Start an episode; rng is the policy's own stream."""
        self._policy.reset(self._campaign, rng)
        self._episode = Episode(self._empty, self._campaign, self._policy.groups)
        self._known = np.zeros(len(KNOWN))

    def play(self, day: Day, tick: int, logged: Logged) -> None:
        """Play a tick of a day that has traffic in it alone, and the ticks before that had none."""
        self._idle(tick)
        self._episode.day = day
        bid, outcome = self._move()
        self._known += _known(day, tick, bid, outcome, logged, self._campaign.rules.auction)

    def finish(self) -> FloatArray:
        """Play what is left of the episode; return its sums (len(COLUMNS) + len(KNOWN),)."""
        self._idle(self._empty.ticks)
        return np.concatenate([self._episode.result().table.sum(axis=0), self._known])

    def _idle(self, tick: int) -> None:
        self._episode.day = self._empty
        while self._episode.tick < tick:
            self._move()

    def _move(self) -> tuple[FloatArray, Outcome]:
        """Play the next tick; return the bids (n,) in micro-currency, and the outcome."""
        episode, policy = self._episode, self._policy
        day, tick = episode.day, episode.tick
        if isinstance(policy, MultiplierPolicy):
            at = policy.multipliers(episode.state())
            with np.errstate(over="ignore", invalid="ignore"):  # an infinite multiplier on nothing is no bid
                bid = np.nan_to_num(spread(day, tick, at) * day.seen.value[rows_of(day, tick)] * MICROS, nan=0.0)
            return bid, episode.bid_multipliers(at)
        bids = policy.bid(episode.state(), seen_at(day, tick))
        return np.nan_to_num(whole_micros(bids), nan=0.0), episode.bid_amounts(bids)


def _known(day: Day, tick: int, bid: FloatArray, outcome: Outcome, logged: Logged, auction: str) -> FloatArray:
    """Return a tick's part of KNOWN. bid: (n,) micro-currency."""
    rows = np.zeros(0, dtype=np.int64) if outcome.rows is None else outcome.rows - rows_of(day, tick).start
    cost = pricing_rule(auction)(day.hidden.price[rows_of(day, tick)][rows], bid[rows])
    told = logged.known[rows]
    takes_part = bid > 0
    tells = takes_part & (logged.known | (bid <= logged.bid))
    return np.array([cost[told].sum(), told.sum(), takes_part.sum(), tells.sum()], dtype=np.float64)


RECORD = (*COLUMNS, *KNOWN)
"""What finish returns the sums of."""
