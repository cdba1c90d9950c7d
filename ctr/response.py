"""The learned response model: who clicks, who converts, what a conversion is worth; fitted, calibrated, saved."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import pandas as pd

from bidpilot.ctr import metrics, models
from bidpilot.ctr.calibration import IDENTITY, Calibrator, fit_calibrator
from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.fields import FieldSettings
from bidpilot.ctr.loop import Curve
from bidpilot.ctr.storage import load_model, save_model
from bidpilot.ctr.types import FloatArray, Response

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.training import Predictor

MODELS = tuple(sorted(module.name for module in pkgutil.iter_modules(models.__path__)))
"""Names of the response models: the modules of bidpilot.ctr.models."""

CONSTANT = "constant"
"""Name of what stands in for a model where events are too few to fit one."""

WORTH_UNKNOWN = 1.0
"""Value of a conversion, currency, where the log records none: conversions then count alike."""


class ModelConfig(Protocol):
    """What every module of bidpilot.ctr.models offers as its frozen Config."""

    @property
    def trains(self) -> bool:
        """Tell whether fit learns from the rows; if not, all of them may serve to calibrate."""

    def fit(
        self, train: AuctionLog, valid: AuctionLog, event: str, rng: np.random.Generator
    ) -> tuple[Predictor, Curve]:
        """Fit the probability of an event, a 0/1 column of the log."""

    def refit(self, log: AuctionLog, event: str, epochs: int, rng: np.random.Generator) -> Predictor:
        """Fit on all rows for so many epochs."""

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> Predictor:
        """Rebuild a saved predictor."""


@dataclass(frozen=True)
class ResponseConfig:
    """Settings of fit_response.

    model: of clicks. conversion_model: of conversions given a click. validation_share: the last part of the
    training rows, for early stopping and calibration. min_rows, min_positives: with fewer rows, or fewer with
    or without the event, it gets a constant rate. epochs: at most so many; None for the model's own number.
    """

    model: str = "deepfm"
    conversion_model: str = "logistic"
    validation_share: float = 0.2
    min_rows: int = 100
    min_positives: int = 20
    epochs: int | None = None

    def __post_init__(self) -> None:
        """Raise InputError for an unknown model, or settings that leave nothing to fit or to validate on."""
        for name in (self.model, self.conversion_model):
            if name not in MODELS:
                raise unknown("response model", name, MODELS)
        if not 0.0 < self.validation_share < 1.0:
            raise InputError(f"validation_share must lie between 0 and 1; got {self.validation_share}")
        if self.min_rows < 2 or self.min_positives < 1:  # noqa: PLR2004 - one row to fit, one to validate
            raise InputError(f"min_rows must be at least 2, min_positives 1; got {self.min_rows}, {self.min_positives}")

    def settings(self, name: str) -> ModelConfig:
        """Return the Config of a model by name, with the number of epochs set where it has one."""
        config: Any = import_module(f"{models.__name__}.{name}").Config()
        return replace(config, epochs=self.epochs) if config.trains and self.epochs is not None else config  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Constant:
    """The same rate for every row: a Predictor."""

    rate: float

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the rate, (n,)."""
        return np.full(len(log), self.rate)

    def settings(self) -> dict[str, Any]:
        """Return the rate."""
        return {"rate": self.rate}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights: none."""
        return {}


@dataclass(frozen=True)
class EventModel:
    """The calibrated probability of one event. model: name of the model, or "constant"."""

    model: str
    predictor: Predictor
    calibrator: Calibrator = IDENTITY

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the calibrated probability (n,)."""
        return self.predictor.predict(log) if self.model == CONSTANT else self.calibrator(self.predictor.predict(log))


@dataclass(frozen=True)
class EventReport:
    """How the model of one event came about.

    model: what was fitted. rows, positives: it was fitted and calibrated on. curve: of the training.
    calibration: what the calibrator does. note: what a user should know, or "".
    """

    event: str
    model: str
    rows: int
    positives: int
    curve: Curve
    calibration: str
    note: str = ""


