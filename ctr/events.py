"""Fits one event of a response, or both by a joint model: early stopping and calibration on later rows, then again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from bidpilot.ctr.calibration import IDENTITY, Calibrator
from bidpilot.ctr.calibrators import find_calibrator, settled
from bidpilot.ctr.constant import Constant
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.joint.base import fit_joint, joint_config
from bidpilot.ctr.loop import Curve
from bidpilot.ctr.response import CONSTANT, Ensemble, EventModel
from bidpilot.ctr.segment_calibration import SegmentShifts, fit_segment_shifts

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.fitting import ResponseConfig
    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.training import Predictor
    from bidpilot.ctr.types import BoolArray, FloatArray


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


@dataclass(frozen=True)
class EventReport:
    """How the model of one event came about.

    model: its name, or "constant". rows, positives: what it was fitted on. curve: of the fit that chose the number
    of epochs. calibration: what the calibrator does. note: what a user should know, or "". seconds: of CPU, for all of
    it.
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
class Rows:
    """The rows where an event could happen, their weights, and where the fit's checkpoints go.

    weight: (n,) of the rows. late: (n,) by which labels so far stand for final ones. learned: the model reckons with
    late labels itself and needs no such weights. note: on late labels.
    """

    log: AuctionLog
    event: str
    weight: FloatArray | None
    journal: Journal | None
    late: FloatArray | None = None
    learned: bool = False
    note: str = ""

    @classmethod
    def of(
        cls, log: AuctionLog, keep: BoolArray, event: str, weight: FloatArray | None, journal: Journal | None
    ) -> Rows:
        """Take the kept rows (n,) of a log and of its weights."""
        part = None if weight is None else weight[keep]
        return cls(log.rows(keep), event, part, None if journal is None else journal.at(event))

    @property
    def positives(self) -> int:
        """Return how often the event happened; 0 where the log does not record it."""
        return int(self.log.frame[self.event].sum()) if self.event in self.log else 0

    @property
    def total(self) -> FloatArray | None:
        """Return the product of both weights (n,); None where all rows weigh alike."""
        return times(self.weight, self.late)

    @property
    def in_loss(self) -> FloatArray | None:
        """Return the weights (n,) of the rows to learn from; None where all weigh alike."""
        return self.weight if self.learned else self.total

    def part(self, name: str) -> Journal | None:
        """Return the journal of a part of the work."""
        return None if self.journal is None else self.journal.at(name)


class Calibration(NamedTuple):
    """What is done to a model's predictions: a calibrator, then the segments' shifts."""

    calibrator: Calibrator
    segments: SegmentShifts | None

    @property
    def kind(self) -> str:
        """Say what it does."""
        return self.calibrator.kind if self.segments is None else f"{self.calibrator.kind}; {self.segments.kind}"


def times(one: FloatArray | None, other: FloatArray | None) -> FloatArray | None:
    """Return the product of two weights (n,), of which None is 1 everywhere."""
    if one is None or other is None:
        return one if other is None else other
    return one * other


def fit_event(
    rows: Rows, name: str, settings: ModelConfig, config: ResponseConfig, rng: np.random.Generator
) -> tuple[EventModel, EventReport]:
    """Fit one event by the model of this name and these settings; too few give a constant."""
    event, count, positives = rows.event, len(rows.log), rows.positives
    if event not in rows.log:
        return _constant(rows, 0.0, f"the log does not record {event}s: their rate is 0")
    if not count:
        if event == "click":
            raise InputError(f"{rows.log.source}: no row was won, so nobody saw the ad and there is nothing to learn")
        return _constant(rows, 0.0, f"no row was clicked: the rate of {event}s is 0")
    if settings.trains and (count < config.min_rows or min(positives, count - positives) < config.min_positives):
        label = rows.log.frame[event].to_numpy(np.float64)
        late = np.ones(count) if rows.late is None else rows.late
        rate = float((late @ label + 0.5) / (late.sum() + 1.0))
        if positives:
            said = f"{count} rows, {positives} of them {event}s, are too few for {name}: every row"
        else:
            said = f"not one of {count:,} rows has a {event}, so nothing tells rows apart: every row"
        return _constant(rows, rate, f"{said} gets the rate {rate:.3g}")
    clock = time.process_time()
    predictor, curve, calibration = _fitted(rows, settings, config, rng)
    seconds = time.process_time() - clock
    report = EventReport(event, name, count, positives, curve, calibration.kind, rows.note, seconds)
    return EventModel(name, predictor, *calibration), report


