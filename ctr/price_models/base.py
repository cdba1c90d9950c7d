"""What a log tells of the price to beat, and the laws that models make of it.

At second price a win shows the price and a loss only that it was above the bid (right-censored); at first price a win
shows only that it was not above the bid (left-censored). Ties win: a bid at the price beats it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np

from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.fields import from_json
from bidpilot.ctr.names import PRICE_MODELS
from bidpilot.ctr.storage import load_model, save_model
from bidpilot.ctr.types import UNWINNABLE, BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from bidpilot.ctr.log import AuctionLog

Censoring = Literal["right", "left"]
EXACT, ABOVE, AT_MOST = 0, 1, 2
"""What is known of a row's price: itself, that it is above the bid, or that it is not."""

ROUNDING = 1e-12
"""Relative: exp(log(price)) may come out so much above the price, and is still that price."""

SMALL = 1e-12
"""No probability or density of a law without a form is lower: its logarithm must be finite."""

WORTH = "predicted worth"
"""Numeric column that price models may read: what a win is expected to bring, since prices follow worth."""


def with_worth(log: AuctionLog, worth: FloatArray) -> AuctionLog:
    """Return the log with predicted worths (n,), in currency, as one more numeric column."""
    return replace(log, frame=log.frame.assign(**{WORTH: worth}), numeric=(*log.numeric, WORTH))


def telling(log: AuctionLog) -> BoolArray:
    """Return which rows (n,) say anything of the price: it is known, or a bid was lost."""
    frame = log.frame
    return np.asarray(frame["price_known"] | (~frame["won"] & (frame["bid"] > 0)), dtype=bool)


@dataclass(frozen=True)
class Observed:
    """What is known of the prices of n opportunities.

    amount: (n,) micro-currency, the price where it is known, else the bid. kind: (n,) EXACT, ABOVE or AT_MOST.
    bid: (n,) micro-currency; 0 where not recorded.
    """

    amount: IntArray
    kind: npt.NDArray[np.int8]
    bid: IntArray

    @classmethod
    def of(cls, log: AuctionLog, censoring: Censoring = "right") -> Self:
        """Read a log; rows that say nothing (neither price nor bid) are not allowed.

        Raises InputError where a row says nothing, no price is limited from above, or an amount is below 0.
        """
        price, known, bid, won = (log.frame[name].to_numpy() for name in ("price", "price_known", "bid", "won"))
        kind = np.where(won, EXACT if censoring == "right" else AT_MOST, ABOVE).astype(np.int8)
        kind = np.where(known & (censoring == "right"), EXACT, kind).astype(np.int8)
        amount = np.where(kind == EXACT, price, bid)
        silent = np.flatnonzero((amount <= 0) & (kind != EXACT) | (amount < 0))
        if len(silent):
            raise InputError(
                f"{log.source}: row {silent[0]} has neither a known price nor a bid ({len(silent)} such rows); "
                "map the bid, or leave these rows out"
            )
        if not len(log) or (kind == ABOVE).all():
            raise InputError(f"{log.source}: no price is known in {len(log)} rows; a price law needs some wins")
        return cls(amount, kind, bid)

    @property
    def identified(self) -> int:
        """Return the highest amount that says anything about the law, micro-currency."""
        return max(int(self.amount.max()), 1)

    def rows(self, part: BoolArray | IntArray | slice) -> Observed:
        """Return some rows."""
        return Observed(self.amount[part], self.kind[part], self.bid[part])


