"""Conversions that are still to come: whether and when, learned together (DFM: Chapelle, KDD 2014).

A click of an hour ago that has not converted may yet do so. Counted as a loss, it makes the newest rows, which are
like tomorrow's, look worst. Here a click converts with probability p, after a delay that is exponential of rate lam.
Time is from the click, never from the impression.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder
from bidpilot.ctr.loop import Curve, Rows, fit_network, refit_network, scores, torch_generator
from bidpilot.ctr.network import Network, Tower
from bidpilot.ctr.training import NetworkConfig

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray

STEPS, CLOSE = 2_000, 1e-9
"""Most steps of EM, and the change of the rate (relative) at which it stops."""

SLOWEST, FASTEST = -7.0, 7.0
"""Bounds of the log-rate, in units of one over the mean delay seen."""


@dataclass(frozen=True)
class Delays:
    """What is known of n clicks by now, in one unit of time throughout.

    converted: (n,) so far. wait: (n,) from the click to the conversion, or to now where there is none yet.
    elapsed: (n,) from the click to now.
    """

    converted: BoolArray
    wait: FloatArray
    elapsed: FloatArray

    @classmethod
    def of(cls, click: FloatArray, conversion: FloatArray, now: float) -> Self:
        """Build from times of click and conversion (n,); inf or NaN where there is none, later than now: not yet.

        Raises InputError where a click is later than now, or a conversion is earlier than its click.
        """
        elapsed = now - click
        if not (elapsed >= 0).all():
            row = int(np.argmin(elapsed >= 0))
            raise InputError(f"row {row} was clicked after now, or nobody knows when; leave such rows out")
        if (conversion < click).any():
            raise InputError(f"row {int(np.argmax(conversion < click))} converted before its click")
        converted = np.asarray(conversion <= now)
        return cls(converted, np.where(converted, conversion - click, elapsed), elapsed)

    def __len__(self) -> int:
        """Return the number of clicks."""
        return len(self.converted)

    def rows(self, part: BoolArray | IntArray | slice) -> Delays:
        """Return some rows."""
        return Delays(self.converted[part], self.wait[part], self.elapsed[part])


def one_law(delays: Delays) -> tuple[float, float]:
    """Return p and lam of the same law for all clicks, by EM; lam is per unit of time.

    An unconverted click is one that will, by the share w = p exp(-lam e) / (1 - p + p exp(-lam e)).
    Raises InputError where no click has converted, or none took any time.
    """
    done, wait = delays.converted, delays.wait
    count, total = float(done.sum()), float(wait[done].sum())
    if total <= 0.0:
        raise InputError(f"{int(count)} of {len(delays)} clicks have converted after some time; a delay needs some")
    open_, n = wait[~done], len(delays)
    p, rate = (count + 0.5) / (n + 1.0), count / total
    for _ in range(STEPS):
        late = p * np.exp(-rate * open_)
        w = late / (1.0 - p + late)
        before, p, rate = rate, (count + w.sum()) / n, count / (total + float(w @ open_))
        if abs(rate - before) <= CLOSE * rate:
            break
    return float(np.clip(p, 1e-6, 1.0 - 1e-6)), float(rate)


@dataclass(frozen=True)
class DelayConfig(NetworkConfig):
    """Settings: those of all networks, and hidden, dropout and decay of the layers as in DeepFM.

    Raises InputError for figures out of range; negatives stays 1: those left out may yet convert.
    """

    learning_rate: float = 0.003
    patience: int = 8
    dimension: int = 8
    hidden: tuple[int, ...] = (32,)
    dropout: float = 0.0
    decay: float = 2.0

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        if self.negatives != 1.0:
            raise InputError(f"delays are learned from all rows: negatives must be 1; got {self.negatives}")

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> DelayNetwork:
        """Return the untrained network: p is the rate, lam is 1."""
        return DelayNetwork(self, encoder, rate, generator)

    def fit(  # type: ignore[override]
        self,
        train: tuple[AuctionLog, Delays],
        valid: tuple[AuctionLog, Delays],
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,
    ) -> tuple[TrainedDelay, Curve]:
        """Fit p and lam of clicked rows; valid must be later in time than train. Raises InputError as one_law does.

        weight: of the training rows, then of the validation rows.
        """
        fitted, cut = self.untrained(*train, rng), len(train[0])
        early, late = (None, None) if weight is None else (weight[:cut], weight[cut:])
        seen, kept = fitted.rows(*train, early), fitted.rows(*valid, late)
        return fitted, fit_network(fitted.network, seen, kept, self, rng, journal)

    def refit(  # type: ignore[override]
        self,
        log: AuctionLog,
        delays: Delays,
        epochs: int,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,
    ) -> TrainedDelay:
        """Fit on all rows for so many epochs. Raises InputError as one_law does."""
        fitted = self.untrained(log, delays, rng)
        network = refit_network(fitted.network, fitted.rows(log, delays, weight), self, epochs, rng, journal)
        return TrainedDelay(self, fitted.encoder, network, fitted.scale)

    def untrained(self, log: AuctionLog, delays: Delays, rng: np.random.Generator) -> TrainedDelay:
        """Return the network before training: the one law that fits all clicks. Raises InputError as one_law does."""
        if len(log) != len(delays):
            raise InputError(f"{log.source} has {len(log)} rows, the delays are of {len(delays)}")
        p, rate = one_law(delays)
        scale = float(delays.wait[delays.converted].mean())
        encoder = FieldEncoder.fit(log, self.fields)
        network = self.build(encoder, p, torch_generator(rng))
        network.bias.data[1] = float(np.clip(math.log(rate * scale), SLOWEST, FASTEST))
        return TrainedDelay(self, encoder, network, scale)

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> TrainedDelay:  # type: ignore[override]
        """Rebuild what TrainedDelay.settings and .tensors returned."""
        encoder = FieldEncoder.from_json(settings["encoder"])
        network = self.build(encoder, 0.5, torch.Generator())
        network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
        return TrainedDelay(self, encoder, network, settings["scale"])


class DelayNetwork(Network):
    """Outputs (n, 2): log-odds of p, and log lam. First-order terms are the log-odds'."""

    outputs = 2

    def __init__(self, config: DelayConfig, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__(config.table(encoder, generator), rate)
        self.bias = nn.Parameter(torch.tensor([math.log(rate / (1.0 - rate)), 0.0]))
        width = self.table.fields * config.dimension
        self.deep = Tower(width, config.hidden, generator, n_out=2, dropout=config.dropout, decay=config.decay)

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return outputs (n, 2)."""
        odds, speed = (self.bias + self.deep(e.flatten(1), noise)).unbind(1)
        return torch.stack([odds + first, speed.clamp(SLOWEST, FASTEST)], dim=1)

    def loss(self, output: Tensor, label: Tensor) -> Tensor:
        """Return minus the log likelihood (n,) of labels (n, 2): converted so far, and the wait in units of scale."""
        (odds, speed), (converted, wait) = output.unbind(1), label.unbind(1)
        spent = speed.exp() * wait
        done = logsigmoid(odds) + speed - spent
        not_yet = torch.logaddexp(logsigmoid(-odds), logsigmoid(odds) - spent)
        return -torch.where(converted > 0, done, not_yet)

    def penalty(self) -> Tensor:
        """Return minus the log prior of the deep part."""
        return self.deep.penalty()


@dataclass(frozen=True)
class TrainedDelay:
    """A trained delay network: a Predictor of conversion, ever. scale: the mean delay seen, in the unit of time."""

    config: DelayConfig
    encoder: FieldEncoder
    network: Network
    scale: float

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the probability (n,) that a click converts, however late."""
        return self.laws(log)[0]

    def laws(self, log: AuctionLog) -> tuple[FloatArray, FloatArray]:
        """Return p and lam (per unit of time), each (n,)."""
        odds, speed = scores(self.network, self.encoder.transform(log)).double().unbind(1)
        return torch.sigmoid(odds).numpy(), speed.exp().numpy() / self.scale

    def rows(self, log: AuctionLog, delays: Delays, weight: FloatArray | None = None) -> Rows:
        """Return what is learned from clicked rows of these weights (n,)."""
        label = np.stack([delays.converted, delays.wait / self.scale], axis=1).astype(np.float32)
        return Rows(self.encoder.transform(log), label, None if weight is None else weight.astype(np.float32))

    def settings(self) -> dict[str, Any]:
        """Return the settings, the encoder and the scale."""
        return {"config": asdict(self.config), "encoder": self.encoder.to_json(), "scale": self.scale}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights."""
        return {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}


def fit_delay(
    log: AuctionLog,
    delays: Delays,
    validation_share: float,
    rng: np.random.Generator,
    config: DelayConfig | None = None,
) -> tuple[TrainedDelay, Curve]:
    """Fit clicked rows (in time order): find the epochs on the last ones, then fit again on all.

    Raises InputError as one_law does.
    """
    settings = DelayConfig() if config is None else config
    cut = min(max(round(len(log) * (1.0 - validation_share)), 1), len(log) - 1)
    early, late = slice(0, cut), slice(cut, len(log))
    _, curve = settings.fit((log.rows(early), delays.rows(early)), (log.rows(late), delays.rows(late)), rng)
    return settings.refit(log, delays, curve.best, rng), curve


@dataclass(frozen=True)
class DelayLaw:
    """The law of delays of those who convert, without a form. time: (K,), rising. share: (K,) P(delay <= time).

    A delay is seen only if it fits into the time elapsed (right truncation). Backwards in time, that is the
    product-limit estimator: those at risk at s are the conversions with delay <= s <= elapsed (Lynden-Bell 1971;
    Lagakos, Barraj & De Gruttola 1988). What takes longer than the longest time elapsed is outside the law.
    One conversion without delay is added to those at risk: where the longest delay is the only one that had time to
    be seen, it would otherwise be the whole law, and all shorter ones have share 0.
    """

    time: FloatArray
    share: FloatArray

    @classmethod
    def of(cls, delays: Delays) -> Self:
        """Estimate the law. Raises InputError where no click has converted."""
        wait, elapsed = (part[delays.converted] for part in (delays.wait, delays.elapsed))
        if not len(wait):
            raise InputError(f"none of {len(delays)} clicks has converted; the law of delays needs some")
        time, count = np.unique(wait, return_counts=True)
        gone = np.searchsorted(np.sort(elapsed), time, side="left")
        stays = 1.0 - count / (np.cumsum(count) - gone + 1)
        later = np.cumprod(stays[::-1])[::-1]
        return cls(time, np.append(later[1:], 1.0))

    def by(self, elapsed: FloatArray) -> FloatArray:
        """Return the share (n,) of all conversions that have come by then."""
        place = np.searchsorted(self.time, elapsed, side="right")
        return np.asarray(np.concatenate([[0.0], self.share])[place])


def matured_weight(
    delays: Delays, law: DelayLaw, p: float | FloatArray | None = None, most: float = 20.0
) -> FloatArray:
    """Return weights (n,) with which labels so far stand for final ones (Yasui et al., WWW 2020, section 4).

    A conversion counts 1 / G, a click without one (1 - p) / (1 - p G), with G the share of conversions that have come
    in the time elapsed, and p the probability of one, (n,) or of all (None: estimated). most: no weight is higher.
    """
    g = law.by(delays.elapsed)
    rate = delays.converted.sum() / max(g.sum(), 1e-12) if p is None else p
    rate = np.minimum(rate, 1.0 - 1e-6)
    positive = 1.0 / np.maximum(g, 1.0 / most)
    return np.where(delays.converted, positive, (1.0 - rate) / (1.0 - rate * g))
