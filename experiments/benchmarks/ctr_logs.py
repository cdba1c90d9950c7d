"""The logs that ctr_quality measures on, each with the rows that come later held out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.readers import read_log
from bidpilot.ctr.synthetic import Exchange, ExchangeConfig

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.types import FloatArray

DAYS = 7
AVAZU_TRAIN = 7_000
TRAIN_SHARE = 0.7
BANDIT_FEATURES = ("item_id", "position", *(f"user_feature_{place}" for place in range(4)))


class Task(NamedTuple):
    """A log to learn from and a later one to be judged on. truth: the true click rates (n,) of the latter, if known."""

    name: str
    train: AuctionLog
    test: AuctionLog
    truth: FloatArray | None = None


def exchange(impressions: int) -> Task:
    """Return impressions of the synthetic exchange; its last day is held out."""
    traffic = Exchange(ExchangeConfig(opportunities=impressions / DAYS)).draw(range(DAYS), np.random.default_rng(1))
    frame = traffic.log.frame.assign(click=traffic.click.astype(np.int8), won=True)
    log = AuctionLog(frame, traffic.log.categorical, traffic.log.numeric, frozenset({"time", "click", "won"}))
    late = log.day == DAYS - 1
    name = f"synthetic exchange, {len(log):,} impressions"
    return Task(name, log.rows(~late), log.rows(late), traffic.truth.pctr[late])


def avazu(data: Path) -> Task:
    """Return Avazu's first 9,999 rows: 7,000 to train on. Raises InputError where they are not there."""
    log = read_log(_there(data / "ctr_samples" / "avazu_first9999.csv.gz")).log
    return Task("Avazu, 9,999 rows", log.rows(slice(0, AVAZU_TRAIN)), log.rows(slice(AVAZU_TRAIN, len(log))))


def open_bandit(data: Path, policy: str, campaign: str) -> Task:
    """Return a log of the Open Bandit Dataset's sample. Raises InputError where it is not there."""
    path = _there(data / "open_bandit" / policy / campaign / f"{campaign}.csv.gz")
    frame = pd.read_csv(path).sort_values("timestamp", kind="stable")
    seconds = (pd.to_datetime(frame["timestamp"], format="ISO8601") - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    columns = {"time": seconds, "click": frame["click"], "won": np.ones(len(frame), dtype=bool)}
    columns |= {name: frame[name].astype(str) for name in BANDIT_FEATURES}
    log = AuctionLog.from_columns(columns, categorical=BANDIT_FEATURES, source=str(path))
    cut = round(TRAIN_SHARE * len(log))
    return Task(f"Open Bandit, {policy}/{campaign}", log.rows(slice(0, cut)), log.rows(slice(cut, len(log))))


def _there(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is not there; give --data the folder that has ctr_samples and open_bandit")
    return path
