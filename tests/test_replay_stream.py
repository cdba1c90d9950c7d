"""A log replayed tick by tick is the same, to the bit, as one whose days lie in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import SECONDS_PER_DAY, AuctionLog
from bidpilot.ctr.types import MICROS, whole_micros
from bidpilot.envs.replay import replay_days
from bidpilot.envs.replay_stream import draws_of, survey, ticks
from bidpilot.envs.timeline import Timeline
from bidpilot.envs.types import COLUMNS, Campaign, Rules
from bidpilot.experiments import replay as replays
from bidpilot.experiments.player import RECORD
from bidpilot.experiments.replay import Plan, coverage_of, replay, results_table
from bidpilot.experiments.streams import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.beliefs import Beliefs
    from bidpilot.envs.day import Opportunities
    from bidpilot.envs.replay_stream import Pieces
    from bidpilot.envs.types import CampaignState

GRID = Timeline(0.0, SECONDS_PER_DAY / 24, 24)


class Chaser(MultiplierPolicy):
    """Moves its multiplier by what the last tick spent, and by chance: any difference shows in all later ticks."""

    def __init__(self, groups: int = 1) -> None:
        """Take the number of groups."""
        self.groups = groups

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start an episode."""
        self.campaign, self.rng, self.at = campaign, rng, np.full(self.groups, 1.0)

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the next multipliers."""
        share = self.campaign.budget / self.campaign.horizon
        self.at = self.at * np.exp(0.3 * np.tanh(1.0 - state.last.spend.sum() / share) + self.rng.normal(0, 0.1))
        return self.at


class Adder:
    """Bids the worth and a bit: amounts that are no multiple of it."""

    groups = 1

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start an episode."""
        del campaign
        self.rng = rng

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:
        """Return the bids."""
        return np.asarray(seen.value + 0.0005 * self.rng.random(len(seen.value)) + 0.001 * (state.left > 0))


def logged(seed: int, rows: int = 3000, days: int = 5) -> AuctionLog:
    """Return a log of a buyer who won a good half, on a clock that no tick or piece is in step with."""
    rng = np.random.default_rng(seed)
    price = rng.lognormal(7.5, 0.7, rows).astype(np.int64)
    bid = rng.lognormal(7.7, 0.5, rows).astype(np.int64)
    won = bid >= price
    click = won & (rng.random(rows) < 0.1)
    time = np.sort(rng.uniform(0, days * SECONDS_PER_DAY, rows))
    time = time[(time % SECONDS_PER_DAY < 4 * 3600) | (time % SECONDS_PER_DAY > 7 * 3600)]  # three empty hours
    columns = {
        "price": np.where(won, price, 0),
        "price_known": won,
        "bid": bid,
        "won": won,
        "click": click,
        "conversion": click & (rng.random(rows) < 0.5),
        "value": rng.exponential(2.0, rows),
        "reserve": rng.integers(0, 900, rows) * won * (price > 900),
        "segment": rng.choice(["a", "b", "c"], rows),
        "pctr": rng.uniform(0.01, 0.08, rows),
    }
    return AuctionLog.from_columns({name: column[: len(time)] for name, column in columns.items()} | {"time": time})


def pieces(log: AuctionLog, size: int) -> Pieces:
    def read() -> Iterator[AuctionLog]:
        return (log.rows(slice(start, start + size)) for start in range(0, len(log), size))

    return read


def in_memory(log: AuctionLog, beliefs: Beliefs, plan: Plan) -> dict[tuple[str, float], FloatArray]:
    """Return the same sums, (episodes, len(COLUMNS)), from days in memory through the sorted index."""
    days = replay_days(log, beliefs, stream(plan.seed, "replay"))
    cost = float(np.mean([day.full_cost for day in days])) / MICROS
    seeds = stream(plan.seed, "policies").integers(2**63, size=len(days))
    found = {}
    for (name, share), policy in plan.policies.items():
        campaign = Campaign(share * cost, beliefs.timeline.ticks, plan.expected, Rules(plan.auction))
        results = [
            run_episode(policy, day, campaign, np.random.default_rng(int(seed)))
            for day, seed in zip(days, seeds, strict=True)
        ]
        found[name, share] = np.array([result.table.sum(axis=0) for result in results])
    return found


@pytest.mark.parametrize("size", [3, 97, 5000])
@pytest.mark.parametrize("auction", ["second_price", "first_price"])
def test_the_same_to_the_bit_as_in_memory(believe: Callable[..., Beliefs], size: int, auction: str) -> None:
    log = logged(1, rows=300 if size == 3 else 2000)
    beliefs = believe(log, GRID)
    policies: dict[tuple[str, float], BiddingPolicy] = {
        ("chaser", 1 / 2): Chaser(),
        ("each", 1 / 4): Chaser(3),
        ("adder", 1 / 8): Adder(),
    }
    plan = Plan(policies, 3.0, auction=auction, worlds=1, seed=3)
    found = replay(pieces(log, size), beliefs, plan)
    for key, wanted in in_memory(log, beliefs, plan).items():
        record = found.records[key][0]
        assert record[:, : len(COLUMNS)].tobytes() == wanted.tobytes(), key
        assert (record[:, 0] > 1).all()
        assert (record[:, 1] <= whole_micros(found.campaigns[key[1]].budget)).all()


