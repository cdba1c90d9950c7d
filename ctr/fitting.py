"""Fits the response to a training log: early stopping and calibration on later rows, then again on all of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from bidpilot.ctr import models
from bidpilot.ctr.calibration import IDENTITY
from bidpilot.ctr.calibrators import find_calibrator
from bidpilot.ctr.constant import Constant
from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.joint.base import fit_joint, joint_config
from bidpilot.ctr.loop import Curve
from bidpilot.ctr.names import JOINT_MODELS, MODELS
from bidpilot.ctr.response import CONSTANT, Ensemble, EventModel, FittedResponse
from bidpilot.ctr.value import fit_value

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.training import Predictor
    from bidpilot.ctr.types import BoolArray, FloatArray

WORTHS = ("mean", "lognormal")
WORTH_UNKNOWN = 1.0
"""Value of a conversion, currency, where the log records none: conversions then count alike."""


class ModelConfig(Protocol):
    """What every module of bidpilot.ctr.models offers as its frozen Config."""

    @property
    def trains(self) -> bool:
        """Tell whether fit learns from the rows; if not, all of them may serve to calibrate."""

    def fit(
        self,
        train: AuctionLog,
        valid: AuctionLog,
        event: str,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,
    ) -> tuple[Predictor, Curve]:
        """Fit the probability of an event, a 0/1 column of the log. weight: of the training rows, then the others."""

    def refit(
        self,
        log: AuctionLog,
        event: str,
        epochs: int,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,
    ) -> Predictor:
        """Fit on all rows for so many epochs."""

    def restore(self, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> Predictor:
        """Rebuild a saved predictor."""


@dataclass(frozen=True)
class ResponseConfig:
    """Settings of fit_response.

    model: of clicks. conversion_model: of conversions given a click. validation_share: the last part of the
    training rows, for early stopping and calibration. min_rows, min_positives: with fewer rows, or fewer with
    or without the event, it gets a constant rate. epochs: at most so many; None for the model's own number.
    members: fits of each model from different seeds, which predict their mean; more than one tell how sure they are.
    joint: a model of clicks and conversions together, in place of both; None: each has its own. worth: of a
    conversion: "mean", the same for all, or "lognormal", from the features (ctr/value). calibration: one of
    calibrators.CALIBRATORS; a joint model has its own.
    """

    model: str = "deepfm"
    conversion_model: str = "logistic"
    validation_share: float = 0.2
    min_rows: int = 100
    min_positives: int = 20
    epochs: int | None = None
    members: int = 1
    joint: str | None = None
    worth: str = "mean"
    calibration: str = "isotonic"

    def __post_init__(self) -> None:
        """Raise InputError for an unknown model, or settings that leave nothing to fit or to validate on."""
        for name in (self.model, self.conversion_model):
            if name not in MODELS:
                raise unknown("response model", name, MODELS)
        if not 0.0 < self.validation_share < 1.0:
            raise InputError(f"validation_share must lie between 0 and 1; got {self.validation_share}")
        if self.joint is not None and self.joint not in JOINT_MODELS:
            raise unknown("joint model", self.joint, JOINT_MODELS)
        find_calibrator(self.calibration)
        if self.worth not in WORTHS:
            raise unknown("model of worth", self.worth, WORTHS)
        if self.joint is not None and self.members > 1:
            raise InputError(f"a joint model is fitted once: members must be 1 with joint={self.joint}")
        if self.members < 1:
            raise InputError(f"members must be at least 1; got {self.members}")
        if self.min_rows < 2 or self.min_positives < 1:  # noqa: PLR2004 - one row to fit, one to validate
            raise InputError(f"min_rows must be at least 2, min_positives 1; got {self.min_rows}, {self.min_positives}")

    def settings(self, name: str) -> ModelConfig:
        """Return the Config of a model by name, with the number of epochs set where it has one."""
        config: Any = import_module(f"{models.__name__}.{name}").Config()
        return replace(config, epochs=self.epochs) if config.trains and self.epochs is not None else config  # type: ignore[no-any-return]


@dataclass(frozen=True)
class EventReport:
    """How the model of one event came about.

    model: what was fitted. rows, positives: it was fitted and calibrated on. curve: of the training.
    calibration: what the calibrator does. note: what a user should know, or "". seconds: of CPU, for all of it.
    """

    event: str
    model: str
    rows: int
    positives: int
    curve: Curve
    calibration: str
    note: str = ""
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class FitReport:
    """How a FittedResponse came about; value_note as EventReport.note."""

    events: tuple[EventReport, ...]
    value_note: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, one sentence each."""
        return tuple(note for note in (*(event.note for event in self.events), self.value_note) if note)


