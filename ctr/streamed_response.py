"""The response fitted to a log larger than memory: clicks from arrays on disk, conversions from clicked rows in memory.

Clicks are learned from the rows that were won, all with a click and a share of the others drawn at random (He et al.,
ADKDD 2014, section 6.3), so that as many are kept as there is room for. The rows of a later slice of time find the
number of epochs and calibrate; the model is not fitted again with them. Conversions and their worth are learned as
ctr/fitting does, from the clicked rows: from evenly spaced ones where there are too many.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from bidpilot.ctr.calibration import IDENTITY, Calibrator
from bidpilot.ctr.calibrators import find_calibrator, settled
from bidpilot.ctr.constant import Constant
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.events import EventReport
from bidpilot.ctr.fitting import FitReport, ResponseConfig, fit_response
from bidpilot.ctr.loop import Curve, Rows, fit_network, scores, torch_generator
from bidpilot.ctr.response import CONSTANT, EventModel, FittedResponse
from bidpilot.ctr.streaming import encode_parquet
from bidpilot.ctr.thinning import EvenLog
from bidpilot.ctr.training import NetworkConfig, TrainedNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.streaming import ChunkedLog, Encoded

ROOM = 3_000_000
"""Rows without a click, at most about, that are learned from; with a click all are."""

JUDGED = 1_000_000
"""Rows, at most, that tell when to stop and that calibrate: evenly spaced ones of the later slice."""

CLICKED = 500_000
"""Clicked rows, at most, that conversions are learned from."""


@dataclass(frozen=True)
class StreamedFit:
    """A response fitted to a streamed log, by the name of its click model."""

    name: str
    response: FittedResponse
    report: FitReport


def fit_streamed(
    log: ChunkedLog, names: Sequence[str], config: ResponseConfig, rng: np.random.Generator, cache: Path
) -> list[StreamedFit]:
    """Fit the response to the rows of a log to learn from, once for each click model by name.

    cache: an empty folder, for the encoded log. config: of its settings, members above 1, joint models and segments
    are not for logs on disk. Raises InputError for these, for models that are no networks, and as encode_parquet.
    """
    settings = [_network(name, config) for name in names]
    _refuse(config)
    clicked = EvenLog(CLICKED)
    of_clicks, of_conversions = rng.spawn(2)
    _ = encode_parquet(log, settings[0].fields, "click", cache, lambda rows: clicked.add(_clicked(rows)))
    later, late_report = _conversions(clicked, config, of_conversions)
    found = []
    for name, network, stream in zip(names, settings, of_clicks.spawn(len(names)), strict=True):
        encoded = encode_parquet(log, network.fields, "click", cache)  # found again where fields are alike
        model, report = _clicks(name, network, encoded, config, stream)
        notes = replace(late_report, events=(report, late_report.events[1]))
        found.append(StreamedFit(name, replace(later, click=model), notes))
    return found


def _network(name: str, config: ResponseConfig) -> NetworkConfig:
    settings = config.settings(name)
    if not isinstance(settings, NetworkConfig):
        raise InputError(
            f"the model {name} needs the whole log in memory: choose a network, as logistic or deepfm, or raise "
            "stream.above"
        )
    return settings


def _refuse(config: ResponseConfig) -> None:
    refused = {"members above 1": config.members > 1, "joint": config.joint is not None, "segments": config.segments}
    for name, given in refused.items():
        if given:
            raise InputError(f"model.{name} needs the whole log in memory: leave it out, or raise stream.above")


def _clicked(rows: AuctionLog) -> AuctionLog:
    return rows.rows(rows.frame["click"].to_numpy() == 1)


def _clicks(
    name: str, settings: NetworkConfig, encoded: Encoded, config: ResponseConfig, rng: np.random.Generator
) -> tuple[EventModel, EventReport]:
    """Fit clicks on the encoded rows to learn from, stop and calibrate by the later ones."""
    train, encoder, clock = encoded.train, encoded.encoder, time.process_time()
    count, clicks = len(train.label), int(train.label.sum(dtype=np.float64))
    rate = (clicks + 0.5) / (count + 1.0)
    if min(clicks, count - clicks) < config.min_positives:
        note = f"{count:,} rows, {clicks} of them clicks, are too few for {name}: every row gets the rate {rate:.3g}"
        report = EventReport("click", CONSTANT, count, clicks, Curve(), IDENTITY.kind, note)
        return EventModel(CONSTANT, Constant(rate)), report
    settings = replace(settings, negatives=min(1.0, ROOM / (count - clicks)))
    fitted = TrainedNetwork(settings, encoder, settings.build(encoder, rate, torch_generator(rng)))
    judged = _even(encoded.valid, JUDGED)
    curve = fit_network(fitted.network, settings.sampled(train, fitted.network, rng), judged, settings, rng)
    calibrator = _calibrator(fitted, judged, config.calibration, clicks)
    note = (
        f"clicks: learned from all {clicks:,} clicks and {settings.negatives:.1%} of the other {count - clicks:,} rows "
        f"won; {len(judged.label):,} later rows told when to stop and calibrated"
    )
    seconds = time.process_time() - clock
    report = EventReport("click", name, count, clicks, curve, calibrator.kind, note, seconds)
    return EventModel(name, fitted, calibrator), report


def _calibrator(fitted: TrainedNetwork, judged: Rows, name: str, learned: int) -> Calibrator:
    """Calibrate on encoded rows. learned: clicks that the model's own level rests on."""
    p = np.asarray(torch.sigmoid(scores(fitted.network, judged.fields).to(torch.float64)).numpy())
    return settled(name, find_calibrator(name)(p, judged.label), p, judged.label, float(learned))


def _even(rows: Rows, most: int) -> Rows:
    """Return evenly spaced rows, in memory."""
    every = np.arange(0, len(rows.label), -(-len(rows.label) // most))
    return Rows(rows.fields.rows(every), rows.label[every])


def _conversions(
    clicked: EvenLog, config: ResponseConfig, rng: np.random.Generator
) -> tuple[FittedResponse, FitReport]:
    """Fit conversions and their worth to clicked rows; the click model of what is returned means nothing."""
    rows = clicked.log()
    if not len(rows):
        raise InputError(f"{rows.source}: no row to learn from was clicked, so there is nothing to learn")
    response, report = fit_response(rows, replace(config, model="logistic"), rng)
    if clicked.stride == 1:
        return response, report
    late, thinned = report.events[1], f"conversions: learned from every {clicked.stride}th of {clicked.seen:,} clicks"
    noted = replace(late, note="; ".join(filter(None, [late.note, thinned])))
    return response, replace(report, events=(report.events[0], noted))
