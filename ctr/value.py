"""What a conversion is worth: 0 or log-normal, given the features (Wang, Liu & Miao 2019, arXiv:1912.07753).

The worth is p * exp(mu + sigma^2 / 2). A least-squares fit follows the few dear ones; the mean of the logs, without
sigma^2 / 2, is the median, far below the mean that a bid must pay for. Where worth is not log-normal the formula
misses the mean (gamma of shape 1/2: 3.3 times too high), so one factor, the level, makes the totals agree.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import logsigmoid

from bidpilot.ctr.constant import Constant
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder
from bidpilot.ctr.loop import Curve, Rows, fit_network, refit_network, scores, torch_generator
from bidpilot.ctr.network import Network, Tower
from bidpilot.ctr.training import NetworkConfig

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.training import Predictor
    from bidpilot.ctr.types import FloatArray

FEWEST = 20
"""Positive values below which every row gets their mean."""

NARROWEST, WIDEST = math.log(0.02), math.log(3.0)
"""Bounds of log sigma: beyond them the mean is one row's, or exp(sigma^2 / 2) is out of hand."""

LEVEL_PRIOR = 0.5
"""Standard deviation of the normal prior of the log of the level."""


class Laws(NamedTuple):
    """The laws of worth of n rows, each (n,): P(worth > 0), and mean and deviation of its log (log currency)."""

    p: FloatArray
    mu: FloatArray
    sigma: FloatArray

    @property
    def mean(self) -> FloatArray:
        """The expected worth (n,), currency."""
        return np.asarray(self.p * np.exp(self.mu + 0.5 * self.sigma**2))


@dataclass(frozen=True)
class ValueConfig(NetworkConfig):
    """Settings: those of all networks, and hidden, dropout and decay of the layers as in DeepFM.

    certain: worth is never 0 (p = 1), and rows where it is 0 are not allowed; None where the training rows say so.
    Raises InputError for figures out of range; negatives stays 1: a sample would move p.
    """

    learning_rate: float = 0.005
    patience: int = 8
    dimension: int = 8
    hidden: tuple[int, ...] = (32,)
    dropout: float = 0.0
    decay: float = 1.0
    certain: bool | None = None

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        if self.negatives != 1.0:
            raise InputError(f"worth is learned from all rows: negatives must be 1; got {self.negatives}")

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> WorthNetwork:
        """Return the untrained network: P(worth > 0) is the rate, the log of worth has mean 0 and deviation 1."""
        return WorthNetwork(self, encoder, rate, generator)

    def fit(  # type: ignore[override]
        self, train: AuctionLog, valid: AuctionLog, rng: np.random.Generator, journal: Journal | None = None
    ) -> tuple[TrainedValue, Curve]:
        """Fit the worth of rows (the column value); valid must be later in time than train.

        Raises InputError where a worth is below 0, none is above, or one is 0 although certain.
        """
        fitted = self.untrained(train, rng)
        seen, kept = (fitted.rows(log) for log in (train, valid))
        return fitted, fit_network(fitted.network, seen, kept, self, rng, journal)

    def refit(  # type: ignore[override]
        self, log: AuctionLog, epochs: int, rng: np.random.Generator, journal: Journal | None = None
    ) -> TrainedValue:
        """Fit on all rows for so many epochs. Raises InputError as fit does."""
        fitted = self.untrained(log, rng)
        network = refit_network(fitted.network, fitted.rows(log), self, epochs, rng, journal)
        return TrainedValue(self, fitted.encoder, network, fitted.scale)

    def untrained(self, log: AuctionLog, rng: np.random.Generator) -> TrainedValue:
        """Return the network before training: it gives every row the one law that fits all. Raises as fit does."""
        worth = _checked(log, certain=self.certain)
        positive = worth[worth > 0]
        scale = float(np.median(positive))
        z = np.log(positive / scale)
        encoder = FieldEncoder.fit(log, self.fields)
        network = self.build(encoder, 0.5, torch_generator(rng))
        odds = math.log((len(positive) + 0.5) / (len(worth) - len(positive) + 0.5))
        spread = np.clip(math.log(max(float(z.std()), 1e-9)), NARROWEST, WIDEST)
        network.bias.data.copy_(torch.tensor([odds, float(z.mean()), float(spread)]))
        network.certain.fill_(len(positive) == len(worth) if self.certain is None else self.certain)
        return TrainedValue(self, encoder, network, scale)

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> TrainedValue:  # type: ignore[override]
        """Rebuild what TrainedValue.settings and .tensors returned."""
        encoder = FieldEncoder.from_json(settings["encoder"])
        network = self.build(encoder, 0.5, torch.Generator())
        network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
        return TrainedValue(self, encoder, network, settings["scale"], settings["level"])


