"""Logistic regression by FTRL-Proximal: sparse, one pass at a time (McMahan et al., KDD 2013, algorithm 1)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.fields import FieldEncoder, FieldSettings
from bidpilot.ctr.loop import CHUNK, Curve, batches

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.fields import Fields
    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray, IntArray


@dataclass(frozen=True)
class Config:
    """Settings of FTRL.

    alpha, beta: the step size of a weight is alpha / (beta + root of its squared gradients so far). l1, l2: penalties
    of the whole sum of losses; l1 sets to 0 what the data do not support. epochs: at most so many passes. patience:
    stop after so many without a clearly better validation loss. batch_size: rows between updates; 1 is the paper's
    algorithm. fields: how columns become ids and numbers. Raises InputError for figures out of range.
    """

    trains: ClassVar[bool] = True
    alpha: float = 0.05
    beta: float = 1.0
    l1: float = 0.5
    l2: float = 1.0
    epochs: int = 20
    patience: int = 3
    batch_size: int = 64
    fields: FieldSettings = field(default_factory=FieldSettings)

    def __post_init__(self) -> None:
        """Check the figures."""
        if not (self.alpha > 0.0 and self.beta >= 0.0 and self.l1 >= 0.0 and self.l2 >= 0.0):
            raise InputError(f"alpha must be above 0, beta, l1 and l2 at least 0; got {self}")
        for name in ("epochs", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}")

    def fit(
        self,
        train: AuctionLog,
        valid: AuctionLog,
        event: str,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,  # noqa: ARG002 - a fit is too short for checkpoints
    ) -> tuple[Ftrl, Curve]:
        """Fit the probability of an event (a 0/1 column of the log); valid must be later in time than train.

        weight: of the training rows, then of the validation rows.
        """
        early, late = (None, None) if weight is None else (weight[: len(train)], weight[len(train) :])
        rows, kept = Labels.of(train, event, early), Labels.of(valid, event, late)
        learner = Learner(self, FieldEncoder.fit(train, self.fields), rows.rate)
        fields, later = (learner.encoder.transform(log) for log in (train, valid))
        losses, best = [(learner.loss(fields, rows), learner.loss(later, kept))], learner.weights()
        while len(losses) <= self.epochs and _curve(losses).settled + self.patience >= len(losses):
            losses.append((learner.run_epoch(fields, rows, rng), learner.loss(later, kept)))
            if _curve(losses).best == len(losses) - 1:
                best = learner.weights()
        return Ftrl(self, learner.encoder, best), _curve(losses)

    def refit(
        self,
        log: AuctionLog,
        event: str,
        epochs: int,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,  # noqa: ARG002
    ) -> Ftrl:
        """Fit on all rows in so many passes: those that an earlier fit found best."""
        rows = Labels.of(log, event, weight)
        learner = Learner(self, FieldEncoder.fit(log, self.fields), rows.rate)
        fields = learner.encoder.transform(log)
        for _ in range(epochs):
            learner.run_epoch(fields, rows, rng)
        return Ftrl(self, learner.encoder, learner.weights())

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> Ftrl:
        """Rebuild what Ftrl.settings and .tensors returned."""
        return Ftrl(self, FieldEncoder.from_json(settings["encoder"]), tensors["weight"])


@dataclass(frozen=True)
class Ftrl:
    """A fitted regression: a Predictor. weight: (ids + numbers + 1,) log-odds, the constant last."""

    config: Config
    encoder: FieldEncoder
    weight: FloatArray

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the probability (n,) of the event for every row."""
        return _predict(self.weight, self.encoder.transform(log), self.encoder)

    def settings(self) -> dict[str, Any]:
        """Return the settings and the encoder."""
        return {"config": asdict(self.config), "encoder": self.encoder.to_json()}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights."""
        return {"weight": self.weight}


class Labels(NamedTuple):
    """Labels (n,) and weights (n,) of rows."""

    label: FloatArray
    weight: FloatArray

    @classmethod
    def of(cls, log: AuctionLog, event: str, weight: FloatArray | None) -> Self:
        """Return an event of a log as labels; without weights, rows weigh 1."""
        return cls(log.frame[event].to_numpy(np.float64), np.ones(len(log)) if weight is None else weight)

    @property
    def rate(self) -> float:
        """Return the smoothed rate of the event."""
        return float((self.weight @ self.label + 0.5) / (self.weight.sum() + 1.0))


class Sparse(NamedTuple):
    """Rows of the design matrix. place: (n, m) coordinates. value: (n, m), 0 where a place only fills up."""

    place: IntArray
    value: FloatArray

    @classmethod
    def of(cls, fields: Fields, encoder: FieldEncoder) -> Sparse:
        """Return 1 for an id, 1 / count for each value of a cell, a number as it is, 1 for the constant."""
        n, bags = fields.bags.shape[0], np.split(fields.bags, np.cumsum(encoder.bags)[:-1], axis=1)
        shares = [(bag >= 0) / np.maximum((bag >= 0).sum(1, keepdims=True), 1) for bag in bags if bag.shape[1]]
        tail = np.broadcast_to(np.arange(encoder.size, encoder.size + encoder.numbers + 1), (n, encoder.numbers + 1))
        place = np.concatenate([fields.ids, np.maximum(fields.bags, 0), tail], axis=1)
        value = np.concatenate([np.ones(fields.ids.shape), *shares, fields.numbers, np.ones((n, 1))], axis=1)
        return cls(place, value)


class Learner:
    """The state of algorithm 1: z and n of every coordinate. The constant starts at the base rate, unpenalised."""

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float) -> None:
        """Start with all weights 0 but the constant."""
        self.config, self.encoder = config, encoder
        size = encoder.size + encoder.numbers + 1
        self._start = math.log(rate / (1.0 - rate))
        self._l1, self._l2 = np.full(size, config.l1), np.full(size, config.l2)
        self._l1[-1] = self._l2[-1] = 0.0
        self._z, self._n = np.zeros(size), np.zeros(size)

    def weights(self) -> FloatArray:
        """Return all weights."""
        weight = self._weight(np.arange(len(self._z)))
        weight[-1] += self._start
        return weight

    def loss(self, fields: Fields, rows: Labels) -> float:
        """Return the mean weighted log loss."""
        p = _predict(self.weights(), fields, self.encoder)
        return float(rows.weight @ _log_loss(p, rows.label) / rows.weight.sum())

    def run_epoch(self, fields: Fields, rows: Labels, rng: np.random.Generator) -> float:
        """Pass over the rows once, shuffled; return the mean loss on the way."""
        n, total = len(rows.label), 0.0
        for part in batches(n, self.config.batch_size, rng):
            total += self.step(Sparse.of(fields.rows(part), self.encoder), rows.label[part], rows.weight[part])
        return total / float(rows.weight.sum())

    def step(self, x: Sparse, label: FloatArray, weight: FloatArray) -> float:
        """Move every coordinate of a batch, each row's gradient taken at the same weights; return the sum of losses.

        The steps sigma w of the algorithm add up to (root of the new n - root of the old) / alpha times w.
        """
        which, local = np.unique(x.place, return_inverse=True)
        local = local.reshape(x.place.shape)
        w = self._weight(which)
        p = _sigmoid(self._start + (w[local] * x.value).sum(1))
        gradient = ((p - label) * weight)[:, None] * x.value
        up, squares = (np.bincount(local.ravel(), g.ravel(), len(which)) for g in (gradient, gradient**2))
        n = self._n[which]
        self._z[which] += up - (np.sqrt(n + squares) - np.sqrt(n)) / self.config.alpha * w
        self._n[which] = n + squares
        return float(weight @ _log_loss(p, label))

    def _weight(self, which: IntArray) -> FloatArray:
        z, l1 = self._z[which], self._l1[which]
        curvature = (self.config.beta + np.sqrt(self._n[which])) / self.config.alpha + self._l2[which]
        shrunk = np.sign(z) * np.maximum(np.abs(z) - l1, 0.0)
        return np.asarray(np.divide(-shrunk, curvature, out=np.zeros(len(z)), where=shrunk != 0.0))


def _predict(weight: FloatArray, fields: Fields, encoder: FieldEncoder) -> FloatArray:
    """Return probabilities (n,), in chunks."""
    parts = [slice(start, start + CHUNK) for start in range(0, max(len(fields), 1), CHUNK)]
    rows = (Sparse.of(fields.rows(part), encoder) for part in parts)
    return np.concatenate([_sigmoid((weight[x.place] * x.value).sum(1)) for x in rows])


def _sigmoid(odds: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -ODDS, ODDS))))


def _log_loss(p: FloatArray, label: FloatArray) -> FloatArray:
    return np.asarray(-np.log(np.where(label > 0.0, p, 1.0 - p)))


def _curve(losses: list[tuple[float, float]]) -> Curve:
    return Curve(*(tuple(column) for column in zip(*losses, strict=True)))


ODDS = 35.0
"""Log-odds end here, as in the paper: beyond, 1 - p is 0 in floats."""
