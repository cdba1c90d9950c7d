"""The one fit loop: networks on plain arrays, early stopping on a later-in-time split, best weights kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from bidpilot.ctr.fields import FieldEncoder, Fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray, IntArray

Rows: TypeAlias = "tuple[Fields, npt.NDArray[np.float32]]"
"""Features and labels (n,) in 0/1 of the same rows."""

CHUNK = 16_384
"""Rows per forward pass where no gradient is needed."""

STEPS = 40
"""A small log is cut into smaller batches, so that an epoch has at least about this many steps."""

TIE = 1e-3
"""Validation losses this close (relative) are equal within noise: the later epoch, nearer to convergence, is kept."""


class Predictor(Protocol):
    """The probability of one event, and all that is needed to save it."""

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the probability (n,) of the event for every row."""

    def settings(self) -> dict[str, Any]:
        """Return the JSON part of what is saved."""

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of what is saved."""


class Network(nn.Module, ABC):
    """What the fit loop trains: log-odds from fields, and a prior on the weights."""

    @abstractmethod
    def forward(self, ids: Tensor, numbers: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds (n,) from ids (n, F) and numbers (n, D); noise is given in training only (dropout)."""

    @abstractmethod
    def penalty(self) -> Tensor:
        """Return minus the log prior of the weights, up to a constant."""


@dataclass(frozen=True)
class Curve:
    """Training and validation log loss after each epoch; epoch 0 is the network before training."""

    train: tuple[float, ...] = ()
    valid: tuple[float, ...] = ()

    @property
    def settled(self) -> int:
        """Return the first epoch whose validation loss is about the lowest."""
        return int(self._lowest[0])

    @property
    def best(self) -> int:
        """Return the last epoch whose validation loss is about the lowest: its weights were kept."""
        return int(self._lowest[-1])

    @property
    def _lowest(self) -> IntArray:
        valid = np.array(self.valid or (0.0,))
        return np.flatnonzero(valid <= valid.min() * (1.0 + TIE))


@dataclass(frozen=True)
class NetworkConfig(ABC):
    """Settings that every network shares; a model's Config adds its own.

    learning_rate: of Adam. batch_size: rows per step, fewer on small logs. epochs: at most so many.
    patience: stop after so many epochs without a clearly better validation loss. min_count: rarer ids share
    the id of the unseen. hour: take the hour of day as a categorical field.
    """

    trains: ClassVar[bool] = True
    learning_rate: float = 0.01
    batch_size: int = 1024
    epochs: int = 60
    patience: int = 5
    min_count: int = 2
    hour: bool = True

    @abstractmethod
    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> Network:
        """Return the untrained network for the encoder's fields; at first it predicts about the base rate."""

    def fit(
        self, train: AuctionLog, valid: AuctionLog, event: str, rng: np.random.Generator
    ) -> tuple[TrainedNetwork, Curve]:
        """Fit the probability of an event (a 0/1 column of the log); valid must be later in time than train."""
        fitted = self._untrained(train, event, rng)
        seen, kept = (_rows(log, fitted.encoder, event) for log in (train, valid))
        return fitted, fit_network(fitted.network, seen, kept, self, rng)

    def refit(self, log: AuctionLog, event: str, epochs: int, rng: np.random.Generator) -> TrainedNetwork:
        """Fit on all rows for so many epochs: those that an earlier fit found best."""
        fitted = self._untrained(log, event, rng)
        rows = _rows(log, fitted.encoder, event)
        passes = islice(_epochs(fitted.network, rows, self, rng), epochs)
        for _, average in tqdm(passes, "refit", epochs, leave=False, unit="epoch", disable=None):
            fitted = TrainedNetwork(self, fitted.encoder, average)
        return fitted

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> TrainedNetwork:
        """Rebuild what TrainedNetwork.settings and .tensors returned."""
        encoder = FieldEncoder.from_json(settings["encoder"])
        network = self.build(encoder, 0.5, torch.Generator())
        network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
        return TrainedNetwork(self, encoder, network)

    def _untrained(self, log: AuctionLog, event: str, rng: np.random.Generator) -> TrainedNetwork:
        encoder = FieldEncoder.fit(log, self.min_count, hour=self.hour)
        rate = float((log.frame[event].sum() + 0.5) / (len(log) + 1.0))
        return TrainedNetwork(self, encoder, self.build(encoder, rate, torch_generator(rng)))


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network with its encoder: a Predictor."""

    config: NetworkConfig
    encoder: FieldEncoder
    network: Network

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the probability (n,) of the event for every row."""
        score = _scores(self.network, self.encoder.transform(log)).to(torch.float64)
        return np.asarray(torch.sigmoid(score).numpy())

    def settings(self) -> dict[str, Any]:
        """Return the settings and the encoder."""
        return {"config": asdict(self.config), "encoder": self.encoder.to_json()}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights."""
        return {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """Return a torch generator seeded from rng."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


def fit_network(network: Network, train: Rows, valid: Rows, config: NetworkConfig, rng: np.random.Generator) -> Curve:
    """Minimise log loss plus prior; leave the network with the averaged weights of the best epoch."""
    losses = [(_loss(network, *train), _loss(network, *valid))]
    best, curve = _weights(network), Curve()
    bar = tqdm(_epochs(network, train, config, rng), "fit", config.epochs, leave=False, unit="epoch", disable=None)
    for loss, average in bar:
        losses.append((loss, _loss(average, *valid)))
        curve = Curve(*(tuple(column) for column in zip(*losses, strict=True)))
        bar.set_postfix(train=f"{loss:.5f}", valid=f"{losses[-1][1]:.5f}")
        if curve.best == len(losses) - 1:
            best = _weights(average)
        if curve.settled + config.patience < len(losses):
            break
    network.load_state_dict(best)
    return curve


def _epochs(
    network: Network, rows: Rows, config: NetworkConfig, rng: np.random.Generator
) -> Iterator[tuple[float, Network]]:
    """Train epoch by epoch with Adam; yield the mean log loss on the way and the average of the epoch's networks.

    The average follows the weights with a memory of one epoch: it is steadier than any single one.
    """
    fields, label = rows
    n = len(label)
    size = max(min(config.batch_size, n // STEPS), 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(1.0 - size / n))
    noise = torch_generator(rng)
    for _ in range(config.epochs):
        order = rng.permutation(n)
        ids, numbers, labels = (torch.from_numpy(array[order]) for array in (fields.ids, fields.numbers, label))
        total = 0.0
        for start in range(0, n, size):
            part = slice(start, start + size)
            loss = cross_entropy(network(ids[part], numbers[part], noise), labels[part])
            optimizer.zero_grad(set_to_none=True)
            (loss + network.penalty() / n).backward()
            optimizer.step()
            average.update_parameters(network)
            total += loss.item() * len(labels[part])
        yield total / n, cast("Network", average.module)


@torch.no_grad()
def _scores(network: Network, fields: Fields) -> Tensor:
    """Return log-odds (n,), in chunks."""
    parts = [slice(start, start + CHUNK) for start in range(0, max(len(fields), 1), CHUNK)]
    return torch.cat([network(torch.from_numpy(fields.ids[p]), torch.from_numpy(fields.numbers[p])) for p in parts])


def _rows(log: AuctionLog, encoder: FieldEncoder, event: str) -> Rows:
    return encoder.transform(log), log.frame[event].to_numpy(np.float32)


def _loss(network: Network, fields: Fields, label: npt.NDArray[np.float32]) -> float:
    return float(cross_entropy(_scores(network, fields).double(), torch.from_numpy(label).double()))


def _weights(network: Network) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