class WorthNetwork(Network):
    """Outputs (n, 3): log-odds of worth above 0, and mean and log deviation of its log, in units of the scale.

    Attribute certain: worth is never 0.
    """

    certain: Tensor
    outputs = 3

    def __init__(self, config: ValueConfig, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__(config.table(encoder, generator), rate)
        self.bias = nn.Parameter(torch.tensor([math.log(rate / (1.0 - rate)), 0.0, 0.0]))
        self.slope = nn.Parameter(torch.tensor([0.0, 1.0]))
        width = self.table.fields * config.dimension
        self.deep = Tower(width, config.hidden, generator, n_out=3, dropout=config.dropout, decay=config.decay)
        self.register_buffer("certain", torch.zeros((), dtype=torch.bool))

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return outputs (n, 3); first-order terms are the mean's, and a multiple of them the log-odds'."""
        odds, mean, spread = (self.bias + self.deep(e.flatten(1), noise)).unbind(1)
        low, high = NARROWEST, WIDEST
        return torch.stack([odds + self.slope[0] * first, mean + self.slope[1] * first, spread.clamp(low, high)], dim=1)

    def loss(self, output: Tensor, label: Tensor) -> Tensor:
        """Return minus the log likelihood (n,) of worth (n,) in units of the scale; the density is that of its log."""
        odds, mean, spread = output.unbind(1)
        positive = (label > 0).to(output.dtype)
        u = (torch.log(torch.where(label > 0, label, 1.0)) - mean) * torch.exp(-spread)
        amount = 0.5 * u.square() + spread + 0.5 * math.log(2.0 * math.pi)
        whether = torch.where(self.certain, 0.0, cross_entropy(odds, positive, reduction="none"))
        return whether + positive * amount

    def penalty(self) -> Tensor:
        """Return minus the log prior of the deep part and, about their start, of the slopes."""
        return self.deep.penalty() + 0.5 * (self.slope[0].square() + (self.slope[1] - 1.0).square())


@dataclass(frozen=True)
class TrainedValue:
    """A trained network of worth: a Predictor whose figure is an expectation.

    scale: currency, the median worth. level: what the laws' means are multiplied by, see level_of.
    """

    config: ValueConfig
    encoder: FieldEncoder
    network: Network
    scale: float
    level: float = 1.0

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the expected worth (n,), currency."""
        return self.level * self.laws(log).mean

    def laws(self, log: AuctionLog) -> Laws:
        """Return the laws of the rows' worth."""
        odds, mean, spread = scores(self.network, self.encoder.transform(log)).double().unbind(1)
        p = torch.ones_like(odds) if bool(self.network.certain) else logsigmoid(odds).exp()
        return Laws(p.numpy(), mean.numpy() + math.log(self.scale), spread.exp().numpy())

    def rows(self, log: AuctionLog) -> Rows:
        """Return what is learned from a log. Raises InputError as ValueConfig.fit does."""
        worth = _checked(log, certain=self.config.certain, empty=True)
        return Rows(self.encoder.transform(log), (worth / self.scale).astype(np.float32))

    def settings(self) -> dict[str, Any]:
        """Return the settings, the encoder, the scale and the level."""
        figures = {"scale": self.scale, "level": self.level}
        return {"config": asdict(self.config), "encoder": self.encoder.to_json(), **figures}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights."""
        return {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}


def fit_value(
    log: AuctionLog,
    validation_share: float,
    rng: np.random.Generator,
    config: ValueConfig | None = None,
    journal: Journal | None = None,
) -> tuple[Predictor, str]:
    """Fit the worth of the rows, such as all conversions; return it with a note where it is only their mean.

    The epochs are found on the last rows, then it is fitted again on all, and given the level of all.
    Raises InputError where a worth is below 0.
    """
    settings = ValueConfig() if config is None else config
    worth = _checked(log, certain=settings.certain, empty=True)
    positive = int((worth > 0).sum())
    cut = min(max(round(len(log) * (1.0 - validation_share)), 1), max(len(log) - 1, 0))
    if positive < FEWEST or not (worth[:cut] > 0).any():
        mean = float(worth.mean()) if len(worth) else 0.0
        return Constant(mean), f"{positive} values are too few to learn from: every row gets the mean {mean:.3g}"
    first, again = (None if journal is None else journal.at(part) for part in ("fit", "refit"))
    _, curve = settings.fit(log.rows(slice(0, cut)), log.rows(slice(cut, len(log))), rng, first)
    model = settings.refit(log, curve.best, rng, again)
    return replace(model, level=level_of(worth, model.predict(log))), ""


def level_of(worth: FloatArray, expected: FloatArray) -> float:
    """Return the factor on expected worths (n,) that makes their total that of the worths (n,), drawn towards 1.

    Its log has a normal prior of deviation LEVEL_PRIOR, and that of the ratio of totals (delta method) as its error:
    a few dear rows move it little. It is of the rows that were fitted, since one figure cannot learn them by heart.
    """
    total = worth.sum()
    ratio = total / expected.sum()
    error = np.square(worth - ratio * expected).sum() / total**2
    return float(np.exp(np.log(ratio) * LEVEL_PRIOR**2 / (LEVEL_PRIOR**2 + error)))


def _checked(log: AuctionLog, *, certain: bool | None, empty: bool = False) -> FloatArray:
    """Return the worth (n,) of a log's rows. empty: all may be 0. Raises InputError where one is impossible."""
    worth = log.frame["value"].to_numpy(np.float64)
    if not (worth >= 0).all() or not np.isfinite(worth).all():
        row = int(np.argmin((worth >= 0) & np.isfinite(worth)))
        raise InputError(f"{log.source}: row {row} has the value {worth[row]}; a worth is finite and at least 0")
    if not empty and not (worth > 0).any():
        raise InputError(f"{log.source}: no row has a value above 0; a law of worth needs some")
    if certain and not (worth > 0).all():
        row = int(np.argmin(worth > 0))
        raise InputError(f"{log.source}: row {row} has the value 0; with certain, every row is worth something")
    return worth
