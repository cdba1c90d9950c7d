"""A run's log: read from a file, or drawn from the synthetic exchange together with the truth about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.readers import read_log
from bidpilot.ctr.synthetic import Exchange, ExchangeConfig
from bidpilot.envs.timeline import split
from bidpilot.experiments.config import SYNTHETIC, Settings
from bidpilot.experiments.streamed import Streamed, find_streamed
from bidpilot.experiments.streams import stream

if TYPE_CHECKING:
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.types import Response

LOGGED_DAYS = 7
EXCHANGE = ExchangeConfig(taste=0.3, taste_from=LOGGED_DAYS)
"""The demo's exchange: from the day after the log ends, tastes move from day to day."""


@dataclass(frozen=True)
class Source:
    """A log cut in time.

    truth: the true response of the whole log's rows, where it is synthetic. facts: how it was read. quarantine: the
    rows set aside. streamed: the log on disk, where it is too large to be read whole; log, train and held_out are then
    an evenly spaced sample of its rows.
    """

    log: AuctionLog
    train: AuctionLog
    held_out: AuctionLog
    truth: Response | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    quarantine: pd.DataFrame = field(default_factory=pd.DataFrame)
    streamed: Streamed | None = None

    @property
    def exchange(self) -> Exchange | None:
        """The exchange that a synthetic log comes from."""
        return Exchange(EXCHANGE) if self.truth is not None else None


def load_source(settings: Settings) -> Source:
    """Read the log that the settings name, and cut it."""
    if settings.log == SYNTHETIC:
        log, truth = Exchange(EXCHANGE).logged(LOGGED_DAYS, stream(settings.seed, "log"))
        facts = {"source": "synthetic exchange", "rows": len(log), "currency": log.currency}
        return Source(log, *split(log, settings.train_share), truth, facts)
    if (streamed := find_streamed(settings)) is not None:
        return _sampled(streamed, settings)
    read = read_log(
        Path(settings.log),
        format_name=settings.format,
        mapping=settings.mapping,
        max_bad=settings.max_bad,
        strict=settings.strict,
    )
    log = _with_clicks(read.log)
    facts = {
        "source": Path(settings.log).name,
        "rows": len(log),
        "rows_read": read.rows_read,
        "rows_set_aside": read.counts,
        "notes": list(read.notes),
        "currency": log.currency,
    }
    return Source(log, *split_as_given(log, settings), None, facts, read.quarantine)


def _sampled(streamed: Streamed, settings: Settings) -> Source:
    """Return a source of evenly spaced rows of a log on disk, cut at the time at which all of it is."""
    log = _with_clicks(streamed.log)
    time = log.frame["time"].to_numpy()
    facts = {
        "source": Path(settings.log).name,
        "rows": streamed.rows,
        "notes": [streamed.note],
        "currency": log.currency,
        "sampled_rows": len(log),
    }
    before = time < streamed.cut
    return Source(log, log.rows(before), log.rows(~before), None, facts, streamed=streamed)


def _with_clicks(log: AuctionLog) -> AuctionLog:
    if "click" not in log:
        raise InputError(f"{log.source}: no click column is mapped; there is nothing to learn a response from")
    return log


def split_as_given(log: AuctionLog, settings: Settings) -> tuple[AuctionLog, AuctionLog]:
    """Cut at the settings' share of time; a log of a single hour is cut at that share of its rows, in their order."""
    try:
        return split(log, settings.train_share)
    except InputError:
        cut = math.ceil(settings.train_share * len(log))
        if not 0 < cut < len(log):
            raise
        return log.rows(slice(0, cut)), log.rows(slice(cut, len(log)))
