"""What the joint models share: the loss over all shown rows, the fit, what is predicted and what is saved.

A model of conversions learned from clicked rows alone knows nothing of those that are not clicked, and has few rows.
Here P(click and conversion) = pCTR * pCVR is learned from all of them (Ma et al., SIGIR 2018). It helps where what
draws clicks also draws conversions; where they have nothing in common, a model of its own is somewhat better.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import logsigmoid

from bidpilot.ctr.calibration import Calibrator, fit_calibrator
from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.fields import FieldEncoder
from bidpilot.ctr.loop import Curve, Rows, fit_network, refit_network, scores, torch_generator
from bidpilot.ctr.names import JOINT_MODELS
from bidpilot.ctr.network import Network, Tower
from bidpilot.ctr.training import NetworkConfig

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.embedding import Table
    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import FloatArray

TASKS = ("click", "conversion")


@dataclass(frozen=True)
class JointConfig(NetworkConfig):
    """Settings that joint models share: those of all networks, and of the task's towers.

    hidden: widths of a task's tower. dropout: share of hidden units silenced. decay: precision of the layers' prior;
    a strong one (1) draws stacked layers to 0 altogether where rows are few.
    Raises InputError for figures out of range; negatives stays 1, since no one shift mends two tasks.
    """

    learning_rate: float = 0.005
    patience: int = 8
    hidden: tuple[int, ...] = (32,)
    dropout: float = 0.1
    decay: float = 0.1

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        if self.negatives != 1.0:
            raise InputError(f"a joint model learns from all rows: negatives must be 1; got {self.negatives}")

    @abstractmethod
    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> JointNetwork:
        """Return the untrained network; both its probabilities are the rate."""

    def fit(  # type: ignore[override]
        self,
        train: AuctionLog,
        valid: AuctionLog,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,
    ) -> tuple[TrainedJoint, Curve]:
        """Fit both probabilities on shown rows; valid must be later in time than train.

        weight: of the training rows, then of the validation rows.
        Raises InputError where a log lacks clicks or conversions.
        """
        fitted = self.untrained(train, rng)
        early, late = (None, None) if weight is None else (weight[: len(train)], weight[len(train) :])
        seen, kept = (_rows_of(log, fitted.encoder, part) for log, part in ((train, early), (valid, late)))
        return fitted, fit_network(fitted.network, seen, kept, self, rng, journal)

    def refit(  # type: ignore[override]
        self,
        log: AuctionLog,
        epochs: int,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,
    ) -> TrainedJoint:
        """Fit on all rows for so many epochs: those that an earlier fit found best."""
        fitted = self.untrained(log, rng)
        rows = _rows_of(log, fitted.encoder, weight)
        network = refit_network(fitted.network, rows, self, epochs, rng, journal)
        return TrainedJoint(self, fitted.encoder, network)

    def untrained(self, log: AuctionLog, rng: np.random.Generator) -> TrainedJoint:
        """Return the network before training: it predicts the log's two base rates, smoothed by half an event."""
        encoder = FieldEncoder.fit(log, self.fields)
        network = self.build(encoder, 0.5, torch_generator(rng))
        clicks, conversions = labels_of(log).sum(axis=0, dtype=np.float64)
        network.bias.data.copy_(torch.tensor([_log_odds(clicks, len(log)), _log_odds(conversions, clicks)]))
        return TrainedJoint(self, encoder, network)

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> TrainedJoint:  # type: ignore[override]
        """Rebuild what TrainedJoint.settings and .tensors returned."""
        encoder = FieldEncoder.from_json(settings["encoder"])
        network = self.build(encoder, 0.5, torch.Generator())
        network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
        return TrainedJoint(self, encoder, network)


class JointNetwork(Network):
    """Outputs (n, 2): log-odds of a click, and of a conversion given a click.

    Every output is bias + slope * first order + what the model adds. The table has one first-order weight for an id;
    it starts as the click's, and the conversion takes the multiple of it that it learns.
    """

    outputs = len(TASKS)

    def __init__(self, table: Table, rate: float = 0.5) -> None:
        """Start from the rate, for both."""
        super().__init__(table, rate)
        self.bias = nn.Parameter(torch.full((len(TASKS),), math.log(rate / (1.0 - rate))))
        self.slope = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds (n, 2)."""
        return self.bias + first[:, None] * self.slope + self.deep(e, noise)

    @abstractmethod
    def deep(self, e: Tensor, noise: torch.Generator | None) -> Tensor:
        """Return what the layers add to the log-odds (n, 2) for vectors e (n, fields, k); 0 before training."""

    def loss(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the loss (n,) of labels (n, 2): clicked, and converted after the click."""
        return joint_loss(output, label)

    def penalty(self) -> Tensor:
        """Return minus the log prior of the layers, and of the slopes: normal, of deviation 1, about their start."""
        slope = 0.5 * ((self.slope[0] - 1.0).square() + self.slope[1].square())
        return slope + self.layers_penalty()

    @abstractmethod
    def layers_penalty(self) -> Tensor:
        """Return minus the log prior of the layers."""