@dataclass(frozen=True)
class FitReport:
    """How a FittedResponse came about; value_note as EventReport.note."""

    events: tuple[EventReport, ...]
    value_note: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, one sentence each."""
        return tuple(note for note in (*(event.note for event in self.events), self.value_note) if note)


@dataclass(frozen=True)
class FittedResponse:
    """A ResponseModel learned from a log. value: mean worth of a conversion, currency."""

    click: EventModel
    conversion: EventModel
    value: float

    def predict(self, log: AuctionLog) -> Response:
        """Predict every row. Raises InputError where the log lacks a column the model was fitted on."""
        return Response(self.click.predict(log), self.conversion.predict(log), np.full(len(log), self.value))

    def save(self, folder: Path) -> None:
        """Write the model into a folder: weights.safetensors and model.json."""
        settings: dict[str, Any] = {"value": self.value}
        tensors: dict[str, npt.NDArray[Any]] = {}
        for event, part in (("click", self.click), ("conversion", self.conversion)):
            settings[event] = {"model": part.model, **part.predictor.settings()}
            tensors |= {f"{event}.weights.{name}": array for name, array in part.predictor.tensors().items()}
            tensors |= {f"{event}.calibrator.{name}": array for name, array in part.calibrator.to_arrays().items()}
        save_model(folder, "response", settings, tensors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what save wrote. Raises InputError where a file is missing or was altered."""
        settings, tensors = load_model(folder, "response")
        click, conversion = (_restore(settings[event], tensors, event) for event in ("click", "conversion"))
        return cls(click, conversion, settings["value"])


def fit_response(log: AuctionLog, config: ResponseConfig, rng: np.random.Generator) -> tuple[FittedResponse, FitReport]:
    """Fit the response to a training log.

    Clicks are learned from the rows that were won, conversions from those that were clicked. The last rows in
    time are kept to find the number of epochs and the calibration; then the model is fitted again on all rows, so
    that it knows the latest. Raises InputError when the log knows no clicks, or the model does not suit it.
    """
    if "click" not in log:
        raise InputError(f"{log.source}: the column click is needed to learn who clicks; map it in the mapping file")
    shown = log.frame["won"].to_numpy()
    clicked = shown & (log.frame["click"].to_numpy() == 1)
    streams = rng.spawn(2)
    click = _fit_event(log, shown, "click", config.model, config, streams[0])
    conversion = _fit_event(log, clicked, "conversion", config.conversion_model, config, streams[1])
    value, note = _value(log, clicked & (log.frame["conversion"].to_numpy() == 1))
    return FittedResponse(click[0], conversion[0], value), FitReport((click[1], conversion[1]), note)


def evaluate_response(
    model: FittedResponse, log: AuctionLog, rng: np.random.Generator, truth: Response | None = None
) -> pd.DataFrame:
    """Measure a model on held-out rows: one row per event that the log records.

    Columns: event, model, rows, positives, auc, log_loss, ece, ece_floor and ece_bound (mean and 95 % bound of
    a perfect model's ece), predicted_over_actual with its 95 % interval ratio_low..ratio_high, true_log_loss and
    excess_log_loss_percent (NaN without the truth, which has a rate for every row of the log).
    """
    shown = log.frame["won"].to_numpy()
    clicked = shown & (log.frame["click"].to_numpy() == 1)
    predicted = model.predict(log)
    rows = []
    for event, name, keep in (("click", "pctr", shown), ("conversion", "pcvr", clicked)):
        if event in log and keep.any():
            y = log.frame[event].to_numpy(np.float64)[keep]
            exact = None if truth is None else getattr(truth, name)[keep]
            kind = getattr(model, event).model
            rows.append({"event": event, "model": kind} | _quality(y, getattr(predicted, name)[keep], exact, rng))
    return pd.DataFrame(rows)


