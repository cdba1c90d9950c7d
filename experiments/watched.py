"""Watch a policy at work: what it bid and what that brought, by segment, and what it would have bid instead."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.base import MultiplierPolicy
from bidpilot.ctr.types import whole_micros
from bidpilot.envs.auctions import pricing_rule
from bidpilot.envs.episode import Episode
from bidpilot.envs.simulator import count, rows_of, seen_at
from bidpilot.envs.types import COLUMNS, CampaignState, Feedback

if TYPE_CHECKING:
    from bidpilot.agents.base import BiddingPolicy
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign, Outcome

ASKED = 24
"""Ticks of an episode, at most, at which a policy is asked what it would do."""


@dataclass(frozen=True)
class Watched:
    """One episode of a policy, T ticks and S segments.

    table: (T, S, len(COLUMNS)) as in EpisodeResult. multipliers: (T, S) bid per currency of predicted worth, NaN where
    nothing was offered. weights: (T, S) predicted worth offered. left: (T + 1,) share of the budget left before each
    tick and in the end. asked: (A,) ticks; answers: (A, levels) mean multiplier had another budget been left there.
    """

    table: FloatArray
    multipliers: FloatArray
    weights: FloatArray
    left: FloatArray
    asked: tuple[int, ...]
    answers: FloatArray


def watch(
    policy: BiddingPolicy, day: Day, campaign: Campaign, rng: np.random.Generator, levels: tuple[float, ...] = ()
) -> Watched:
    """Play an episode as rollout.run_episode does, and keep books by segment; rng is the policy's own stream.

    levels: shares of the budget; at up to ASKED ticks a copy of the policy is asked for its multiplier had so much
    been left (see supposed). Only policies that bid a multiplier are asked; the episode itself is not touched.
    """
    policy.reset(campaign, rng)
    ticks, segments = day.ticks, day.segments
    table, multipliers = np.zeros((ticks, segments, len(COLUMNS))), np.full((ticks, segments), np.nan)
    weights = _offered_worth(day)
    asked = _asked(ticks) if levels and isinstance(policy, MultiplierPolicy) else ()
    left, answers = np.ones(ticks + 1), []
    episode = Episode(day, campaign, segments if isinstance(policy, MultiplierPolicy) else 1)
    while not episode.over:
        tick, state = episode.tick, pooled(episode.state(), policy.groups)
        if isinstance(policy, MultiplierPolicy):
            if tick in asked:
                answers.append([_answer(policy, supposed(state, level), weights[tick]) for level in levels])
            at = policy.multipliers(state)
            multipliers[tick] = np.where(weights[tick] > 0, at, np.nan)
            table[tick] = episode.bid_multipliers(at).table
        else:
            bids = policy.bid(state, seen_at(day, tick))
            multipliers[tick] = _per_worth(day, tick, bids, weights[tick])
            table[tick] = _by_segment(day, tick, campaign, bids, episode.bid_amounts(bids))
        left[tick + 1] = episode.state().left / campaign.budget
    return Watched(table, multipliers, weights, left, asked, np.array(answers).reshape(len(asked), len(levels)))


def pooled(state: CampaignState, groups: int) -> CampaignState:
    """Return a state as a policy of one group is told it; sums of counts and money are exact, so nothing is lost."""
    if groups > 1:
        return state
    total, last = (Feedback(*(np.sum(told, keepdims=True) for told in part)) for part in (state.total, state.last))
    return state._replace(total=total, last=last)


def supposed(state: CampaignState, level: float) -> CampaignState:
    """Return the state had this share of the budget been left: the same wins so far, for more or less money."""
    budget = state.spent + state.left
    spent, so_far = (1.0 - level) * budget, state.total.spend
    spend = so_far * (spent / state.spent) if state.spent > 0 else np.full_like(so_far, spent / len(so_far))
    return state._replace(spent=spent, left=level * budget, total=state.total._replace(spend=spend))


def _answer(policy: MultiplierPolicy, state: CampaignState, weights: FloatArray) -> float:
    """Return the multiplier that a copy of the policy gives, mean over segments by worth offered."""
    at = np.broadcast_to(deepcopy(policy).multipliers(state), weights.shape)
    return float(np.average(at, weights=weights)) if weights.any() else float("nan")


def _asked(ticks: int) -> tuple[int, ...]:
    return tuple(np.unique(np.linspace(0, ticks - 1, min(ticks, ASKED)).round().astype(int)).tolist())


def _offered_worth(day: Day) -> FloatArray:
    """Return the predicted worth offered (ticks, segments), currency."""
    cell = day.seen.tick.astype(np.int64) * day.segments + day.seen.segment
    worth = np.bincount(cell, day.believed, minlength=day.ticks * day.segments)
    return np.asarray(worth, dtype=np.float64).reshape(day.ticks, day.segments)


def _per_worth(day: Day, tick: int, bids: FloatArray, weights: FloatArray) -> FloatArray:
    """Return bids over predicted worth (segments,)."""
    bid = np.bincount(day.seen.segment[rows_of(day, tick)], np.nan_to_num(bids), minlength=day.segments)
    return np.asarray(np.divide(bid, weights, out=np.full(day.segments, np.nan), where=weights > 0))


def _by_segment(day: Day, tick: int, campaign: Campaign, bids: FloatArray, outcome: Outcome) -> FloatArray:
    """Return the outcome of bids (n_tick,) by segment; what each win cost follows from price, bid and rule."""
    rows = np.zeros(0, dtype=np.int64) if outcome.rows is None else outcome.rows
    bid = whole_micros(bids)[rows - rows_of(day, tick).start]
    floor = day.seen.soft_floor
    soft = None if floor is None else whole_micros(floor[rows]).astype(np.int64)
    cost = pricing_rule(campaign.rules.auction)(day.hidden.price[rows], bid, soft)
    return count(day, rows, cost, day.segments)
