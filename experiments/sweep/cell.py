"""One cell of a sweep: a policy in a scenario at a budget, on days that only scenario and seed decide.

A pure function of the cell: the same rows in any process, on any machine with the same versions. Its imports are few,
for it runs in processes of its own.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
from dataclasses import asdict, dataclass
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import bidpilot.agents
import bidpilot.ctr
import bidpilot.envs
from bidpilot.agents.base import Past
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.envs.draws import STREAMS, draw
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.scenarios import PAST_DAYS
from bidpilot.envs.shading import Buckets, SplitMarket
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.experiments.config import budget_label
from bidpilot.experiments.suite.play import RECORD, record
from bidpilot.experiments.tuning import NOTHING

if TYPE_CHECKING:
    from bidpilot.agents.base import PolicyConfig
    from bidpilot.agents.learned import LearnedPolicy
    from bidpilot.envs.day import Day
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign

KEY = 109
COUNTS = ("wins", "clicks")
KEPT = {name: "budget_currency" if name == "budget" else name for name in RECORD}


@dataclass(frozen=True, slots=True)
class Bundled:
    """A trained policy among the others: its settings are the digest of its file."""

    sha256: str
    policy: LearnedPolicy

    def build(self, past: Past) -> LearnedPolicy:  # noqa: ARG002 - it has learnt what it knows
        """Return the policy."""
        return self.policy

    @property
    def told(self) -> dict[str, Any]:
        """Its settings for the record."""
        return {"sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Plain:
    """A policy by its settings."""

    config: PolicyConfig

    def build(self, past: Past) -> Any:  # noqa: ANN401 - a BiddingPolicy
        """Return the policy."""
        return self.config.build(past)

    @property
    def told(self) -> dict[str, Any]:
        """Its settings for the record."""
        return asdict(self.config)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class Cell:
    """A policy in a scenario at a budget, with all that playing it takes.

    name: of the scenario, which together with seed decides the days. made: see made_with. path: where its rows go.
    """

    policy: str
    entry: Plain | Bundled
    name: str
    scenario: Scenario
    budget: float
    seed: int
    days: int
    made: dict[str, str]
    folder: Path

    def __str__(self) -> str:
        """Name the cell."""
        return f"{self.policy} in {self.name} at budget {budget_label(self.budget)}, seed {self.seed}"

    @property
    def told(self) -> dict[str, Any]:
        """All that decides the cell's rows, as JSON has it."""
        plain = {name: getattr(self, name) for name in ("policy", "name", "budget", "seed", "days", "made")}
        told = plain | {"settings": self.entry.told, "scenario": asdict(self.scenario)}
        return dict(json.loads(json.dumps(told)))

    @cached_property
    def key(self) -> str:
        """Digest of that: another setting or version is another cell."""
        return hashlib.blake2b(json.dumps(self.told, sort_keys=True).encode(), digest_size=12).hexdigest()

    @property
    def path(self) -> Path:
        """The cell's own file."""
        return self.folder / f"{self.key}.json"


def play_cell(cell: Cell) -> str:
    """Play the cell; return its file: {"cell": what decides it, "rows": one per day}.

    Every policy meets the same days, campaigns and random numbers of its own. Raises InputError where this process has
    other versions than the one that asks.
    """
    here = made_with(cell.entry)
    if here != cell.made:
        odd = ", ".join(f"{name} {here.get(name)} for {value}" for name, value in cell.made.items())
        raise InputError(f"the worker has other versions ({odd}); install the same everywhere")
    past, episodes = _episodes(cell.name, cell.scenario, cell.budget, cell.seed, cell.days)
    policy = cell.entry.build(past)
    streams = _streams(cell.name, cell.seed)[2].spawn(cell.days)
    rows = []
    for number, ((day, campaign), rng) in enumerate(zip(episodes, streams, strict=True)):
        result = run_episode(policy, day, campaign, rng)
        row = dict(zip(KEPT.values(), record(result, day).tolist(), strict=True))
        row |= {name: result.total(name) for name in COUNTS}
        score = row["earned"] / max(row["best"], NOTHING)
        rows.append({"day": number, "score": score, **row, "offered": len(day), "traffic_hash": result.traffic_hash})
    return json.dumps({"cell": cell.told, "rows": rows})


def made_with(entry: Plain | Bundled) -> dict[str, str]:
    """Return versions of what decides the numbers: Python, NumPy, and digests of the code that draws and plays."""
    made = {"python": platform.python_version(), "numpy": version("numpy"), "code": _code()}
    if isinstance(entry, Plain) and not type(entry.config).__module__.startswith("bidpilot.agents."):
        made["policy"] = _digest([Path(inspect.getfile(type(entry.config)))])
    return made


@cache
def _code() -> str:
    packages = (bidpilot.ctr, bidpilot.envs, bidpilot.agents)
    files = [path for package in packages for path in sorted(Path(package.__path__[0]).rglob("*.py"))]
    return _digest([*files, Path(__file__), Path(inspect.getfile(record))])


def _digest(files: list[Path]) -> str:
    return hashlib.blake2b(b"".join(path.read_bytes() for path in files), digest_size=8).hexdigest()


def _streams(name: str, seed: int) -> list[np.random.Generator]:
    """Return the streams of past days, of days and of the policies' own draws: the same for all policies."""
    entropy = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(KEY, seed))).spawn(3)


@lru_cache(maxsize=1)  # the cells of a sweep are in an order in which neighbours share their days
def _episodes(
    name: str, scenario: Scenario, budget: float, seed: int, count: int
) -> tuple[Past, tuple[tuple[Day, Campaign], ...]]:
    """Draw what policies may learn from, and the episodes, as the scenario's environment draws them.

    Only the budget is given. Days are the same at every budget, and day i whatever the number of days.
    """
    before, ahead, _ = _streams(name, seed)
    market, past = _past(scenario, before)
    streams = [tuple(stream.spawn(STREAMS)) for stream in ahead.spawn(count)]
    drawn = (draw(market, past.forecast, scenario, one, {"scarcity": budget}) for one in streams)
    return past, tuple((day, campaign) for day, campaign, _ in drawn)


def _past(scenario: Scenario, rng: np.random.Generator) -> tuple[Market, Past]:
    """Return the scenario's market and its past days, measured as its environment measures them."""
    market: Market = TrafficMarket(scenario.traffic)
    days = draw_days(market, PAST_DAYS, rng)
    if scenario.environment == "shading":
        market = SplitMarket(market, Buckets.of(days, scenario.buckets))
        days = tuple(market.buckets.split(day) for day in days)
    measure = Forecast.with_parts if scenario.environment == "allocation" else Forecast.of
    return market, Past(days, measure(days, scenario.rules.auction))
