"""RLB: bids by dynamic programming over auctions and budget left (Cai et al., WSDM 2017, arXiv 1701.02490).

V(t, b), the worth that b still buys in t auctions, obeys
V(t, b) = V(t-1, b) + mean over kinds of sum over prices d of m(d) max(0, worth + V(t-1, b-d) - V(t-1, b)): buy where
worth is more than what the money would buy later. Opportunities are of a few kinds, equally many, from the least worth
to the most; each has its mean worth and m, its law of past prices, Laplace-smoothed, on whole multiples of a price
unit. (The paper has one kind.) The bid is the highest price d with V(t-1, b) - V(t-1, b-d) <= worth, interpolated
between units. The winner is taken to pay the price: this is for second price.

A day of many auctions is played on a smaller one: every k auctions count as one, with 1/k of the budget. Marginal
worth, all that the bid depends on, is the same but for chance, which the smaller day overstates. k is the least that
keeps the table within `cells`. Auctions left are the forecast's share of the mean past volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.space import Choice, Span
from bidpilot.ctr.types import MICROS, UNWINNABLE

if TYPE_CHECKING:
    from bidpilot.agents.base import Past
    from bidpilot.agents.space import Space
    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.day import Opportunities
    from bidpilot.envs.types import Campaign, CampaignState

HIGHEST = 0.99
"""Quantile of past prices that the grid ends at; what is dearer is left to others."""


@dataclass(frozen=True, slots=True)
class Config:
    """levels: price units up to the highest price. kinds: of worth. cells: most entries (t, b) of the table.

    trust: Laplace counts per price unit.
    """

    levels: int = 32
    kinds: int = 4
    cells: int = 500_000
    trust: float = 1.0

    def build(self, past: Past) -> Rlb:
        """Build the policy."""
        return Rlb(self, past)

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"levels": Span(16, 64, whole=True), "kinds": Choice((1, 4, 8))}


class Rlb:
    """The programme and the bids from it.

    Attributes: unit, currency per price unit. laws: (kinds, levels + 1) probabilities of prices in units. worths:
    (kinds,) in units. auctions: mean number of a past day. table: (stages + 1, budgets + 1) V in units. ratio: k.
    """

    groups = 1

    def __init__(self, config: Config, past: Past) -> None:
        """Count the past's prices, and sum up its worths."""
        self.config, self.forecast = config, past.forecast
        price = np.concatenate([day.hidden.price for day in past.days]) / MICROS
        value = np.concatenate([day.seen.value for day in past.days])
        known = price[price < UNWINNABLE / MICROS]
        paid = known[known > 0]
        self.unit = (float(np.quantile(paid, HIGHEST)) if paid.size else 1.0) / config.levels
        units = np.ceil(np.minimum(price / self.unit, config.levels + 1.0)).astype(np.int64)
        parts = [part for part in np.array_split(np.argsort(value, kind="stable"), config.kinds) if part.size]
        self.laws = np.array([price_law(units[part], config.levels, config.trust) for part in parts])
        self.worths = np.array([value[part].mean() for part in parts]) / self.unit
        self.auctions = len(price) / len(past.days)
        volume = self.forecast.volume
        self._to_come: FloatArray = np.cumsum(volume[::-1])[::-1]
        self._tables: dict[tuple[int, int], FloatArray] = {}
        self.table, self.ratio = np.zeros((1, 1)), 1.0

    def reset(self, campaign: Campaign, rng: np.random.Generator) -> None:  # noqa: ARG002 - no randomness here
        """Solve the programme for the budget; the last one solved is kept."""
        auctions = max(round(self.auctions * campaign.full_cost / self.forecast.full_cost), 1)
        per_auction = min(campaign.budget / auctions / self.unit, float(self.config.levels))
        most = np.sqrt(self.config.cells / max(per_auction, 1e-9))
        stages = int(np.clip(most, 1, min(auctions, self.config.cells // (self.config.levels + 1))))
        budgets = max(int(np.ceil(per_auction * stages)), self.config.levels)
        key = stages, budgets
        if key not in self._tables:
            self._tables = {key: solve(stages, budgets, self.laws, self.worths)}
        self.table, self.ratio = self._tables[key], auctions / stages

    def bid(self, state: CampaignState, seen: Opportunities) -> FloatArray:
        """Return the bids (n,)."""
        stages = len(self.table) - 1
        left = int(np.clip(round(self._to_come[min(state.tick, len(self._to_come) - 1)] * stages), 1, stages))
        have = state.left / self.unit / self.ratio
        return self.unit * bids(self.table[left - 1], have, seen.value / self.unit, self.config.levels)


def price_law(units: IntArray, levels: int, trust: float) -> FloatArray:
    """Return probabilities (levels + 1,) of prices 0..levels among prices (n,) in units; the rest is dearer.

    trust: Laplace counts per unit.
    """
    counts = np.bincount(np.minimum(units, levels + 1), minlength=levels + 2) + trust
    return np.asarray(counts[:-1] / counts.sum())


def solve(stages: int, budgets: int, laws: FloatArray, worths: FloatArray) -> FloatArray:
    """Return V (stages + 1, budgets + 1): worth bought with t auctions and b price units left, worths in any unit.

    worths: (kinds,), equally likely. laws: (kinds, D + 1) probabilities of prices 0..D in units, of each kind.
    """
    table = np.zeros((stages + 1, budgets + 1))
    dearest = laws.shape[1] - 1
    padded = np.full(budgets + 1 + dearest, -np.inf)  # a price above what is left cannot be paid
    later = np.lib.stride_tricks.sliding_window_view(padded, budgets + 1)[::-1]  # row d: V(t-1, b - d)
    for t in range(1, stages + 1):
        now = table[t - 1]
        padded[dearest:] = now
        lost = now - later
        gain = sum(law @ np.maximum(worth - lost, 0.0) for law, worth in zip(laws, worths.tolist(), strict=True))
        table[t] = now + gain / len(laws)
    return table


def bids(row: FloatArray, left: float, worths: FloatArray, levels: int) -> FloatArray:
    """Return the bids (n,) in price units for worths (n,) with `left` units, row (budgets + 1,): V(t-1, .).

    The highest price whose loss, V(t-1, b) - V(t-1, b-d), is at most the worth; at most what is left or the grid's top.
    """
    places = np.arange(len(row))
    have = min(left, float(len(row) - 1))
    prices = np.minimum(np.arange(levels + 1.0), have)
    lost = np.interp(have, places, row) - np.interp(have - prices, places, row)
    at = np.clip(np.searchsorted(lost, worths, side="right") - 1, 0, levels)
    above = np.minimum(at + 1, levels)
    step = lost[above] - lost[at]
    part = np.divide(worths - lost[at], step, out=np.zeros(len(worths)), where=step > 0.0)
    found = prices[at] + np.minimum(part, 1.0) * (prices[above] - prices[at])
    return np.where(worths > 0.0, found, 0.0)