def fit_response(
    log: AuctionLog,
    config: ResponseConfig,
    rng: np.random.Generator,
    weight: FloatArray | None = None,
    journal: Journal | None = None,
) -> tuple[FittedResponse, FitReport]:
    """Fit the response to a training log.

    Clicks are learned from the rows that were won, conversions from those that were clicked. The last rows in
    time are kept to find the number of epochs and the calibration; then the model is fitted again on all rows, so
    that it knows the latest. weight: (n,) of the rows, such as ctr/selection's. journal: where checkpoints go.
    Raises InputError when the log knows no clicks, or the model does not suit it.
    """
    if "click" not in log:
        raise InputError(f"{log.source}: the column click is needed to learn who clicks; map it in the mapping file")
    shown = log.frame["won"].to_numpy()
    clicked = shown & (log.frame["click"].to_numpy() == 1)
    streams = rng.spawn(3)
    parts = {"click": _Rows.of(log, shown, "click", weight, journal)}
    parts["conversion"] = _Rows.of(log, clicked, "conversion", weight, journal)
    if config.joint is not None and parts["conversion"].positives >= config.min_positives:
        events = _fit_joint(parts, config.joint, config, streams[0], journal)
    else:
        names = (config.model, config.conversion_model)
        events = [
            _fit_event(part, name, config, stream)
            for part, name, stream in zip(parts.values(), names, streams[:2], strict=True)
        ]
    (click, click_report), (conversion, conversion_report) = events
    converted = log.rows(clicked & (log.frame["conversion"].to_numpy() == 1))
    value, note = _value(log, converted)
    if config.worth == "mean" or "value" not in log or not len(converted):
        worth: Predictor = Constant(value)
    else:
        worth, note = fit_value(converted, config.validation_share, streams[2])
        note = note or f"worth of a conversion: log-normal given the features, from {len(converted):,} conversions"
    return FittedResponse(click, conversion, worth), FitReport((click_report, conversion_report), note)


@dataclass(frozen=True)
class _Rows:
    """The rows where an event could happen, their weights, and where the fit's checkpoints go."""

    log: AuctionLog
    event: str
    weight: FloatArray | None
    journal: Journal | None

    @classmethod
    def of(
        cls, log: AuctionLog, keep: BoolArray, event: str, weight: FloatArray | None, journal: Journal | None
    ) -> _Rows:
        """Take the kept rows (n,) of a log and of its weights."""
        part = None if weight is None else weight[keep]
        return cls(log.rows(keep), event, part, None if journal is None else journal.at(event))

    @property
    def positives(self) -> int:
        """Return how often the event happened; 0 where the log does not record it."""
        return int(self.log.frame[self.event].sum()) if self.event in self.log else 0

    def part(self, name: str) -> Journal | None:
        """Return the journal of a part of the work."""
        return None if self.journal is None else self.journal.at(name)


