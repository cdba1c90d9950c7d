"""The fitted response: who clicks, who converts, what a conversion is worth; predicts, is saved and loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bidpilot.ctr.calibration import IDENTITY, Calibrator
from bidpilot.ctr.constant import Constant
from bidpilot.ctr.errors import unknown
from bidpilot.ctr.fields import from_json
from bidpilot.ctr.names import JOINT_MODELS, MODELS, find_model
from bidpilot.ctr.segment_calibration import SegmentShifts
from bidpilot.ctr.storage import load_model, save_model
from bidpilot.ctr.types import FloatArray, Response

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.training import Predictor

CONSTANT = "constant"
"""Name of what stands in for a model where events are too few to fit one."""

DFM = "dfm"
"""Name of the network of conversions and their delay (ctr/delay), as a model."""


@dataclass(frozen=True)
class Ensemble:
    """Several fits of one model from different seeds: a Predictor whose spread tells what the log leaves open."""

    members: tuple[Predictor, ...]

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the mean of the members' probabilities (n,)."""
        return np.asarray(np.mean([member.predict(log) for member in self.members], axis=0))

    def settings(self) -> dict[str, Any]:
        """Return the members' settings."""
        return {"members": [member.settings() for member in self.members]}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the members' weights, named <number>.<name>."""
        parts = enumerate(member.tensors() for member in self.members)
        return {f"{place}.{name}": array for place, part in parts for name, array in part.items()}


@dataclass(frozen=True)
class EventModel:
    """The calibrated probability of one event.

    model: name of the model, or "constant". segments: what is corrected by segment after calibration, if anything.
    """

    model: str
    predictor: Predictor
    calibrator: Calibrator = IDENTITY
    segments: SegmentShifts | None = None

    def predict(self, log: AuctionLog) -> FloatArray:
        """Return the calibrated probability (n,)."""
        p = self.predictor.predict(log)
        if self.model == CONSTANT:
            return p
        calibrated = self.calibrator(p)
        return calibrated if self.segments is None else self.segments(calibrated, log.frame["segment"])

    def one_of(self, place: int, count: int) -> EventModel:
        """Return one of the members, where there are so many; a single model is every one of them."""
        if not isinstance(self.predictor, Ensemble):
            return self
        if len(self.predictor.members) != count:
            raise ValueError(f"an ensemble of {len(self.predictor.members)} beside one of {count}")
        return replace(self, predictor=self.predictor.members[place])


@dataclass(frozen=True)
class FittedResponse:
    """A ResponseModel learned from a log. worth: of a conversion, currency."""

    click: EventModel
    conversion: EventModel
    worth: Predictor

    def predict(self, log: AuctionLog) -> Response:
        """Predict every row. Raises InputError where the log lacks a column the model was fitted on."""
        return Response(self.click.predict(log), self.conversion.predict(log), self.worth.predict(log))

    def save(self, folder: Path) -> None:
        """Write the model into a folder: weights.safetensors and model.json."""
        settings: dict[str, Any] = {"worth": self.worth.settings()}
        tensors = {f"worth.{name}": array for name, array in self.worth.tensors().items()}
        for event, part in (("click", self.click), ("conversion", self.conversion)):
            settings[event] = {"model": part.model, **part.predictor.settings()}
            tensors |= {f"{event}.weights.{name}": array for name, array in part.predictor.tensors().items()}
            tensors |= {f"{event}.calibrator.{name}": array for name, array in part.calibrator.to_arrays().items()}
            if part.segments is not None:
                settings[event]["segments"] = list(part.segments.names)
                tensors |= {f"{event}.segments.{name}": array for name, array in part.segments.to_arrays().items()}
        save_model(folder, "response", settings, tensors)

    @property
    def members(self) -> tuple[Self, ...]:
        """The models of an ensemble, each as a response of its own; of a single model: itself."""
        parts = [part.predictor for part in (self.click, self.conversion) if isinstance(part.predictor, Ensemble)]
        count = len(parts[0].members) if parts else 1
        events = ((self.click.one_of(k, count), self.conversion.one_of(k, count)) for k in range(count))
        return tuple(type(self)(click, conversion, self.worth) for click, conversion in events)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what save wrote. Raises InputError where a file is missing or was altered."""
        settings, tensors = load_model(folder, "response")
        click, conversion = (_restore(settings[event], tensors, event) for event in ("click", "conversion"))
        return cls(click, conversion, _worth(settings["worth"], _below(tensors, "worth.")))


def _restore(settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]], event: str) -> EventModel:
    """Rebuild one event's model from what save wrote."""
    name, calibrator = settings["model"], Calibrator.from_arrays(_below(tensors, f"{event}.calibrator."))
    if name == CONSTANT:
        return EventModel(CONSTANT, Constant(settings["rate"]))
    if name not in (*MODELS, *JOINT_MODELS, DFM) and "." not in name:
        raise unknown("response model", name, (*MODELS, *JOINT_MODELS, DFM))
    weights, segments = _below(tensors, f"{event}.weights."), None
    if "segments" in settings:
        segments = SegmentShifts.from_arrays(settings["segments"], _below(tensors, f"{event}.segments."))
    if "members" not in settings:
        return EventModel(name, _predictor(name, settings, weights), calibrator, segments)
    parts = enumerate(settings["members"])
    members = tuple(_predictor(name, part, _below(weights, f"{place}.")) for place, part in parts)
    return EventModel(name, Ensemble(members), calibrator, segments)


def _predictor(name: str, settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> Predictor:
    """Rebuild one predictor."""
    if "task" in settings:
        from bidpilot.ctr.joint.base import TASKS, joint_config  # torch, which naming models does not need

        joint = joint_config(name, from_json(settings["config"])).restore(settings, tensors)
        return joint.tasks[TASKS.index(settings["task"])]
    if name == DFM:
        from bidpilot.ctr.delay import DelayConfig  # torch

        return DelayConfig(**from_json(settings["config"])).restore(settings, tensors)
    config = find_model(name, saved=True)(**from_json(settings["config"]))
    predictor: Predictor = config.restore(settings, tensors)
    return predictor


def _below(tensors: dict[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _worth(settings: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> Predictor:
    """Rebuild the worth of conversions."""
    if "rate" in settings:
        return Constant(settings["rate"])
    from bidpilot.ctr.value import ValueConfig  # torch

    return ValueConfig(**from_json(settings["config"])).restore(settings, tensors)
