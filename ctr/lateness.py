"""Late conversions in a fit: what was known when, how clicks weigh until then, and whose labels are final.

A click without a conversion yet is no failure. With the times of conversions (the log's conversion_time) the labels so
far are weighted so that they stand for final ones, or the network of ctr/delay learns whether and when together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bidpilot.ctr.delay import DelayConfig, DelayLaw, Delays, matured_weight
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import SECONDS_PER_DAY, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from bidpilot.ctr.delay import TrainedDelay
    from bidpilot.ctr.journal import Journal
    from bidpilot.ctr.log import AuctionLog
    from bidpilot.ctr.loop import Curve
    from bidpilot.ctr.types import BoolArray, FloatArray

DELAYS = ("auto", "weights", "dfm", "none")
"""What can be done about late conversions. auto: weights where the log has conversion_time, else none."""

RIPE = 0.95
"""A label is final when at least this share of conversions has come in the time since the click."""


def known_by_end(log: AuctionLog) -> AuctionLog:
    """Return the log as it was known when its last row came: later conversions have not happened yet."""
    if "conversion_time" not in log or not len(log):
        return log
    frame = log.frame
    later = frame["conversion_time"] > frame["time"].iloc[-1]
    unknown = {"conversion": np.int8(0), "value": 0.0, "conversion_time": np.nan}
    return replace(log, frame=frame.assign(**{name: frame[name].mask(later, rest) for name, rest in unknown.items()}))


def delays_of(clicked: AuctionLog, now: float) -> Delays:
    """Return what is known by now (s) of clicked rows. Raises InputError where a conversion has no time, or no more."""
    came = clicked.frame["conversion_time"].to_numpy()
    strange = np.isnan(came) == (clicked.frame["conversion"].to_numpy() == 1)
    if strange.any():
        row = int(np.argmax(strange))
        raise InputError(
            f"{clicked.source}: the click of time {clicked.frame['time'].iloc[row]:g} has a conversion without "
            "conversion_time, or the other way round; give both or neither"
        )
    return Delays.of(clicked.frame["time"].to_numpy(), came, now)


def ripe(log: AuctionLog) -> BoolArray:
    """Mark the rows (n,) whose conversion label is final: all of them where the log has no conversion_time.

    A log was written when its last row or conversion came, or later. Without any conversion no label is known to be.
    """
    if "conversion_time" not in log or not len(log):
        return np.ones(len(log), dtype=np.bool_)
    time, came = (log.frame[name].to_numpy() for name in ("time", "conversion_time"))
    end = float(np.nanmax(np.append(came, time[-1])))
    clicked = log.frame["click"].to_numpy() == 1
    delays = delays_of(log.rows(clicked), end)
    if not delays.converted.any():
        return np.zeros(len(log), dtype=np.bool_)
    return np.asarray(DelayLaw.of(delays).by(end - time) >= RIPE)


def late_weights(clicked: AuctionLog, now: float, p: FloatArray | None = None) -> tuple[FloatArray, str]:
    """Return weights (n,) by which labels of clicked rows stand for final ones, and a sentence on them.

    p: (n,) probability of a conversion; None: the same for all, which draws rows of different rates together.
    Without a conversion by now the weights are 1. Raises InputError as delays_of.
    """
    delays = delays_of(clicked, now)
    if not delays.converted.any():
        return np.ones(len(delays)), "no conversion has come yet, so their delay cannot be corrected for"
    law = DelayLaw.of(delays)
    weight = matured_weight(delays, law, p)
    median = law.time[int(np.searchsorted(law.share, 0.5))]
    seen, stands = int(delays.converted.sum()), weight[delays.converted].sum()
    return weight, (
        f"the delay of conversions, median {span(float(median))}, is corrected for: the {seen:,} that have come by the "
        f"last training row stand for {stands:,.0f}"
    )


def span(seconds: float) -> str:
    """Write a time as people do: 40 s, 12 min, 3.1 h, 2.5 days."""
    units = ((2 * SECONDS_PER_DAY, SECONDS_PER_DAY, "days"), (SECONDS_PER_HOUR, SECONDS_PER_HOUR, "h"), (60, 60, "min"))
    for least, unit, name in units:
        if seconds >= least:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


@dataclass(frozen=True)
class Delayed:
    """The network of ctr/delay as a response model: delays are read from the log. now: when the fit is made, s."""

    trains: ClassVar[bool] = True
    config: DelayConfig
    now: float

    def fit(
        self,
        train: AuctionLog,
        valid: AuctionLog,
        event: str,  # noqa: ARG002 - there is no other than the conversion
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,
    ) -> tuple[TrainedDelay, Curve]:
        """Fit as DelayConfig.fit."""
        early, late = ((log, delays_of(log, self.now)) for log in (train, valid))
        return self.config.fit(early, late, rng, weight, journal)

    def refit(
        self,
        log: AuctionLog,
        event: str,  # noqa: ARG002
        epochs: int,
        rng: np.random.Generator,
        weight: FloatArray | None = None,
        journal: Journal | None = None,
    ) -> TrainedDelay:
        """Fit as DelayConfig.refit."""
        return self.config.refit(log, delays_of(log, self.now), epochs, rng, weight, journal)