def test_pieces_do_not_matter_in_any_world(believe: Callable[..., Beliefs]) -> None:
    log = logged(2)
    beliefs = believe(log, GRID, unwinnable=0.2)
    plan = Plan({("chaser", 1 / 4): Chaser()}, 3.0, worlds=3)
    one, other = (replay(pieces(log, size), beliefs, plan).records["chaser", 1 / 4] for size in (111, 4000))
    assert one.shape == (3, 5, len(RECORD))
    assert one.tobytes() == other.tobytes()
    assert len({tuple(world[:, 0]) for world in one}) == 3, "worlds differ"


def test_one_world_where_all_is_known(believe: Callable[..., Beliefs]) -> None:
    log = logged(3)
    known = log.rows(log.frame["won"].to_numpy())
    found = replay(pieces(known, 500), believe(known, GRID), Plan({("chaser", 1 / 2): Chaser()}, 3.0, worlds=9))
    (record,) = found.records.values()
    assert (len(record), found.unknown) == (1, 0)
    assert coverage_of(record) == (1.0, 1.0, 1.0)
    (row,) = results_table(found).to_dict("records")
    assert row["spend_low"] == row["spend"] == row["spend_high"]
    assert (row["headline"], row["words"]) == (True, "")


def test_ragged_episodes_are_left_out_as_in_memory(believe: Callable[..., Beliefs]) -> None:
    log = logged(4)
    cut = log.rows(log.frame["time"].to_numpy() < 4.5 * SECONDS_PER_DAY)
    beliefs = believe(cut, GRID)
    found = survey(pieces(cut, 300), beliefs, draws_of(np.random.default_rng(0), 1))
    days = replay_days(cut, beliefs, np.random.default_rng(0))
    assert list(found) == [0, 1, 2, 3]
    assert [facts.rows for facts in found.values()] == [len(day) for day in days]
    assert [int(facts.full_cost[0]) for facts in found.values()] == [day.full_cost for day in days]
    assert sum(facts.unknown for facts in found.values()) > 500


def test_a_tick_at_a_time(believe: Callable[..., Beliefs]) -> None:
    log = logged(5)
    beliefs, worlds = believe(log, GRID), 2
    episodes = survey(pieces(log, 200), beliefs, draws_of(np.random.default_rng(0), worlds))
    moments = list(ticks(pieces(log, 200), beliefs, draws_of(np.random.default_rng(0), worlds), episodes))
    places = [(moment.episode, moment.tick) for moment in moments]
    assert places == sorted(set(places)), "in order, each once"
    assert sum(len(moment.known) for moment in moments) == len(log)
    assert max(len(day) for moment in moments for day in moment.days) < 60
    assert all((day.seen.tick == moment.tick).all() for moment in moments for day in moment.days)


def test_what_the_log_tells_is_counted_by_hand(believe: Callable[..., Beliefs]) -> None:
    columns = {
        "time": [100.0, 200.0, 300.0, 400.0],
        "price": [500, 0, 0, 700],
        "price_known": [True, False, False, True],
        "bid": [900, 800, 90_000, 800],
        "won": [True, False, False, True],
        "pctr": [0.02, 0.02, 0.02, 0.02],
    }
    log = AuctionLog.from_columns(columns)
    beliefs = believe(log, Timeline(0.0, 1000.0, 1))
    plan = Plan({("twice", 1.0): Fixed(3.0)}, 1.0, worlds=1)  # bids 6000: above the first lost bid, below the second
    ((record,),) = (found.tolist() for found in replay(pieces(log, 3), beliefs, plan).records.values())
    row = dict(zip(RECORD, record[0], strict=True))
    price = 5000  # the stand-in's law of these rows
    assert row["wins"] == 3
    assert (row["spend"], row["known_spend"]) == (500 + price + 700, 1200)
    assert (row["known_wins"], row["bids"], row["known_bids"]) == (2, 4, 3)


class Fixed(MultiplierPolicy):
    """Bids one multiplier."""

    def __init__(self, multiplier: float) -> None:
        """Take the multiplier."""
        self.multiplier = multiplier

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:
        """Start an episode."""
        del campaign, rng

    def multipliers(self, state: CampaignState) -> FloatArray:
        """Return the next multipliers."""
        del state
        return np.array([self.multiplier])


def test_nothing_to_replay_is_said(believe: Callable[..., Beliefs]) -> None:
    log = logged(6, rows=300)
    plan = Plan({("chaser", 1 / 2): Chaser()}, 3.0)
    with pytest.raises(InputError, match="no rows to replay"):
        replay(lambda: iter(()), believe(log, GRID), plan)
    assert replace(plan, seed=1).seed == 1
    assert RECORD[: len(COLUMNS)] == COLUMNS
    assert replays.WORLDS > 4, "Student's quantile is good from 4 degrees on"