def _fit_event(
    log: AuctionLog,
    keep: npt.NDArray[np.bool_],
    event: str,
    name: str,
    config: ResponseConfig,
    rng: np.random.Generator,
) -> tuple[EventModel, EventReport]:
    """Fit one event on the rows where it could happen; too few give a constant."""
    if event not in log:
        note = f"the log does not record {event}s: their rate is 0"
        return EventModel(CONSTANT, Constant(0.0)), EventReport(event, CONSTANT, 0, 0, Curve(), IDENTITY.kind, note)
    rows = log.rows(keep)
    count, positives = len(rows), int(rows.frame[event].sum())
    settings = config.settings(name)
    if settings.trains and (count < config.min_rows or min(positives, count - positives) < config.min_positives):
        rate = (positives + 0.5) / (count + 1.0)
        note = f"{count} rows, {positives} of them {event}s, are too few for {name}: every row gets the rate {rate:.3g}"
        report = EventReport(event, CONSTANT, count, positives, Curve(), IDENTITY.kind, note)
        return EventModel(CONSTANT, Constant(rate)), report
    cut = min(max(round(count * (1.0 - config.validation_share)), 1), count - 1)
    train, valid = rows.rows(slice(0, cut)), rows.rows(slice(cut, count))
    predictor, curve = settings.fit(train, valid, event, rng)
    fresh = valid if settings.trains else rows
    calibrator = fit_calibrator(predictor.predict(fresh), fresh.frame[event].to_numpy())
    final = settings.refit(rows, event, curve.best, rng)
    return EventModel(name, final, calibrator), EventReport(event, name, count, positives, curve, calibrator.kind)


def _value(log: AuctionLog, converted: npt.NDArray[np.bool_]) -> tuple[float, str]:
    """Return the mean worth of a conversion, currency, and a note where it is not measured."""
    if "conversion" not in log:
        return WORTH_UNKNOWN, ""
    if "value" not in log or not converted.any():
        why = "no value" if "value" not in log else "no conversion"
        return WORTH_UNKNOWN, f"the log records {why}: a conversion counts {WORTH_UNKNOWN:g} {log.currency}"
    return float(log.frame["value"].to_numpy()[converted].mean()), ""


def _quality(y: FloatArray, p: FloatArray, exact: FloatArray | None, rng: np.random.Generator) -> dict[str, float]:
    """Return one row of evaluate_response."""
    ratio, low, high = metrics.predicted_over_actual(y, p)
    floor, bound = metrics.ece_noise(p, rng)
    loss = metrics.log_loss(y, p)
    best = float("nan") if exact is None else metrics.log_loss(y, exact)
    return {
        "rows": len(y),
        "positives": int(y.sum()),
        "auc": metrics.auc(y, p),
        "log_loss": loss,
        "ece": metrics.ece(y, p),
        "ece_floor": floor,
        "ece_bound": bound,
        "predicted_over_actual": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "true_log_loss": best,
        "excess_log_loss_percent": 100.0 * (loss / best - 1.0),
    }


def _restore(settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]], event: str) -> EventModel:
    """Rebuild one event's model from what save wrote."""

    def below(prefix: str) -> dict[str, npt.NDArray[Any]]:
        return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}

    name, calibrator = settings["model"], Calibrator.from_arrays(below(f"{event}.calibrator."))
    if name == CONSTANT:
        return EventModel(CONSTANT, Constant(settings["rate"]))
    if name not in MODELS:
        raise unknown("response model", name, MODELS)
    config = import_module(f"{models.__name__}.{name}").Config(**_tuples(settings["config"]))
    return EventModel(name, config.restore(settings, below(f"{event}.weights.")), calibrator)


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the tuples that JSON made lists, and the settings of fields that it made a dictionary."""
    flat: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in settings.items()}
    return flat | {"fields": FieldSettings(**_tuples(flat["fields"]))} if "fields" in flat else flat
