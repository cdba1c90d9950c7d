"""Where the money went and what the agent did: the learner and its best rival, replayed on the evaluation days.

A replay meets the same days with the same random streams as the comparison did, so its totals are those of results.csv.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from bidpilot.agents.bundle import load_bundle
from bidpilot.agents.registry import find_policy
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, UNWINNABLE
from bidpilot.envs.types import COLUMNS
from bidpilot.experiments.config import budget_label
from bidpilot.experiments.fidelity import calibration
from bidpilot.experiments.fit import load_beliefs
from bidpilot.experiments.prepare import evaluation_days
from bidpilot.experiments.streams import stream
from bidpilot.experiments.train import load_trained
from bidpilot.experiments.tuned import restore
from bidpilot.experiments.tuning import campaign_for
from bidpilot.experiments.watched import Watched, watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bidpilot.agents.base import BiddingPolicy, Past
    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.beliefs import Beliefs
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign
    from bidpilot.experiments.prepare import Arena
    from bidpilot.experiments.run import Run
    from bidpilot.experiments.source import Source

TABLES = ("money.csv", "moves.csv", "answers.csv", "limits.csv", "landscape.csv", "fidelity_slices.csv")
"""What where writes: money by segment and hour, multipliers by tick, answers to suppositions, limits kept, bids."""

SEGMENTS = 12
"""Most segments that are told apart; the others, with the least traffic, are one."""

HOURS = 24
"""Most columns of time: longer episodes have hours of several hours."""

LEVELS = tuple((np.arange(10) / 10.0 + 0.05).tolist())
"""Shares of the budget that the learner is asked about."""

DAYS_ASKED = 5
BIDS, ROWS, PRICES = 40, 20_000, 1_000_000
"""Of the landscape: bids, and at most so many rows of the log and prices of the days."""

DRY = 0.995
"""From this share of the budget spent on, the money counts as gone."""


class Player(NamedTuple):
    """Who is watched at a budget, in what role, and what it is played with."""

    name: str
    role: str
    share: float
    policy: BiddingPolicy


@dataclass(frozen=True)
class Ground:
    """What they play on. groups: (segments,) place of each segment in names. seeds: one per day, as in the comparison.

    hour: (ticks,) hours since the start when each tick's column of time begins. ends: (ticks,) when each tick ends.
    """

    days: tuple[Day, ...]
    seeds: IntArray
    names: tuple[str, ...]
    groups: IntArray
    hour: IntArray
    ends: FloatArray
    campaigns: dict[float, Campaign]


def where(
    run: Run, source: Source, arena: Arena, results: pd.DataFrame, to: Run | None = None
) -> dict[str, pd.DataFrame]:
    """Replay the learner and the best baseline of each budget, write TABLES and return them by name.

    arena: that of the comparison. results: as its results.csv. to: where to write, if not into the run itself. A
    learner that is neither the run's nor a bundle, and a baseline whose settings are no longer known, are left out.
    """
    beliefs = load_beliefs(run)
    ground = _ground(run, evaluation_days(run, source, arena.seen), beliefs, arena.full_cost)
    tables: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("money.csv", "moves.csv", "answers.csv", "limits.csv")
    }
    players = list(_players(run, results, arena.past))
    for player in tqdm(players, desc="where the money went", unit="policy x budget", disable=None):
        seen = _watched(player, ground)
        label: dict[str, Any] = {"policy": player.name, "role": player.role, "budget": player.share}
        label["budget_label"] = budget_label(player.share)
        parts = (_money(seen, ground), _moves(seen, ground), _answers(seen, ground))
        for name, part in zip(tables, (*parts, _limits(seen, ground.campaigns[player.share], ground)), strict=True):
            tables[name].append(part.assign(**label))
    found = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items() if parts}
    found["landscape.csv"] = _landscape(ground.days, source, beliefs, run.settings.auction == "first_price")
    found["fidelity_slices.csv"] = _slices(run, source, beliefs)
    found = {name: table for name, table in found.items() if len(table)}
    target = to or run
    for name in TABLES:
        if name in found:
            target.write_table(name, found[name])
        else:
            (target.folder / name).unlink(missing_ok=True)  # of an earlier comparison
    return found


def _ground(run: Run, days: tuple[Day, ...], beliefs: Beliefs, expected: float) -> Ground:
    settings = run.settings
    names, groups = _groups(beliefs.segments.names, np.sum([day.offered.sum(axis=0) for day in days], axis=0))
    ends = (np.arange(days[0].ticks) + 1) * 24.0 / settings.ticks_per_day
    width = max(1, int(np.ceil(ends[-1] / HOURS)))
    hour = ((ends - 12.0 / settings.ticks_per_day) // width).astype(np.int64) * width
    campaigns = {share: campaign_for(days, share, settings.auction, expected) for share in settings.budgets}
    seeds = stream(settings.seed, "policies").integers(2**63, size=len(days))
    return Ground(days, seeds, names, groups, hour, ends, campaigns)


def _groups(names: Sequence[str], offered: IntArray) -> tuple[tuple[str, ...], IntArray]:
    """Return the names of the segments told apart, most traffic first, and each segment's place among them."""
    order = np.argsort(-offered, kind="stable")
    if len(names) <= SEGMENTS:
        kept, rest = order, order[:0]
    else:
        kept, rest = order[: SEGMENTS - 1], order[SEGMENTS - 1 :]
    groups = np.empty(len(names), dtype=np.int64)
    groups[kept], groups[rest] = np.arange(len(kept)), len(kept)
    others = (f"{len(rest)} others",) if len(rest) else ()
    return (*(names[i] for i in kept), *others), groups