class PriceLaws(ABC):
    """The laws of the prices of n opportunities. identified: micro-currency; beyond it the mass is UNWINNABLE."""

    identified: int

    @abstractmethod
    def terms(self, amount: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return log P(price <= amount), log P(price > amount) and the log density in log price, each (n,)."""

    def cdf(self, bid: npt.ArrayLike) -> FloatArray:
        """Return P(price <= bid), (n,), for bids (n,) in micro-currency."""
        amount = np.minimum(np.asarray(bid, dtype=np.float64), float(self.identified))
        return np.where(amount > 0, np.exp(self.terms(np.maximum(amount, 1.0))[0]), 0.0)

    def log_likelihood(self, seen: Observed) -> FloatArray:
        """Return the log likelihood (n,) of what is known: density in log price, or probability of the censoring."""
        below, above, density = self.terms(np.maximum(seen.amount.astype(np.float64), 1.0))
        return np.select([seen.kind == EXACT, seen.kind == ABOVE], [density, above], below)

    @abstractmethod
    def inverse(self, q: FloatArray) -> FloatArray:
        """Return the lowest log price (n,) whose probability to win is q (n,); anything where none's is."""

    def quantile(self, q: FloatArray) -> IntArray:
        """Return the lowest price (n,) whose probability to win is at least q (n,); UNWINNABLE where none's is."""
        most = float(self.identified)
        price = np.exp(np.minimum(self.inverse(q), np.log(most))) * (1.0 - ROUNDING)
        beyond = self.cdf(np.full(len(q), most)) < q
        return np.where(beyond, UNWINNABLE, np.clip(np.ceil(price), 1.0, most).astype(np.int64))

    def sample(self, rng: np.random.Generator, above: IntArray | None = None) -> IntArray:
        """Draw prices (n,) in micro-currency; with above, from the law conditional on price > above."""
        base = np.zeros(len(self)) if above is None else self.cdf(above)
        u = rng.random(len(base))
        drawn = self.quantile(base + u * (1.0 - base))
        return drawn if above is None else np.where((drawn > above) & (base < 1.0), drawn, UNWINNABLE)

    def swift(self) -> PriceLaws:
        """Return the same laws in a form that is drawn from quickly, for rows that are drawn from again and again."""
        return self

    def scaled(self, shift: float) -> PriceLaws:
        """Return the laws of prices times exp(shift)."""
        return ScaledLaws(self, shift) if shift else self

    @abstractmethod
    def rows(self, part: IntArray) -> PriceLaws:
        """Return the laws of some opportunities; one may come several times."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of opportunities."""


class ScaledLaws(PriceLaws):
    """The laws of prices times exp(shift)."""

    def __init__(self, laws: PriceLaws, shift: float) -> None:
        """Keep the laws, and move the range that is identified."""
        self._laws, self._shift = laws, shift
        self.identified = max(int(np.rint(laws.identified * np.exp(shift))), 1)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._laws)

    def rows(self, part: IntArray) -> ScaledLaws:
        """See PriceLaws."""
        return ScaledLaws(self._laws.rows(part), self._shift)

    def swift(self) -> ScaledLaws:
        """See PriceLaws."""
        return ScaledLaws(self._laws.swift(), self._shift)

    def terms(self, amount: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """See PriceLaws; nothing is known of the law beyond the range."""
        return self._laws.terms(np.minimum(amount * np.exp(-self._shift), float(self._laws.identified)))

    def inverse(self, q: FloatArray) -> FloatArray:
        """See PriceLaws."""
        return self._laws.inverse(q) + self._shift


def knots_of(cdf: FloatArray, most: int) -> IntArray:
    """Return which of the points of a law cdf (k,) to keep, at most so many: evenly in probability.

    A price that many pay is kept with the point before it, so that its jump is not spread over its neighbours.
    """
    if len(cdf) <= most:
        return np.arange(len(cdf))
    levels = np.linspace(0.0, cdf[-1], most // 2)
    at = np.searchsorted(cdf, levels)
    jumps = at[np.diff(cdf, prepend=0.0)[at] > 0.5 * levels[1]]
    return np.unique(np.concatenate([at, np.maximum(jumps - 1, 0)]))


class FittedPrices(Protocol):
    """A price model fitted to a log. stops: the later rows of the fit only told when to stop."""

    stops: ClassVar[bool]

    def laws(self, log: AuctionLog) -> PriceLaws:
        """Return the laws of the rows of a log."""

    def settings(self) -> dict[str, Any]:
        """Return the JSON part of what is saved."""

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of what is saved."""


class PriceConfig(Protocol):
    """What every module of bidpilot.ctr.price_models offers as its frozen Config."""

    def fit(
        self, train: AuctionLog, valid: AuctionLog, rng: np.random.Generator, censoring: Censoring = "right"
    ) -> FittedPrices:
        """Fit the law; valid must be later in time than train."""

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> FittedPrices:
        """Rebuild a saved model."""


def save_prices(folder: Path, name: str, model: FittedPrices) -> None:
    """Write a fitted price model into a folder; name: of its module."""
    save_model(folder, "price_model", {"model": name, **model.settings()}, model.tensors())


def load_prices(folder: Path) -> FittedPrices:
    """Read what save_prices wrote. Raises InputError where a file is missing or was altered."""
    settings, tensors = load_model(folder, "price_model")
    return price_config(settings["model"], settings["config"]).restore(settings, tensors)


def price_config(name: str, settings: dict[str, Any] | None = None) -> PriceConfig:
    """Return the Config of a price model by name, from saved settings. Raises InputError for an unknown name."""
    if name not in PRICE_MODELS:
        raise unknown("price model", name, PRICE_MODELS)
    made: PriceConfig = import_module(f"{__package__}.{name}").Config(**from_json(settings or {}))
    return made