def _fit_event(
    rows: _Rows, name: str, config: ResponseConfig, rng: np.random.Generator
) -> tuple[EventModel, EventReport]:
    """Fit one event; too few give a constant."""
    event, count = rows.event, len(rows.log)
    if event not in rows.log:
        note = f"the log does not record {event}s: their rate is 0"
        return EventModel(CONSTANT, Constant(0.0)), EventReport(event, CONSTANT, 0, 0, Curve(), IDENTITY.kind, note)
    if not count:
        if event == "click":
            raise InputError(f"{rows.log.source}: no row was won, so nobody saw the ad and there is nothing to learn")
        note = f"no row was clicked: the rate of {event}s is 0"
        return EventModel(CONSTANT, Constant(0.0)), EventReport(event, CONSTANT, 0, 0, Curve(), IDENTITY.kind, note)
    settings, positives = config.settings(name), rows.positives
    if settings.trains and (count < config.min_rows or min(positives, count - positives) < config.min_positives):
        rate = (positives + 0.5) / (count + 1.0)
        note = f"{count} rows, {positives} of them {event}s, are too few for {name}: every row gets the rate {rate:.3g}"
        report = EventReport(event, CONSTANT, count, positives, Curve(), IDENTITY.kind, note)
        return EventModel(CONSTANT, Constant(rate)), report
    clock = time.process_time()
    model, curve = _fitted(rows, settings, name, config, rng)
    seconds = time.process_time() - clock
    report = EventReport(event, name, count, positives, curve, model.calibrator.kind, seconds=seconds)
    return model, report


def _fit_joint(
    parts: dict[str, _Rows], name: str, config: ResponseConfig, rng: np.random.Generator, journal: Journal | None
) -> list[tuple[EventModel, EventReport]]:
    """Fit both events by one network, on all shown rows."""
    clock = time.process_time()
    settings = joint_config(name)
    settings = settings if config.epochs is None else replace(settings, epochs=config.epochs)
    below = None if journal is None else journal.at(name)
    click = parts["click"]
    found = fit_joint(click.log, name, config.validation_share, rng, settings, below, click.weight)
    seconds, models = time.process_time() - clock, []
    for part, task, calibrator in zip(parts.values(), found.joint.tasks, found.calibrators, strict=True):
        model = EventModel(name, task, calibrator)
        count, positives = len(part.log), part.positives
        report = EventReport(part.event, name, count, positives, found.curve, calibrator.kind, seconds=seconds)
        models.append((model, report))
    return models


def _fitted(
    rows: _Rows, settings: ModelConfig, name: str, config: ResponseConfig, rng: np.random.Generator
) -> tuple[EventModel, Curve]:
    """Find epochs and calibration on the last rows, then fit again on all, once for each member."""
    log, event, weight, count = rows.log, rows.event, rows.weight, len(rows.log)
    cut = min(max(round(count * (1.0 - config.validation_share)), 1), count - 1)
    train, valid = log.rows(slice(0, cut)), log.rows(slice(cut, count))
    predictor, curve = settings.fit(train, valid, event, rng, weight, rows.part("fit"))
    fresh, late = (valid, slice(cut, None)) if settings.trains else (log, slice(None))
    if weight is not None:
        fresh = fresh.resampled(weight[late], rng)
    calibrator = find_calibrator(config.calibration)(predictor.predict(fresh), fresh.frame[event].to_numpy())
    streams = [rng, *rng.spawn(config.members - 1)] if settings.trains else [rng]
    members = tuple(
        settings.refit(log, event, curve.best, stream, weight, rows.part(f"refit{place}"))
        for place, stream in enumerate(streams)
    )
    return EventModel(name, members[0] if len(members) == 1 else Ensemble(members), calibrator), curve


def _value(log: AuctionLog, converted: AuctionLog) -> tuple[float, str]:
    """Return the mean worth of a conversion, currency, and a note where it is not measured."""
    if "conversion" not in log:
        return WORTH_UNKNOWN, ""
    if "value" not in log or not len(converted):
        why = "no value" if "value" not in log else "no conversion"
        return WORTH_UNKNOWN, f"the log records {why}: a conversion counts {WORTH_UNKNOWN:g} {log.currency}"
    return float(converted.frame["value"].to_numpy().mean()), ""
