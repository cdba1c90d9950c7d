"""The families of the suite: what is played, by whom, and which claim is checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from bidpilot.ctr.errors import unknown
from bidpilot.envs.marketplace_traffic import MarketplaceConfig
from bidpilot.envs.scenario import Limit, Scenario
from bidpilot.envs.traffic_law import TrafficLaw
from bidpilot.envs.types import Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

BUDGETS = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)
ONE = ("incremental", "pid", "dual", "resolve", "linear", "discounted_thompson")
"""Baselines with one multiplier for all."""

EACH = ("recalibrate", "segment_thompson")
"""Baselines with a multiplier per segment, learnt from clicks."""

LIMITED = ("limited", "mpid", "recalibrate")
"""Baselines that know of a limit on the cost of worth; recalibrate corrects segments too."""

SPLITS = ("split_even", "split_value", "split_marginal", "combinatorial_thompson")
"""Baselines that split one budget between campaigns."""

LAW = TrafficLaw(opportunities=50_000.0, once=False)
"""Some 95 conversions are there to be had at budget 1/2, 15 at 1/32."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a family is to show: the learner's score minus the best of some baselines', in shares of R*.

    against: names of the baselines, of which the best on the test days counts. least: the mean difference asked for;
    the interval's lower end has to be above 0 if strict, else its upper end.
    """

    against: tuple[str, ...]
    least: float = 0.0
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Family:
    """One family.

    scenario: what the learner trains in and all are played in; its scarcity and limit are training ranges. learner:
    "ppo" or "imitation" (of the best in hindsight, where that is known and much is hidden). steps: of the
    environment, that PPO trains for. limit: the
    figure of scenario.limit that is evaluated, None without one. baselines: names of policies, tuned per budget.
    volume, strictness: factors on traffic and on the limit in evaluation alone (shift tests), of: the family whose
    policies are played then, unchanged.
    """

    name: str
    title: str
    scenario: Scenario
    baselines: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    learner: str = "ppo"
    steps: int = 1_000_000
    limit: float | None = None
    volume: float = 1.0
    strictness: float = 1.0
    of: str = ""

    @property
    def trained_as(self) -> str:
        """Name of the family whose policies are played."""
        return self.of or self.name


@dataclass(frozen=True, slots=True)
class MarketFamily:
    """A family in the marketplace: days are arenas, with one seat that all play in turn.

    baselines: names in contenders.BASELINES, tuned; the controller as it is, "pacing", plays besides. rivals: factor on
    the others' budgets in test arenas alone (a shift test). Else as Family.
    """

    name: str
    title: str
    baselines: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    learner: str = "ppo"
    steps: int = 220_000
    config: MarketplaceConfig = field(default_factory=MarketplaceConfig)
    rivals: float = 1.0
    of: str = ""

    @property
    def trained_as(self) -> str:
        """Name of the family whose policies are played."""
        return self.of or self.name


AnyFamily: TypeAlias = Family | MarketFamily


def _targeting(**changes: object) -> Scenario:
    settings = {"prior": 20.0, "miscalibration": (0.3, 0.3), "traffic": LAW} | changes
    return Scenario("targeting", **settings)  # type: ignore[arg-type]


SECOND_PRICE = Family("budget", "second price, one budget", Scenario(traffic=LAW), ONE, (Claim(ONE, strict=False),))
SEGMENTS = Family(
    "segments",
    "segments misjudged",
    _targeting(),
    (*ONE, *EACH),
    (Claim(ONE, least=0.02), Claim(EACH)),
    learner="imitation",
)
CPA = Family(
    "cpa",
    "a limit on the cost per conversion, segments misjudged",
    _targeting(limit=Limit("tightness", 0.6, 1.1), penalty=5.0, reward=("expected", "controller", "limit")),
    LIMITED,
    (Claim(LIMITED),),
    steps=5_000_000,
    limit=0.8,
)
SEATS = ("constant", "truthful", "pacing_gain", "limited", "ramp", "random")
"""Baselines in a seat of the marketplace."""

SHADING = Scenario(
    "shading",
    rules=Rules("first_price"),
    buckets=128,
    traffic=replace(LAW, segment_spread=0.8, price_follows_value=0.0, price_noise=0.35),
)
"""Prices that hang together within segments and know nothing of our worth: where shading has most to gain."""

FAMILIES: tuple[Family, ...] = (
    SECOND_PRICE,
    SEGMENTS,
    Family(
        "first_price",
        "first price",
        SHADING,
        (*ONE, "shading"),
        (Claim(ONE, least=0.03), Claim(("shading",), strict=False)),
        steps=50_000,  # first price is stepped one copy after the other
    ),
    CPA,
    Family(
        "delay",
        "conversions reported late, segments misjudged",
        _targeting(traffic=replace(LAW, delay=6.0), observe_reports=True),
        (*ONE, *EACH),
        (Claim((*ONE, *EACH)),),
        learner="imitation",
    ),
    Family(
        "shock",
        "prices jump within the day",
        Scenario(traffic=replace(LAW, shock=0.7, drift=0.2)),
        ONE,
        (Claim(ONE),),
        learner="imitation",
    ),
    Family(
        "censored",
        "prices drift, and are seen only where won",
        Scenario(traffic=replace(LAW, drift=0.3)),
        ONE,
        (Claim(ONE, strict=False),),
    ),
    Family(
        "campaigns",
        "four campaigns share a budget, each misjudged",
        Scenario("allocation", prior=20.0, miscalibration=(0.4, 0.4), traffic=replace(LAW, segments=4)),
        (*SPLITS, *EACH),
        (Claim((*SPLITS, *EACH), strict=False),),
    ),
    replace(SEGMENTS, name="volume", title="shift: half the traffic", claims=(), volume=0.5, of="segments"),
    replace(CPA, name="limit", title="shift: the limit a fifth lower", claims=(), strictness=0.8, of="cpa"),
)

MARKETS: tuple[MarketFamily, ...] = (
    MarketFamily(
        "marketplace",
        "one of 48 buyers",
        SEATS,
        (Claim(("pacing", *(name for name in SEATS if name != "ramp"))), Claim(("ramp",), strict=False)),
    ),
    MarketFamily("rivals", "shift: the other buyers' budgets a tenth higher", SEATS, rivals=1.1, of="marketplace"),
)


def find_families(names: Sequence[str]) -> tuple[AnyFamily, ...]:
    """Return families by name, all where none is named. Raises InputError listing the known names."""
    every: tuple[AnyFamily, ...] = (*FAMILIES, *MARKETS)
    known = {family.name: family for family in every}
    for name in names:
        if name not in known:
            raise unknown("family", name, list(known))
    return tuple(known[name] for name in names) if names else every