def _players(run: Run, results: pd.DataFrame, past: Past) -> Iterator[Player]:
    """Yield the first learner and the best baseline at each budget of the results."""
    learners = results[results["role"] == "learner"]
    learner = None if learners.empty else _learner(run, str(learners["policy"].iloc[0]))
    for share, rows in results.groupby("budget"):
        if learner is not None:
            yield Player(str(learners["policy"].iloc[0]), "learner", float(share), learner)  # type: ignore[arg-type]
        for _, row in rows[(rows["role"] == "baseline") & (rows["policy"] == rows["best_baseline"])].iterrows():
            baseline = _baseline(row, past)
            if baseline is not None:
                yield Player(row["policy"], "baseline", float(share), baseline)  # type: ignore[arg-type]


def _learner(run: Run, name: str) -> BiddingPolicy | None:
    if name == run.settings.learner.algorithm and run.done("train"):
        return load_trained(run)[0]
    return load_bundle(Path(name)).policy if name.endswith(".zip") and Path(name).is_file() else None


def _baseline(row: pd.Series, past: Past) -> BiddingPolicy | None:
    """Return a baseline with the settings that results.csv records."""
    fields = {name: value for name, value in json.loads(row["config"]).items() if name != "trials"}
    try:
        return restore(find_policy(row["policy"]), fields).build(past)
    except InputError:
        return None


def _watched(player: Player, ground: Ground) -> list[Watched]:
    """Return the player's episodes; a learner is asked on the first days what else it would do."""
    campaign, asked = ground.campaigns[player.share], DAYS_ASKED if player.role == "learner" else 0
    return [
        watch(player.policy, day, campaign, np.random.default_rng(int(seed)), LEVELS if i < asked else ())
        for i, (day, seed) in enumerate(zip(ground.days, ground.seeds, strict=True))
    ]


def _money(seen: list[Watched], ground: Ground) -> pd.DataFrame:
    """Return what was bid, won and paid by segment and hour, mean per episode; money in currency."""
    hours, place = np.unique(ground.hour, return_inverse=True)
    columns = ["offered", "worth", "bid", *COLUMNS]
    total = np.zeros((len(ground.names), len(hours), len(columns)))
    at = (ground.groups[None, :], place[:, None])
    for day, one in zip(ground.days, seen, strict=True):
        bid = np.nan_to_num(one.multipliers) * one.weights
        rows = np.concatenate([np.stack([day.offered, one.weights, bid], axis=-1), one.table], axis=-1)
        np.add.at(total, at, rows / len(seen))
    index = pd.MultiIndex.from_product([ground.names, hours], names=["segment", "hour"])
    table = pd.DataFrame(total.reshape(-1, len(columns)), index=index, columns=columns).reset_index()
    table[["spend", "revenue"]] /= MICROS
    table["multiplier"] = table.pop("bid") / table["worth"].where(table["worth"] > 0)
    return table


def _moves(seen: list[Watched], ground: Ground) -> pd.DataFrame:
    """Return, for each tick, the mean multiplier over segments and what was left: median and 80 % range over days."""
    left = np.array([one.left[:-1] for one in seen])
    columns: dict[str, object] = {"tick": np.arange(len(ground.ends)), "hour": ground.ends - ground.ends[0]}
    for name, values in (("multiplier", _mean_multiplier(seen)), ("left", left)):
        columns |= dict(zip((f"{name}_low", name, f"{name}_high"), _quantiles(values), strict=True))
    return pd.DataFrame(columns)