def fit_together(
    parts: dict[str, Rows], name: str, config: ResponseConfig, rng: np.random.Generator, journal: Journal | None
) -> list[tuple[EventModel, EventReport]]:
    """Fit both events by one network, on all shown rows. Late conversions are corrected in their level alone."""
    clock = time.process_time()
    settings = joint_config(name)
    settings = settings if config.epochs is None else replace(settings, epochs=config.epochs)
    below = None if journal is None else journal.at(name)
    click = parts["click"]
    found = fit_joint(click.log, name, config.validation_share, rng, settings, below, click.weight)
    seconds, models = time.process_time() - clock, []
    for part, task, early, own in zip(
        parts.values(), found.joint.tasks, found.early.tasks, found.calibrators, strict=True
    ):
        fresh = found.valid if part is click else found.valid.rows(found.valid.frame["click"].to_numpy() == 1)
        p, y, calibrator = early.predict(fresh), fresh.frame[part.event].to_numpy(), own
        segments = _segments(own(p), y, fresh) if config.segments and part.late is None else None
        if part.late is not None and part.total is not None:  # of what is kept, which learned from labels so far
            again = part.log.resampled(part.total, rng)
            calibrator = find_calibrator("odds")(task.predict(again), again.frame[part.event].to_numpy())
        calibration = Calibration(calibrator, segments)
        report = EventReport(
            part.event, name, len(part.log), part.positives, found.curve, calibration.kind, part.note, seconds
        )
        models.append((EventModel(name, task, *calibration), report))
    return models


def _constant(rows: Rows, rate: float, note: str) -> tuple[EventModel, EventReport]:
    count = len(rows.log) if rows.event in rows.log else 0
    note = f"{note}; {rows.note}" if rows.note else note
    report = EventReport(rows.event, CONSTANT, count, rows.positives, Curve(), IDENTITY.kind, note)
    return EventModel(CONSTANT, Constant(rate)), report


def _fitted(
    rows: Rows, settings: ModelConfig, config: ResponseConfig, rng: np.random.Generator
) -> tuple[Predictor, Curve, Calibration]:
    """Find epochs and calibration on the last rows, then fit again on all, once for each member."""
    log, event, weight, count = rows.log, rows.event, rows.in_loss, len(rows.log)
    cut = min(max(round(count * (1.0 - config.validation_share)), 1), count - 1)
    train, valid = log.rows(slice(0, cut)), log.rows(slice(cut, count))
    predictor, curve = settings.fit(train, valid, event, rng, weight, rows.part("fit"))
    fresh, later = (valid, slice(cut, None)) if settings.trains else (log, slice(None))
    if rows.weight is not None:
        fresh = fresh.resampled(rows.weight[later], rng)
    learned = float(train.frame[event].sum()) if settings.trains else 0.0
    if rows.late is None:
        calibration = _calibration(predictor.predict(fresh), fresh, event, learned, config)
    else:  # the last rows are the youngest: what they tell of final labels is mostly chance
        calibration = Calibration(IDENTITY, None)
    streams = [rng, *rng.spawn(config.members - 1)] if settings.trains else [rng]
    members = tuple(
        settings.refit(log, event, curve.best, stream, weight, rows.part(f"refit{place}"))
        for place, stream in enumerate(streams)
    )
    return members[0] if len(members) == 1 else Ensemble(members), curve, calibration


def _calibration(p: FloatArray, fresh: AuctionLog, event: str, learned: float, config: ResponseConfig) -> Calibration:
    """Calibrate predictions p (n,) of fresh rows by an event. learned: how often the model saw it.

    Segments are compared at the level of these rows, so that they do not bring it back where it is not kept.
    """
    y = fresh.frame[event].to_numpy()
    calibrator = find_calibrator(config.calibration)(p, y)
    segments = _segments(calibrator(p), y, fresh) if config.segments else None
    return Calibration(settled(config.calibration, calibrator, p, y, learned), segments)


def _segments(p: FloatArray, y: npt.NDArray[Any], fresh: AuctionLog) -> SegmentShifts | None:
    """Fit the segments' shifts to calibrated p (n,); none where one outcome is all there is."""
    return fit_segment_shifts(p, y, fresh.frame["segment"]) if 0 < y.sum() < len(y) else None
