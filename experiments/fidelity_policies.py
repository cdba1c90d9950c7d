"""Plays the policies that fidelity asks about: in the run's simulator, in one of other days, and in reality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bidpilot.agents.registry import ALL, find_policy, named
from bidpilot.ctr.errors import InputError
from bidpilot.envs.market import MiscalibratedMarket, SimulatedMarket, day_size, draw_days
from bidpilot.envs.scenarios import find_scenario
from bidpilot.experiments.compare import baselines, learners
from bidpilot.experiments.evaluate import Contender, Field
from bidpilot.experiments.exploitation import Markets, exploitation_table, other_beliefs, seen_as
from bidpilot.experiments.fidelity_ranks import Side, agreement_table, rank_table
from bidpilot.experiments.prepare import describe_days, evaluation_days, prepare
from bidpilot.experiments.run import Run
from bidpilot.experiments.tuning import campaign_for, scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.beliefs import Beliefs
    from bidpilot.envs.day import Day
    from bidpilot.envs.types import Campaign
    from bidpilot.experiments.prepare import Arena
    from bidpilot.experiments.source import Source

DAYS = 20
"""Fresh days of each simulator."""

REPLICATES = 50
"""Of the bootstrap within days, at most: each of them is played by every policy."""

UNTUNED = "incremental"
"""The policy that learned nothing from the simulator: a controller with its default settings."""


@dataclass(frozen=True)
class PolicyStudy:
    """Tables of fidelity_ranks.rank_table and agreement_table and of exploitation_table.

    reality: what the real days were, in words. missing: why there is no other simulator; empty where there is one.
    """

    ranks: pd.DataFrame
    agreement: pd.DataFrame
    exploitation: pd.DataFrame
    reality: str
    missing: str = ""

    @property
    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """The tables in order."""
        return self.ranks, self.agreement, self.exploitation


def study_policies(
    run: Run, source: Source, beliefs: Beliefs, rng: np.random.Generator, say: Callable[[str], None]
) -> PolicyStudy:
    """Play the usual policies, those that the settings name and the run's trained one in every market.

    Baselines have the settings that a comparison gives them. Raises InputError as prepare and evaluation_days do.
    """
    arena, shares = prepare(run, source), budgets_of(run.settings.budgets)
    ranked, untuned = _players(run, arena, shares, say), _untuned(arena)
    subject = _subject(ranked, arena, shares, run.settings.auction)
    stage = Stage(run, arena, shares, rng.integers(2**63, size=5))
    market = SimulatedMarket.of(source.train, beliefs, day_size(source.train, beliefs) / arena.volume)
    other, missing = stage.other_market(source, beliefs, market)
    real_days = evaluation_days(run, source, arena.seen)
    own, real = stage.simulated([*ranked, untuned], market), stage.real([*ranked, untuned], real_days)
    markets = Markets(own, None if other is None else stage.simulated([subject, untuned], other), real)
    names = [each.name for each in ranked]
    return PolicyStudy(
        rank_table(ranked, shares, own, real),
        agreement_table(names, shares, own, real),
        exploitation_table(subject, untuned, shares, markets),
        describe_days(source, real_days) + ("" if source.exchange else "; worth is by the run's own models there"),
        missing,
    )


def budgets_of(shares: Sequence[float]) -> tuple[float, ...]:
    """Return at most two of a run's budgets: the middle one and the tightest."""
    ordered = sorted(shares, reverse=True)
    return tuple(dict.fromkeys((ordered[len(ordered) // 2], ordered[-1])))


@dataclass(frozen=True)
class Stage:
    """Where policies are played: simulators on the same streams, so that their days are paired, and reality.

    seeds: of days, bootstrap draws in simulators and in reality, the policies' own draws, and the fit of the other one.
    """

    run: Run
    arena: Arena
    shares: tuple[float, ...]
    seeds: np.typing.NDArray[np.int64]

    def simulated(self, players: Sequence[Contender], market: SimulatedMarket) -> Side:
        """Play fresh days of a simulator, misjudged by the bidder as where the run's policies are made."""
        settings = self.run.settings
        misjudged = MiscalibratedMarket(market, find_scenario(settings.scenario).miscalibration)
        days = draw_days(misjudged, DAYS, self._stream(0))
        field = Field.of(days, settings.days.replicates, DAYS, self._stream(1))
        return self._played(players, field, self.arena.past.forecast.full_cost)

    def real(self, players: Sequence[Contender], days: tuple[Day, ...]) -> Side:
        """Play the days that a comparison plays."""
        settings = self.run.settings.days
        field = Field.of(days, min(REPLICATES, settings.replicates), settings.resampled, self._stream(2))
        return self._played(players, field, self.arena.full_cost)

    def other_market(
        self, source: Source, beliefs: Beliefs, own: SimulatedMarket
    ) -> tuple[SimulatedMarket | None, str]:
        """Return the simulator of the held-out days' models with the own one's visitors, or why there is none."""
        try:
            model = str(self.run.facts["model"])
            others = other_beliefs(self.run.settings, source, beliefs, model, self._stream(4))
        except InputError as error:
            return None, str(error)
        return seen_as(own, SimulatedMarket.of(source.train, others, own.size)), ""

    def _played(self, players: Sequence[Contender], field: Field, expected: float) -> Side:
        auction = self.run.settings.auction
        campaigns = {share: campaign_for(field.days, share, auction, expected) for share in self.shares}
        return Side.played(players, field, campaigns, self._stream(3))

    def _stream(self, place: int) -> np.random.Generator:
        return np.random.default_rng(int(self.seeds[place]))


def _players(run: Run, arena: Arena, shares: tuple[float, ...], say: Callable[[str], None]) -> list[Contender]:
    """Return the baselines, set up for these budgets only, and the trained policy if there is one."""
    settings = run.settings
    names = [name for name in dict.fromkeys((*named((), settings.auction), *settings.baselines)) if name != ALL]
    narrow = Run(run.folder, settings.model_copy(update={"budgets": shares}))
    return [*baselines(narrow, arena, names, say=say), *learners(run)]


def _untuned(arena: Arena) -> Contender:
    policy = find_policy(UNTUNED)().build(arena.past)
    return Contender(f"{UNTUNED} as it comes", "reference", lambda _day, _share: policy, lambda _share: "{}")


def _subject(ranked: Sequence[Contender], arena: Arena, shares: Sequence[float], auction: str) -> Contender:
    """Return the trained policy; without one, the baseline that is best on the validation days."""
    trained = [each for each in ranked if each.role == "learner"]
    if trained:
        return trained[0]
    days, cost = arena.validate, arena.past.forecast.full_cost
    campaigns: dict[float, Campaign] = {share: campaign_for(days, share, auction, cost) for share in shares}

    def score(each: Contender) -> float:
        found: list[FloatArray] = [scores(each.make(days[0], share), days, campaigns[share]) for share in shares]
        return float(np.mean(found))

    return max(ranked, key=score)