def _quantiles(values: FloatArray) -> FloatArray:
    """Return the 10, 50 and 90 % quantiles (3, ticks) over days; NaN where no day knows any."""
    known = pd.DataFrame(values).quantile([0.1, 0.5, 0.9])
    return known.to_numpy(dtype=np.float64)


def _answers(seen: list[Watched], ground: Ground) -> pd.DataFrame:
    """Return what the learner would have bid next, for each tick asked about and share of the budget left.

    multiplier: the median over the days asked about. change: the same beside what it did bid (0: as much).
    """
    asked = [one for one in seen if one.asked]
    if not asked:
        return pd.DataFrame(columns=["hour", "left", "multiplier", "change"])
    ticks = np.array(asked[0].asked)
    answers, played = np.array([one.answers for one in asked]), _mean_multiplier(asked)[:, ticks, None]
    columns = {"multiplier": answers, "change": answers / played - 1.0}
    middle = {name: pd.DataFrame(v.reshape(len(asked), -1)).median().to_numpy() for name, v in columns.items()}
    index = pd.MultiIndex.from_product([(ground.ends - ground.ends[0])[ticks], LEVELS], names=["hour", "left"])
    return pd.DataFrame(middle, index=index).reset_index()


def _mean_multiplier(seen: list[Watched]) -> FloatArray:
    """Return each day's multipliers (days, ticks), mean over segments by worth offered; NaN where nothing was."""
    bid = np.array([np.nansum(one.multipliers * one.weights, axis=1) for one in seen])
    worth = np.array([one.weights.sum(axis=1) for one in seen])
    return np.asarray(np.divide(bid, worth, out=np.full(bid.shape, np.nan), where=worth > 0))


def _limits(seen: list[Watched], campaign: Campaign, ground: Ground) -> pd.DataFrame:
    """Return how each limit was used: days, days on which it was broken, mean and largest use (1: all of it).

    dry: days on which the money was gone (DRY) more than an hour before the end.
    """
    spend = np.array([one.table[:, :, COLUMNS.index("spend")].sum() for one in seen]) / MICROS
    worth = np.array([one.table[:, :, COLUMNS.index("expected")].sum() for one in seen])
    early = np.searchsorted(ground.ends, ground.ends[-1] - 1.0, side="right")
    dry = sum(bool(one.left[early] < 1.0 - DRY) for one in seen)
    used = {"budget": spend / campaign.budget}
    if np.isfinite(campaign.cost_limit):
        allowed = campaign.cost_limit * worth
        used["cost per worth"] = np.divide(spend, allowed, out=np.full(len(seen), np.inf), where=allowed > 0)
    rows = [
        {"limit": name, "days": len(seen), "broken": int((use > 1.0).sum()), "mean": use.mean(), "most": use.max()}
        for name, use in used.items()
    ]
    return pd.DataFrame(rows).assign(dry=dry)


def _landscape(days: tuple[Day, ...], source: Source, beliefs: Beliefs, first_price: bool) -> pd.DataFrame:  # noqa: FBT001
    """Return, for bids in currency: chance to win on these days, cost per win, and the chance by the price model."""
    every = max(1, sum(len(day) for day in days) // PRICES)
    price = np.concatenate([day.hidden.price[::every] for day in days])
    offered, price = len(price), np.sort(price[price < UNWINNABLE])
    if not len(price):
        return pd.DataFrame()
    bids = np.unique(np.quantile(price, np.linspace(0.01, 0.99, BIDS), method="inverted_cdf"))
    wins = np.searchsorted(price, bids, side="right")
    cost = bids / MICROS if first_price else np.cumsum(price)[wins - 1] / wins / MICROS
    log = source.held_out
    log = log.rows(np.unique(np.linspace(0, len(log) - 1, min(ROWS, len(log))).astype(np.int64)))
    laws = beliefs.laws(log, beliefs.goal.expected(beliefs.response.predict(log)))
    reserve = log.frame["reserve"].to_numpy()
    believed = [float(np.mean(laws.cdf(np.full(len(log), bid)) * (bid >= reserve))) for bid in bids]
    return pd.DataFrame({"bid": bids / MICROS, "chance": wins / offered, "cost": cost, "believed": believed})


def _slices(run: Run, source: Source, beliefs: Beliefs) -> pd.DataFrame:
    """Return the calibration by slice as bidpilot fidelity finds it; nothing where nothing was shown."""
    try:
        return calibration(source, beliefs, stream(run.settings.seed, "fidelity").spawn(3)[2])
    except InputError:
        return pd.DataFrame()
