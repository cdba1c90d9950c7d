"""Policies on a log, in the order of time, whatever its size; with it what of the result the log itself tells."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from bidpilot.ctr.types import MICROS
from bidpilot.envs.replay_stream import draws_of, empty_day, survey, ticks
from bidpilot.envs.types import COLUMNS, Campaign, Rules
from bidpilot.experiments.config import budget_label
from bidpilot.experiments.coverage import LEAST, Coverage, imputed
from bidpilot.experiments.player import RECORD, Logged, Player
from bidpilot.experiments.streams import stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.beliefs import Beliefs
    from bidpilot.envs.replay_stream import EpisodeFacts, Pieces, Tick

WORLDS = 20
"""Draws of everything that a log does not tell; one where all its rows were won."""

MONEY = ("spend", "revenue")
"""Columns that the table shows in currency."""


@dataclass(frozen=True)
class Plan:
    """What to replay.

    policies: built, by name and budget share. expected: currency, see Campaign.full_cost. whole: currency that budgets
    are shares of; None: what winning everything in an episode of the log costs, the mean over episodes and worlds.
    """

    policies: Mapping[tuple[str, float], BiddingPolicy]
    expected: float
    whole: float | None = None
    auction: str = "second_price"
    worlds: int = WORLDS
    seed: int = 0


@dataclass(frozen=True)
class Replayed:
    """What happened.

    records: (worlds, episodes, len(RECORD)) by policy and budget share, spend and revenue in micro-currency. campaigns:
    by share. episodes: what they are, by number.
    """

    records: dict[tuple[str, float], FloatArray]
    campaigns: dict[float, Campaign]
    episodes: dict[int, EpisodeFacts]

    @property
    def rows(self) -> int:
        """Return the number of opportunities played."""
        return sum(facts.rows for facts in self.episodes.values())

    @property
    def unknown(self) -> int:
        """Return of how many of them the log does not know the price."""
        return sum(facts.unknown for facts in self.episodes.values())


def replay(pieces: Pieces, beliefs: Beliefs, plan: Plan) -> Replayed:
    """Play every policy at every budget on the log, in each world; reads it twice, and holds a tick at a time.

    Episodes that are a log's ragged ends are left out. Raises InputError where the log has no rows.
    """
    worlds = plan.worlds

    def fresh() -> np.random.Generator:
        return stream(plan.seed, "replay")

    episodes = survey(_shown(pieces, "survey"), beliefs, draws_of(fresh(), worlds))
    if not any(facts.unseen for facts in episodes.values()):
        worlds = 1
    cost = plan.whole or float(np.mean([facts.full_cost[:worlds] for facts in episodes.values()])) / MICROS
    shares = dict.fromkeys(share for _, share in plan.policies)
    length, rules = beliefs.timeline.ticks, Rules(plan.auction)
    campaigns = {share: Campaign(share * cost, length, plan.expected, rules) for share in shares}
    empty = empty_day(beliefs)
    players = {
        key: [Player(policy, campaigns[key[1]], empty) for _ in range(worlds)] for key, policy in plan.policies.items()
    }
    seeds = stream(plan.seed, "policies").integers(2**63, size=len(episodes))
    records = {key: np.zeros((worlds, len(episodes), len(RECORD))) for key in players}
    moments = ticks(_shown(pieces, "replay"), beliefs, draws_of(fresh(), worlds), episodes)
    for place, part in enumerate(_by_episode(moments)):
        _play(part, players, int(seeds[place]))
        for key, group in players.items():
            records[key][:, place] = [player.finish() for player in group]
    return Replayed(records, campaigns, episodes)


def results_table(found: Replayed, least: float = LEAST) -> pd.DataFrame:
    """Return a row for each policy and budget: means per episode over worlds, with their 95 % intervals.

    Columns: policy, budget, budget_label, budget_currency, episodes, worlds; wins, spend, clicks, conversions, revenue
    and expected (worth, currency), each with _low and _high over worlds; coverage_spend, coverage_wins,
    coverage_auctions; headline (whether figures may be put forward); words.
    """
    rows = []
    for (name, share), record in found.records.items():
        worlds, episodes, _ = record.shape
        row: dict[str, object] = {"policy": name, "budget": share, "budget_label": budget_label(share)}
        row |= {"budget_currency": found.campaigns[share].budget, "episodes": episodes, "worlds": worlds}
        for column in ("wins", "spend", "clicks", "conversions", "revenue", "expected"):
            each = record[..., COLUMNS.index(column)].mean(axis=1) / (MICROS if column in MONEY else 1)
            row |= dict(zip((column, f"{column}_low", f"{column}_high"), imputed(each), strict=True))
        known = coverage_of(record)
        row |= {f"coverage_{of}": value for of, value in known._asdict().items()}
        rows.append(row | {"headline": known.tells(least), "words": known.words(least)})
    return pd.DataFrame(rows)


def coverage_of(record: FloatArray) -> Coverage:
    """Return the coverage of records (worlds, episodes, len(RECORD)): ratios of sums."""
    total = dict(zip(RECORD, record.sum(axis=(0, 1)), strict=True))
    pairs = (("known_spend", "spend"), ("known_wins", "wins"), ("known_bids", "bids"))
    return Coverage(*(float(total[a] / total[b]) if total[b] else float("nan") for a, b in pairs))


def _play(moments: Iterator[Tick], players: Mapping[tuple[str, float], Sequence[Player]], seed: int) -> None:
    """Play an episode with everyone; all have equal streams of their own."""
    for group in players.values():
        for player in group:
            player.begin(np.random.default_rng(seed))
    for moment in moments:
        logged = Logged(moment.known, moment.bid)
        for group in players.values():
            for player, day in zip(group, moment.days, strict=True):
                player.play(day, moment.tick, logged)


def _by_episode(moments: Iterator[Tick]) -> Iterator[Iterator[Tick]]:
    """Yield the ticks episode by episode."""
    for _, part in groupby(moments, key=lambda moment: moment.episode):
        yield part


def _shown(pieces: Pieces, what: str) -> Pieces:
    """Return the same log, with a progress bar."""
    return lambda: tqdm(pieces(), desc=what, unit="piece", leave=False, disable=None)
