"""The marketplace: many buyers with budgets and policies of their own, and a learner in one of their seats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.types import MICROS
from bidpilot.envs.features import Floats, bounds, table
from bidpilot.envs.marketplace_exchange import Exchange, Told
from bidpilot.envs.marketplace_traffic import MarketplaceConfig, draw_buyers, draw_traffic
from bidpilot.envs.seats import FEATURES, Seats, Situation, observe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bidpilot.ctr.types import FloatArray

Action: TypeAlias = "npt.NDArray[Any] | int"


class Arena:
    """One episode of the marketplace, for all seats.

    Buyers, traffic, responses and the choice of a seat each have a stream spawned from rng: what is offered does not
    depend on what anybody bids. Attributes: exchange, seats; tick, the coming one; last, total, what the buyers were
    told; seat, one drawn for whoever has no choice.
    """

    def __init__(self, config: MarketplaceConfig, rng: np.random.Generator) -> None:
        """Draw the buyers; traffic is drawn tick by tick."""
        people, self._offered, self._response, chair = rng.spawn(4)
        self.config, self.buyers = config, draw_buyers(config, people)
        self.exchange, self.seats = Exchange(config, self.buyers), Seats(config, self.buyers)
        self.last = self.total = Told.nothing(config.buyers, config.slots)
        self.seat = int(chair.integers(config.buyers))
        self._actions = np.zeros(config.buyers)
        spread = config.volume_noise
        self._volume = config.opportunities * float(np.exp(self._offered.normal(-(spread**2) / 2.0, spread)))

    @property
    def tick(self) -> int:
        """Number of the coming tick."""
        return self.seats.tick

    @property
    def over(self) -> bool:
        """Whether the horizon is reached."""
        return self.tick >= self.config.ticks

    def multipliers(self, actions: Mapping[int, float]) -> FloatArray:
        """Return the multipliers (B,) of the coming tick: the built-in policies', but for the seats that act.

        actions: residuals in -1..1 by seat: log multiplier = log(pacing controller's) + reach x action.
        """
        wanted = self.seats.multipliers()
        for seat, action in actions.items():
            self._actions[seat] = action
            wanted[seat] = self.seats.paced[seat] * np.exp(self.config.reach * action)
        return wanted

    def play(self, multipliers: FloatArray) -> Told:
        """Play a tick with these multipliers (B,), 0 to inf; return what the buyers are told of it."""
        if self.over:
            raise InputError(f"the episode is over after {self.config.ticks} ticks; reset to start another")
        n = int(self._offered.poisson(self._volume * self.config.profile[self.tick]))
        traffic = draw_traffic(self.config, n, self._offered, self._response)
        self.last = self.exchange.play(traffic, multipliers)
        self.total += self.last
        self.seats.learn(self.last, self.total, self.exchange.left / MICROS, ~self.exchange.out)
        return self.last

    def observations(self) -> Floats:
        """Return what the seats see before the coming tick (B, d)."""
        return observe(Situation(self.seats, self.last, self.total, self._actions))

    def terms(self, seat: int) -> dict[str, float]:
        """Return the reward's terms of the last tick: expected, the worth bought as a share of the budget."""
        return {"expected": float(self.last.expected[seat] / self.seats.budget[seat])}

    def info(self, seat: int, terms: Mapping[str, float]) -> dict[str, Any]:
        """Return a seat's number, money (currency), what it was told of the last tick, and the reward's terms."""
        names = ("offered", "wins", "seen", "clicks", "conversions", "expected", "spend")
        told = {name: float(getattr(self.last, name)[seat]) for name in names}
        money = {"budget": float(self.seats.budget[seat]), "left": float(self.seats.left[seat])}
        return {"seat": seat} | money | told | {f"reward/{name}": amount for name, amount in terms.items()}


def observation_space(config: MarketplaceConfig) -> gym.Space[Floats]:
    """Return the space of one seat's observations."""
    low, high = bounds(FEATURES, config.slots)
    return gym.spaces.Box(low, high, dtype=np.float32)


def action_space(config: MarketplaceConfig) -> gym.Space[Any]:
    """Return the space of one seat's actions."""
    if config.action == "ladder":
        return gym.spaces.Discrete(config.levels)
    return gym.spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)


