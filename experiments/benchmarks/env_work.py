"""The work that env_speed measures: each function prepares our way and a plain reference of the same work."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bidpilot.envs.batched import Batched
from bidpilot.envs.clearing import gsp, ranked_plainly
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.marketplace import Arena
from bidpilot.envs.marketplace_traffic import MarketplaceConfig
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import find_scenario, make
from bidpilot.envs.simulator import scan, spread
from bidpilot.envs.solo import Solo
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.traffic_law import TrafficLaw
from bidpilot.envs.types import Campaign, Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from bidpilot.envs.bidding import BiddingEnv
    from bidpilot.envs.day import Day

Done: TypeAlias = tuple[float, float]
"""How much was done, and the seconds of CPU it took."""

Work: TypeAlias = "Callable[[], Done]"
PLENTY = 1e6
"""Currency, more than any of these days costs."""

COPIES = 256
SCARCITY = {"scarcity": 0.2}


def fresh(ticks: int, size: int, days: int) -> tuple[Work, Work]:
    """Play one environment on days that nobody has seen; reference: opportunity by opportunity in Python."""
    env = make(_fresh(ticks, size))
    ours = partial(_days, env, days, resets=True, seen=lambda: float(len(env.episode.day)))
    return ours, partial(_loop, replace(env.scenario.traffic, opportunities=2_000.0))


def fresh_batch(ticks: int, size: int) -> tuple[Work, Work]:
    """Do the same with COPIES environments at once."""
    many = _seeded(make(_fresh(ticks, size)))
    ours = partial(_batch_days, many, resets=True, seen=lambda: many.offered)
    return ours, partial(_loop, replace(many.scenario.traffic, opportunities=2_000.0))


def replay() -> tuple[Work, Work]:
    """Replay a stored day of 48 x 10,417 by the ladder; reference: the scan."""
    day = _stored(48, 10_417).days[0]
    middle = float(np.median(day.ratio))
    return partial(_climbed, day, middle), partial(_scanned, day, middle)


def gsp_alone() -> tuple[Work, Work]:
    """Sell 10,417 auctions of 3 slots to 48 bidders; reference: a sort of all bids of each auction."""
    bids = np.random.default_rng(0).lognormal(7.0, 1.0, (48, 10_417)).astype(np.int64)
    reserve, factors = np.full(bids.shape[1], 500, dtype=np.int64), np.array([1.0, 0.8, 0.6])
    ours = partial(_timed, partial(gsp, bids, factors, reserve), float(bids.shape[1]))
    return ours, partial(_timed, partial(ranked_plainly, bids, len(factors) + 1), float(bids.shape[1]))


def marketplace() -> tuple[Work, Work]:
    """Play a whole day of 48 buyers and 500,000 opportunities; reference: auction by auction, a sort for each."""
    return partial(_market_day, 500_000.0), partial(_auctions, 2_000)


def pacing(size: int, ticks: int, *, share: float = 0.75, resets: bool = False) -> tuple[Work, Work]:
    """Step Pacing on a stored day with this many opportunities a tick; reference: the scan of a tick.

    share: of the day that is timed; by default the part of it in which money is sure to last.
    """
    market = _stored(ticks, size)
    env, day = make(Scenario(), market, Forecast.of(market.days)), market.days[0]
    ours = partial(_days, env, 480 // ticks, resets=resets, seen=lambda: share * ticks, share=share)
    return ours, partial(_scanned, day, float(np.median(day.ratio[:1_000])), per=len(day) / ticks)


def batch(name: str, *, resets: bool) -> tuple[Work, Work]:
    """Step COPIES environments by one call on 16 stored days of 5,000; reference: one at a time."""
    env = make(find_scenario(name), _stored(48, 104, days=16))
    many, ticks = _seeded(env), float(env.forecast.ticks)
    one = partial(_days, env, 8, resets=resets, seen=lambda: ticks)
    return partial(_batch_days, many, resets=resets, seen=lambda: ticks * COPIES), one


def memory() -> str:
    """Return a sentence on what a day of a million opportunities takes, sorted index included."""
    day = _stored(48, 1_000_000 // 48).days[0]
    arrays = {id(array): array.nbytes for array in _arrays(day)}
    total = sum(arrays.values())
    return f"A day of {len(day):,} opportunities with its index takes {total / len(day):.0f} MB per million."


def _arrays(day: Day) -> list[Any]:
    columns = [getattr(day.seen, name) for name in day.seen.__slots__]
    columns += [getattr(day.hidden, name) for name in day.hidden.__slots__]
    ladder = day.pooled
    columns += [ladder.ratio, ladder.prefix, ladder.starts, ladder.order, ladder.converting]
    return [column for column in columns if column is not None and 0 not in column.strides]


def _fresh(ticks: int, size: int) -> Scenario:
    law = TrafficLaw(opportunities=float(ticks * size), ticks=ticks, once=True)
    return Scenario(reward=("expected",), scale="forecast", traffic=law)


def _stored(ticks: int, size: int, days: int = 1) -> ReplayMarket:
    law = TrafficLaw(opportunities=float(ticks * size), ticks=ticks, diurnal=0.0, surge=0.0, once=False)
    market, rng = TrafficMarket(law), np.random.default_rng(0)
    return ReplayMarket(tuple(market.day(rng) for _ in range(days)))


def _seeded(env: BiddingEnv) -> Batched:
    many = Batched(env, COPIES)
    many.seed(range(COPIES))
    many.reset()
    return many


def _days(env: BiddingEnv, days: int, *, resets: bool, seen: Callable[[], float], share: float = 1.0) -> Done:
    """Play days, or a share of each, with the zero action; resets: time them too. seen: what a day counts."""
    action, done, seconds = np.zeros(env.groups, dtype=np.float32), 0.0, 0.0
    last = round(share * env.forecast.ticks)
    for _ in range(days):
        start = time.process_time()
        env.reset(options=SCARCITY)
        start = start if resets else time.process_time()
        while env.episode.tick < last:
            env.step(action)
        seconds += time.process_time() - start
        done += seen()
    return done, seconds


def _batch_days(many: Batched, *, resets: bool, seen: Callable[[], float]) -> Done:
    """Play a day of all with the zero action, likewise."""
    actions = np.zeros((COPIES, many.groups), dtype=np.float32)
    start = time.process_time()
    many.reset(SCARCITY)
    start = start if resets else time.process_time()
    while not many.over:
        many.step(actions)
    return seen(), time.process_time() - start


def _loop(law: TrafficLaw) -> Done:
    """Draw and play a day opportunity by opportunity, in plain Python."""
    rng, left, bought, start = np.random.default_rng(1), 1e12, 0.0, time.process_time()
    for _ in range(int(law.opportunities)):
        value = law.ctr * law.worth * float(np.exp(law.value_noise * rng.standard_normal()))
        price = int(law.price * 1e6 * np.exp(law.price_noise * rng.standard_normal()))
        if 0.4 * value * 1e6 >= price and price <= left:
            left -= price
            bought += float(rng.random() < law.ctr)
    return law.opportunities, time.process_time() - start


def _climbed(day: Day, multiplier: float) -> Done:
    """Play a day by its index."""
    episode = Solo(day, Campaign(PLENTY, day.ticks, PLENTY))
    start = time.process_time()
    while not episode.over:
        episode.advance(multiplier)
    return float(len(day)), time.process_time() - start


def _scanned(day: Day, multiplier: float, per: float = 1.0) -> Done:
    """Play a day by looking at each opportunity. per: opportunities in what is counted."""
    start = time.process_time()
    for tick in range(day.ticks):
        scan(day, tick, spread(day, tick, np.array([multiplier])), 10**15, Rules(), 1)
    return len(day) / per, time.process_time() - start


def _market_day(opportunities: float) -> Done:
    start = time.process_time()
    arena = Arena(MarketplaceConfig(opportunities=opportunities, volume_noise=0.0), np.random.default_rng(0))
    while not arena.over:
        arena.play(arena.multipliers({}))
    return float(arena.total.offered[0]), time.process_time() - start


def _auctions(count: int) -> Done:
    """Draw, rank and charge auctions of 3 slots between 48 buyers, one after the other."""
    rng, left, start = np.random.default_rng(1), np.full(48, 10**9), time.process_time()
    for _ in range(count):
        bids = (rng.lognormal(7.0, 1.0, len(left)) * (left > 0)).astype(np.int64)
        ranked = np.argsort(-bids, kind="stable")[:4]
        shown = rng.random(3) < np.array([1.0, 0.8, 0.6])
        left[ranked[:3]] -= np.maximum(bids[ranked[1:]], 500) * shown
    return float(count), time.process_time() - start


def _timed(job: Callable[[], object], done: float) -> Done:
    start = time.process_time()
    job()
    return done, time.process_time() - start
