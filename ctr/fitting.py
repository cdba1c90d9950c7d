"""Fits the response to a training log: early stopping and calibration on later rows, then again on all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bidpilot.ctr.calibrators import find_calibrator
from bidpilot.ctr.constant import Constant
from bidpilot.ctr.delay import DelayConfig
from bidpilot.ctr.errors import InputError, unknown
from bidpilot.ctr.events import EventReport, Rows, fit_event, fit_together
from bidpilot.ctr.lateness import DELAYS, Delayed, known_by_end, late_weights
from bidpilot.ctr.names import JOINT_MODELS, MODELS, find_model
from bidpilot.ctr.response import DFM, FittedResponse
from bidpilot.ctr.value import fit_value

if TYPE_CHECKING:
    import numpy as np

    from bidpilot.ctr.events import ModelConfig
    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.training import Predictor
    from bidpilot.ctr.types import FloatArray

WORTHS = ("mean", "lognormal")
WORTH_UNKNOWN = 1.0
"""Value of a conversion, currency, where the log records none: conversions then count alike."""


@dataclass(frozen=True)
class ResponseConfig:
    """Settings of fit_response.

    model: of clicks, by name, or a dotted one for a module of one's own. conversion_model: likewise, of conversions
    given a click. validation_share: the last part of the
    training rows, for early stopping and calibration. min_rows, min_positives: with fewer rows, or fewer with
    or without the event, it gets a constant rate. epochs: at most so many; None for the model's own number.
    members: fits of each model from different seeds, which predict their mean; more than one tell how sure they are.
    joint: a model of clicks and conversions together, in place of both; None: each has its own. worth: of a
    conversion: "mean", the same for all, or "lognormal", from the features (ctr/value). calibration: one of
    calibrators.CALIBRATORS; a joint model has its own. segments: each segment's odds are corrected, too, as far as its
    clicks tell (ctr/segment_calibration). delay: what is done about conversions that may still come, one of
    lateness.DELAYS: "weights" let clicks so far stand for final ones, "dfm" is a network in place of conversion_model;
    both keep their own level: the last clicks, on which others are calibrated, are too young.
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
    segments: bool = False
    delay: str = "auto"

    def __post_init__(self) -> None:
        """Raise InputError for an unknown model, or settings that leave nothing to fit or to validate on."""
        for name in {self.model, self.conversion_model} - {*MODELS}:
            find_model(name)
        named = [("model of worth", self.worth, WORTHS), ("treatment of delay", self.delay, DELAYS)]
        named += [] if self.joint is None else [("joint model", self.joint, JOINT_MODELS)]
        for kind, name, known in named:
            if name not in known:
                raise unknown(kind, name, known)
        if not 0.0 < self.validation_share < 1.0:
            raise InputError(f"validation_share must lie between 0 and 1; got {self.validation_share}")
        find_calibrator(self.calibration)
        if self.joint is not None and self.delay == DFM:
            raise InputError(f"delay={DFM} is a model of conversions, so is joint={self.joint}: choose one of them")
        if self.joint is not None and self.members > 1:
            raise InputError(f"a joint model is fitted once: members must be 1 with joint={self.joint}")
        if self.members < 1:
            raise InputError(f"members must be at least 1; got {self.members}")
        if self.min_rows < 2 or self.min_positives < 1:  # noqa: PLR2004 - one row to fit, one to validate
            raise InputError(f"min_rows must be at least 2, min_positives 1; got {self.min_rows}, {self.min_positives}")

    def settings(self, name: str) -> ModelConfig:
        """Return the Config of a model by name, with the number of epochs set where it has one."""
        config: ModelConfig = self._limited(find_model(name)())
        return config

    def _limited(self, config: Any) -> Any:  # noqa: ANN401 - of whatever model
        return replace(config, epochs=self.epochs) if config.trains and self.epochs is not None else config

    def treatment(self, log: AuctionLog) -> str:
        """Return what is done about late conversions in a log. Raises InputError where its times are needed."""
        if self.delay in ("weights", DFM) and "conversion_time" not in log:
            raise InputError(
                f"{log.source}: delay={self.delay} needs the column conversion_time; map it, or leave delay at auto"
            )
        return ("weights" if "conversion_time" in log else "none") if self.delay == "auto" else self.delay

    def delayed(self, now: float) -> Delayed:
        """Return the network of conversions and their delay, fitted at the time now."""
        return Delayed(self._limited(DelayConfig()), now)


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
    Where late conversions are corrected for, those after the log's last row are not known yet.
    Raises InputError when the log knows no clicks, or the model does not suit it.
    """
    if "click" not in log:
        raise InputError(f"{log.source}: the column click is needed to learn who clicks; map it in the mapping file")
    method = config.treatment(log)
    log = log if method == "none" else known_by_end(log)
    shown = log.frame["won"].to_numpy()
    clicked = shown & (log.frame["click"].to_numpy() == 1)
    streams = rng.spawn(4)
    parts = {"click": Rows.of(log, shown, "click", weight, journal)}
    parts["conversion"] = _late(Rows.of(log, clicked, "conversion", weight, journal), log, config, streams[3])
    if config.joint is not None and parts["conversion"].positives >= config.min_positives:
        events = fit_together(parts, config.joint, config, streams[0], journal)
    else:
        chosen = [(name, config.settings(name)) for name in (config.model, config.conversion_model)]
        if method == DFM:
            chosen[1] = (DFM, config.delayed(float(log.frame["time"].iloc[-1])))
        events = [
            fit_event(part, *model, config, stream)
            for part, model, stream in zip(parts.values(), chosen, streams[:2], strict=True)
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


def _late(rows: Rows, log: AuctionLog, config: ResponseConfig, rng: np.random.Generator) -> Rows:
    """Return clicked rows with what corrects them for conversions that come after the last row of the log.

    Weights need the rows' own rates, so a first model is fitted with the mean rate in their place.
    """
    method = config.treatment(log)
    if method == "none" or not len(rows.log):
        return rows
    now = float(log.frame["time"].iloc[-1])
    late, note = late_weights(rows.log, now)
    found = replace(rows, late=late, learned=method == DFM, note=note)
    if method == DFM or rows.positives < config.min_positives:
        return found
    once, name = replace(config, members=1, segments=False), config.conversion_model
    first, _ = fit_event(replace(found, journal=None), name, config.settings(name), once, rng)
    return replace(found, late=late_weights(rows.log, now, first.predict(rows.log))[0])


def _value(log: AuctionLog, converted: AuctionLog) -> tuple[float, str]:
    """Return the mean worth of a conversion, currency, and a note where it is not measured."""
    if "conversion" not in log:
        return WORTH_UNKNOWN, ""
    if "value" not in log or not len(converted):
        why = "no value" if "value" not in log else "no conversion"
        return WORTH_UNKNOWN, f"the log records {why}: a conversion counts {WORTH_UNKNOWN:g} {log.currency}"
    return float(converted.frame["value"].to_numpy().mean()), ""