def residual(config: MarketplaceConfig, action: Action) -> float:
    """Return the residual in -1..1 that an action means; ones outside are clipped, rungs of a ladder are not.

    Raises InputError for a residual that is not one finite number and for a rung that is not on the ladder.
    """
    given = np.asarray(action)
    if config.action == "ladder":
        if given.size != 1 or given.dtype.kind not in "iu" or not 0 <= int(given.item()) < config.levels:
            raise InputError(f"an action must be a whole number from 0 to {config.levels - 1}; got {action!r}")
        return 2.0 * int(given.item()) / (config.levels - 1) - 1.0
    if given.shape != (1,) or given.dtype.kind not in "iuf" or not np.isfinite(given).all():
        raise InputError(f"an action must be one finite number in -1..1, as an array of shape (1,); got {action!r}")
    return min(max(float(given[0]), -1.0), 1.0)


class Marketplace(gym.Env[Floats, Any]):  # noqa: D101 - it has one, with the table of FEATURES in it
    __doc__ = f"""Spend a budget well among buyers who have budgets and policies of their own.

    ## Description
    In every tick, every buyer bids multiplier x value for every opportunity; the slots of each are sold by
    generalised second price, and a slot that is seen is paid for. The learner sits in one seat; the others are played
    by built-in policies that pace, keep limits, or bid the same all day, and their budgets run out: prices answer to
    what the learner does. A buyer who cannot pay a price is out for the rest of the day (see
    bidpilot.envs.marketplace_exchange).

    ## Action Space
    Box(-1, 1, (1,)): log(multiplier) = log(pacing controller's) + reach x action. 0 is the controller itself.
    With action="ladder" Discrete(levels): as many residuals evenly spaced from -1 to 1; the middle one is 0.

    ## Observation Space
    Entries marked "one per slot" come once per slot.

{table(FEATURES, "slot")}

    ## Rewards
    The sum of the terms, each in info as reward/<name>: expected, the expected worth of the deliveries bought in the
    tick as a share of the budget.

    ## Starting State
    Buyers drawn anew: values, budgets, first multipliers, limits and policies. The seat is the config's, or the option
    "seat" of reset, or drawn.

    ## Episode End
    Terminates at the last tick of the day; never truncates. Who is out before that goes on without bids.

    ## Arguments
    config: a MarketplaceConfig. render_mode: None or "rgb_array".
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 - as Env declares it

    def __init__(self, config: MarketplaceConfig | None = None, render_mode: str | None = None) -> None:
        """Set up spaces; nothing is drawn yet."""
        if render_mode not in {None, *self.metadata["render_modes"]}:
            raise InputError(f"render_mode must be None or one of {self.metadata['render_modes']}; got {render_mode!r}")
        self.config, self.render_mode = config or MarketplaceConfig(), render_mode
        self.observation_space = observation_space(self.config)
        self.action_space = action_space(self.config)
        self.arena: Arena | None = None
        self.seat = 0
        self._spent: list[float] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Draw the buyers of a day. options: "seat" (0 to buyers - 1).

        Raises InputError for a seat that is not one, or another option.
        """
        super().reset(seed=seed)
        self.arena = Arena(self.config, self.np_random)
        for name in options or {}:
            if name != "seat":
                raise unknown("option of reset", name, ["seat"])
        wish = (options or {}).get("seat", self.config.seat)
        if wish is not None:
            self.config.check_seat(wish)
        self.seat = self.arena.seat if wish is None else int(wish)
        self._spent = []
        return self.arena.observations()[self.seat], self.arena.info(self.seat, {})

    def step(self, action: Action) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Bid for one tick. The horizon ends the episode with terminated; nothing truncates it.

        Raises InputError for an action outside the space's form (numbers outside -1..1 are clipped), before the first
        reset and after the end.
        """
        arena = self._arena()
        arena.play(arena.multipliers({self.seat: residual(self.config, action)}))
        self._spent.append(float(arena.total.spend[self.seat] / arena.seats.budget[self.seat]))
        terms = arena.terms(self.seat)
        return arena.observations()[self.seat], sum(terms.values()), arena.over, False, arena.info(self.seat, terms)

    def render(self) -> Any:  # noqa: ANN401 - as Env declares it
        """Return a picture, uint8 (H, W, 3), of the spend so far beside the plan; None without a render_mode."""
        if self.render_mode is None:
            return None
        from bidpilot.envs.render import spend_picture  # drawing is loaded by those who look

        plan = np.cumsum(self._arena().seats.plan)
        return spend_picture(plan, np.array(self._spent), f"seat {self.seat}")

    def _arena(self) -> Arena:
        """Return the episode. Raises InputError before the first reset."""
        if self.arena is None:
            raise InputError("there is no episode yet; call reset() first")
        return self.arena