@dataclass(frozen=True)
class TrainedJoint:
    """A trained joint network with its encoder."""

    config: JointConfig
    encoder: FieldEncoder
    network: Network

    def predict(self, log: AuctionLog) -> tuple[FloatArray, FloatArray]:
        """Return the probability of a click, and of a conversion given a click, each (n,)."""
        p = torch.sigmoid(scores(self.network, self.encoder.transform(log)).to(torch.float64)).numpy()
        return np.ascontiguousarray(p[:, 0]), np.ascontiguousarray(p[:, 1])

    @property
    def tasks(self) -> tuple[Task, Task]:
        """The two probabilities, each a Predictor of its own."""
        return Task(self, 0), Task(self, 1)

    def settings(self) -> dict[str, Any]:
        """Return the settings and the encoder."""
        return {"config": asdict(self.config), "encoder": self.encoder.to_json()}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights."""
        return {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}


@dataclass(frozen=True)
class Task:
    """One of the two probabilities of a joint model: a Predictor. place: in TASKS."""

    joint: TrainedJoint
    place: int

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the probability (n,)."""
        return self.joint.predict(log)[self.place]

    def settings(self) -> dict[str, Any]:
        """Return the model's settings and which task this is."""
        return self.joint.settings() | {"task": TASKS[self.place]}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights, of both tasks."""
        return self.joint.tensors()


@dataclass(frozen=True)
class JointFit:
    """How a joint model came about.

    calibrators: of both probabilities, from the rows kept for validation. early, valid: the model that has not seen
    those, and those, as often as their weights say.
    """

    joint: TrainedJoint
    curve: Curve
    calibrators: tuple[Calibrator, Calibrator]
    early: TrainedJoint
    valid: AuctionLog


def fit_joint(
    log: AuctionLog,
    name: str,
    validation_share: float,
    rng: np.random.Generator,
    config: JointConfig | None = None,
    journal: Journal | None = None,
    weight: FloatArray | None = None,
) -> JointFit:
    """Fit a joint model by name on the shown rows; find the epochs on the last ones, then fit again on all.

    config: the model's own settings where None. journal: where checkpoints go. weight: (n,) of the log's rows.
    Raises InputError for an unknown name, and where the log lacks clicks or conversions.
    """
    settings = joint_config(name) if config is None else config
    won = log.frame["won"].to_numpy()
    shown, weight = log.rows(won), None if weight is None else weight[won]
    cut = min(max(round(len(shown) * (1.0 - validation_share)), 1), len(shown) - 1)
    valid = shown.rows(slice(cut, len(shown)))
    first, again = (None if journal is None else journal.at(part) for part in ("fit", "refit"))
    early, curve = settings.fit(shown.rows(slice(0, cut)), valid, rng, weight, first)
    if weight is not None:
        valid = valid.resampled(weight[cut:], rng)
    calibrators = _calibrators(early, valid)
    return JointFit(settings.refit(shown, curve.best, rng, weight, again), curve, calibrators, early, valid)


def joint_config(name: str, settings: dict[str, Any] | None = None) -> JointConfig:
    """Return the Config of a joint model by name, from saved settings. Raises InputError where there is none."""
    if name not in JOINT_MODELS:
        raise unknown("joint model", name, JOINT_MODELS)
    config: JointConfig = import_module(f"bidpilot.ctr.joint.{name}").Config(**(settings or {}))
    return config


def joint_loss(output: Tensor, label: Tensor) -> Tensor:
    """Return log loss of the click plus log loss of click and conversion (n,), of log-odds and labels (n, 2).

    With p = pCTR and q = pCVR, log(1 - pq) is taken as log((1 - p) + p (1 - q)), which no rounding makes log 0.
    """
    (a, b), (click, conversion) = output.unbind(1), label.unbind(1)
    both = logsigmoid(a) + logsigmoid(b)
    not_both = torch.logaddexp(logsigmoid(-a), logsigmoid(a) + logsigmoid(-b))
    return cross_entropy(a, click, reduction="none") - conversion * both - (1.0 - conversion) * not_both


def labels_of(log: AuctionLog) -> npt.NDArray[np.float32]:
    """Return the labels (n, 2) of a log. Raises InputError where it does not record clicks or conversions."""
    for name in TASKS:
        if name not in log:
            raise InputError(f"{log.source}: the column {name} is needed for a joint model; map it in the mapping file")
    click, conversion = (log.frame[name].to_numpy(np.float32) for name in TASKS)
    return np.stack([click, click * conversion], axis=1)


def towers(n_in: int, config: JointConfig, generator: torch.Generator) -> nn.ModuleList:
    """Return a tower of one output for each task; both add 0 before training."""
    each = (Tower(n_in, config.hidden, generator, dropout=config.dropout, decay=config.decay) for _ in TASKS)
    return nn.ModuleList(each)


def _rows_of(log: AuctionLog, encoder: FieldEncoder, weight: FloatArray | None) -> Rows:
    weights = None if weight is None else weight.astype(np.float32)
    return Rows(encoder.transform(log), labels_of(log), weights)


def _calibrators(early: TrainedJoint, valid: AuctionLog) -> tuple[Calibrator, Calibrator]:
    """Calibrate clicks on the rows kept back, and conversions by one factor on the odds, on the clicked ones of them.

    Isotonic regression on clicked rows alone would bring back their bias wherever clicks are rare.
    """
    label, (click, conversion) = labels_of(valid), early.predict(valid)
    clicked = label[:, 0] > 0
    return fit_calibrator(click, label[:, 0]), fit_calibrator(conversion[clicked], label[clicked, 1], len(label) + 1)


def _log_odds(events: float, rows: float) -> float:
    return math.log((events + 0.5) / (rows - events + 0.5))
