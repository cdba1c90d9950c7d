"""Who may sit in a seat of the marketplace: the built-in rules with other settings, ramps, dice, and learners."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from bidpilot.agents.space import Span, spread
from bidpilot.ctr.types import MICROS
from bidpilot.envs.marketplace import residual
from bidpilot.envs.seats import RULES, Seats

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from bidpilot.agents.marketplace_policy import MarketplacePolicy
    from bidpilot.agents.space import Space
    from bidpilot.envs.marketplace import Arena

    Sitting: TypeAlias = Callable[[], float]
    """Returns the seat's multiplier for the coming tick; called once per tick."""


class Contender(Protocol):
    """Something that plays a seat through an episode."""

    def sit(self, arena: Arena, seat: int, rng: np.random.Generator) -> Sitting:
        """Take the seat of an arena that has not begun."""


@dataclass(frozen=True, slots=True)
class Level:
    """Bids the same all day: factor x the seat's first multiplier, or x value where truthful."""

    factor: float = 1.0
    rule: ClassVar[str] = "constant"

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"factor": Span(0.5, 2.0)}

    def sit(self, arena: Arena, seat: int, rng: np.random.Generator) -> Sitting:  # noqa: ARG002 - no chance in it
        """Take the level."""
        bid = self.factor * float(RULES[self.rule](arena.seats)[seat])
        return lambda: bid


@dataclass(frozen=True, slots=True)
class Truthful(Level):
    """Bids its value, times the factor."""

    rule: ClassVar[str] = "truthful"


@dataclass(frozen=True, slots=True)
class Pacing:
    """The seat's own controller with another gain: a multiple of the market's. With 1 it is the zero action."""

    gain: float = 1.0
    rule: ClassVar[str] = "pacing"

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"gain": Span(0.1, 8.0)}

    def sit(self, arena: Arena, seat: int, rng: np.random.Generator) -> Sitting:  # noqa: ARG002 - no chance in it
        """Run controllers of its own beside the arena's."""
        own = Seats(replace(arena.config, gain=min(self.gain * arena.config.gain, 3.0)), arena.buyers)

        def bid() -> float:
            if arena.tick > own.tick:
                own.learn(arena.last, arena.total, arena.exchange.left / MICROS, ~arena.exchange.out)
            return float(RULES[self.rule](own)[seat])

        return bid


@dataclass(frozen=True, slots=True)
class Limited(Pacing):
    """Paces, and keeps the seat's limit on spend per value; both controllers have the gain."""

    rule: ClassVar[str] = "limited"


@dataclass(frozen=True, slots=True)
class Ramp:
    """A residual that goes evenly through the day: from level - slope in the first tick to level + slope in the last.

    What a clock alone can do with the learner's actions.
    """

    level: float = 0.0
    slope: float = 0.0

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try."""
        return {"level": Span(-0.7, 0.3, log=False), "slope": Span(-0.3, 1.0, log=False)}

    def sit(self, arena: Arena, seat: int, rng: np.random.Generator) -> Sitting:  # noqa: ARG002 - no chance in it
        """Follow the clock."""
        last = max(arena.config.ticks - 1, 1)
        return lambda: _acted(arena, seat, self.level + self.slope * (2.0 * arena.tick / last - 1.0))


@dataclass(frozen=True, slots=True)
class Dice:
    """Residuals by chance, uniform in -1..1."""

    @classmethod
    def space(cls) -> Space:
        """Return what tuning may try: nothing."""
        return {}

    def sit(self, arena: Arena, seat: int, rng: np.random.Generator) -> Sitting:
        """Throw in every tick."""
        return lambda: _acted(arena, seat, rng.uniform(-1.0, 1.0))


@dataclass(frozen=True)
class Learner:
    """A trained policy."""

    policy: MarketplacePolicy

    def sit(self, arena: Arena, seat: int, rng: np.random.Generator) -> Sitting:  # noqa: ARG002 - deterministic
        """Act on what the seat sees."""
        return lambda: _acted(arena, seat, residual(arena.config, self.policy.act(arena.observations()[seat])))


BASELINES: dict[str, type[Level | Pacing | Ramp | Dice]] = {
    "constant": Level,
    "truthful": Truthful,
    "pacing_gain": Pacing,
    "limited": Limited,
    "ramp": Ramp,
    "random": Dice,
}
"""The tuned baselines by name; all but random have something to tune, and as many trials each."""


def trials(name: str) -> tuple[Contender, ...]:
    """Return the settings of a baseline that are tried, its default first."""
    return spread(BASELINES[name])  # type: ignore[type-var]  # these sit where others build


def _acted(arena: Arena, seat: int, action: float) -> float:
    """Return the multiplier that a residual means; it is cut to -1..1, and the seat sees it in the next tick."""
    return float(arena.multipliers({seat: min(max(action, -1.0), 1.0)})[seat])
