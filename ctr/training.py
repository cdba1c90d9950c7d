"""From a log to a trained network: encoding, sampling of negatives, fitting, predicting, and what is saved."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch

from bidpilot.ctr.embedding import Table
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder, FieldSettings
from bidpilot.ctr.loop import Curve, Rows, fit_network, refit_network, scores, torch_generator

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.network import Network
    from bidpilot.ctr.types import FloatArray

PRECISIONS = ("auto", "float32", "bfloat16")


class Predictor(Protocol):
    """The probability of one event, and all that is needed to save it."""

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the probability (n,) of the event for every row."""

    def settings(self) -> dict[str, Any]:
        """Return the JSON part of what is saved."""

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of what is saved."""


@dataclass(frozen=True)
class NetworkConfig(ABC):
    """Settings that every network shares; a model's Config adds its own.

    learning_rate: of Adam. batch_size: rows per step, fewer on small logs. epochs: at most so many. patience: stop
    after so many epochs without a clearly better validation loss. fields: how columns become ids and numbers.
    dimension: of the embeddings. prior, embedding_prior: standard deviations of the normal priors of first-order
    weights (log-odds) and of embeddings. whole_up_to: a table of more ids is trained row by row, see optimiser.
    row_rate, row_start: step size of that, and what its divisor starts from. negatives: share of the rows without the
    event that is kept for training, drawn at random; predictions are corrected for it. precision: of the layers above
    the table in training: float32, bfloat16, or auto, bfloat16 where the processor has it and rows are many.
    Raises InputError for figures out of range.
    """

    trains: ClassVar[bool] = True
    learning_rate: float = 0.01
    batch_size: int = 1024
    epochs: int = 60
    patience: int = 5
    fields: FieldSettings = field(default_factory=FieldSettings)
    dimension: int = 16
    prior: float = 0.3
    embedding_prior: float = 0.15
    whole_up_to: int = 100_000
    row_rate: float = 0.02
    row_start: float = 1e-8
    negatives: float = 1.0
    precision: str = "auto"

    def __post_init__(self) -> None:
        """Check the figures."""
        if not 0.0 < self.negatives <= 1.0:
            raise InputError(f"negatives must be a share above 0, at most 1; got {self.negatives}")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}")
        for name in ("batch_size", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}")

    @abstractmethod
    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> Network:
        """Return the untrained network for the encoder's fields; at first it predicts about the base rate."""

    def table(self, encoder: FieldEncoder, generator: torch.Generator) -> Table:
        """Return the table of embeddings for the encoder's fields."""
        return Table(encoder, self.dimension, generator, (self.prior, self.embedding_prior))

    def fit(
        self,
        train: AuctionLog,
        valid: AuctionLog,
        event: str,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,
    ) -> tuple[TrainedNetwork, Curve]:
        """Fit the probability of an event (a 0/1 column of the log); valid must be later in time than train.

        weight: of the training rows, then of the validation rows. journal: where checkpoints go, see fit_network.
        """
        fitted = self._untrained(train, event, rng)
        early, late = (None, None) if weight is None else (weight[: len(train)], weight[len(train) :])
        seen = self.sampled(rows_of(train, fitted.encoder, event, early), fitted.network, rng)
        kept = rows_of(valid, fitted.encoder, event, late)
        return fitted, fit_network(fitted.network, seen, kept, self, rng, journal)

    def refit(
        self,
        log: AuctionLog,
        event: str,
        epochs: int,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,
    ) -> TrainedNetwork:
        """Fit on all rows for so many epochs: those that an earlier fit found best."""
        fitted = self._untrained(log, event, rng)
        rows = self.sampled(rows_of(log, fitted.encoder, event, weight), fitted.network, rng)
        network = refit_network(fitted.network, rows, self, epochs, rng, journal)
        return TrainedNetwork(self, fitted.encoder, network)

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> TrainedNetwork:
        """Rebuild what TrainedNetwork.settings and .tensors returned."""
        encoder = FieldEncoder.from_json(settings["encoder"])
        network = self.build(encoder, 0.5, torch.Generator())
        network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
        return TrainedNetwork(self, encoder, network)

    def _untrained(self, log: AuctionLog, event: str, rng: np.random.Generator) -> TrainedNetwork:
        encoder = FieldEncoder.fit(log, self.fields)
        rate = float((log.frame[event].sum() + 0.5) / (len(log) + 1.0))
        return TrainedNetwork(self, encoder, self.build(encoder, rate, torch_generator(rng)))

    def sampled(self, rows: Rows, network: Network, rng: np.random.Generator) -> Rows:
        """Drop negatives: the odds of the rest are 1 / share times too high (He et al., ADKDD 2014, section 6.3)."""
        if self.negatives == 1.0:
            return rows
        kept = np.flatnonzero((rows.label > 0) | (rng.random(len(rows.label)) < self.negatives))
        network.shift.fill_(math.log(self.negatives))
        network.bias.data -= math.log(self.negatives)
        return Rows(rows.fields.rows(kept), rows.label[kept], None if rows.weight is None else rows.weight[kept])


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network with its encoder: a Predictor."""

    config: NetworkConfig
    encoder: FieldEncoder
    network: Network

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the probability (n,) of the event for every row."""
        score = scores(self.network, self.encoder.transform(log)).to(torch.float64)
        return np.asarray(torch.sigmoid(score).numpy())

    def settings(self) -> dict[str, Any]:
        """Return the settings and the encoder."""
        return {"config": asdict(self.config), "encoder": self.encoder.to_json()}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights."""
        return {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}


def rows_of(log: AuctionLog, encoder: FieldEncoder, event: str, weight: FloatArray | None = None) -> Rows:
    """Return the rows of a log with an event as label."""
    weights = None if weight is None else weight.astype(np.float32)
    return Rows(encoder.transform(log), log.frame[event].to_numpy(np.float32), weights)
