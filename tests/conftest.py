"""What all tests share: one thread, no window, few but fixed examples, the real logs, and small worlds."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy and torch are imported: more are slower and change the bytes
os.environ["MPLBACKEND"] = "Agg"

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.types import UNWINNABLE, FloatArray, IntArray, Response
from bidpilot.envs.beliefs import Beliefs, Segments, ValueGroups
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.goal import Goal
from bidpilot.envs.market import Market, draw_days
from bidpilot.envs.scenarios import default_market
from bidpilot.envs.timeline import Timeline

settings.register_profile("few", max_examples=25, derandomize=True, deadline=None)
settings.register_profile("nightly", max_examples=1000, deadline=None)
settings.load_profile("few")  # the other one: pytest --hypothesis-profile nightly


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real logs: BIDPILOT_DATA, else shared/data beside the repository; skip without it."""
    folder = Path(os.environ.get("BIDPILOT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        absent = f"no real logs: {folder} is not a folder; set BIDPILOT_DATA to the one that has them"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(absent)
    return folder


# --- days ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def messy_day() -> Callable[..., Day]:
    """Return a builder of days full of trouble: equal ratios, free and unwinnable impressions, values 0, < 0, NaN."""
    return _messy_day


@pytest.fixture(scope="session")
def smooth_day() -> Callable[..., Day]:
    """Return a builder of days without ties, where predictions are the truth."""
    return _smooth_day


def _messy_day(seed: int, rows: int = 60, ticks: int = 4, segments: int = 3) -> Day:
    rng = np.random.default_rng(seed)
    value = rng.choice([0.0, np.nan, -0.003, 0.001, 0.002, 0.003, 0.1 / 3], rows)
    price = rng.choice([0, 1, 500, 1000, 1500, 3000, 40_000, UNWINNABLE, UNWINNABLE + 5], rows)
    return _day(rng, value, price, value * rng.choice([0.5, 1.0, 2.0], rows), ticks, segments)


def _smooth_day(seed: int, rows: int = 60, ticks: int = 4, segments: int = 3) -> Day:
    rng = np.random.default_rng(seed)
    value = rng.lognormal(-6.0, 1.0, rows)
    price = np.maximum(1, rng.lognormal(8.0, 1.0, rows)).astype(np.int64)
    return _day(rng, value, price, value, ticks, segments)


def _day(
    rng: np.random.Generator, value: FloatArray, price: IntArray, expected: FloatArray, ticks: int, segments: int
) -> Day:
    rows = len(value)
    pctr = rng.uniform(0.0, 0.2, rows)
    segment, tick = rng.integers(segments, size=rows), np.sort(rng.integers(ticks, size=rows))
    click = rng.random(rows) < pctr
    conversion = click & (rng.random(rows) < 0.5)
    revenue = np.where(conversion, rng.integers(1, 9_000_000, rows), 0)
    seen = Opportunities(pctr, np.full(rows, 0.5), value, np.zeros(rows), segment, tick)
    return Day.build(seen, Hidden(price, click, conversion, revenue, expected), ticks, segments)


# --- logs and what is believed of them ----------------------------------------------------------------------------


@dataclass(frozen=True)
class StandInResponse:
    """Predicts what the log's pctr column says, half of the clicks converting, 2 currency each."""

    def predict(self, log: AuctionLog) -> Response:
        """Predict the response of every row."""
        pctr = log.frame["pctr"].to_numpy()
        return Response(pctr, np.full(len(pctr), 0.5), np.full(len(pctr), 2.0))


@dataclass(frozen=True)
class StandInPrices:
    """Prices of exactly 1000 (group + 1) + hour micro-currency; a share of them that no bid reaches."""

    unwinnable: float = 0.0

    def win_probability(self, bid: IntArray, hour: IntArray, group: IntArray) -> FloatArray:
        """Return P(price <= bid)."""
        return np.where(bid >= 1000 * (group + 1) + hour, 1.0 - self.unwinnable, 0.0)

    def sample(
        self, hour: IntArray, group: IntArray, rng: np.random.Generator, above: IntArray | None = None
    ) -> IntArray:
        """Return the price, or the unit above what lost."""
        price = 1000 * (group + 1) + hour
        price = np.where(rng.random(len(hour)) < self.unwinnable, UNWINNABLE, price)
        return price if above is None else np.maximum(price, above + 1)


@pytest.fixture(scope="session")
def believe() -> Callable[..., Beliefs]:
    """Return a builder of beliefs about a log, with stand-ins for the learned models."""

    def build(log: AuctionLog, timeline: Timeline, goal: Goal | None = None, unwinnable: float = 0.0) -> Beliefs:
        wins = goal or Goal("clicks", 0.1)
        groups = ValueGroups.of(wins.expected(StandInResponse().predict(log)))
        return Beliefs(StandInResponse(), StandInPrices(unwinnable), groups, Segments.of(log), wins, timeline)

    return build


@pytest.fixture(scope="session")
def visits() -> Callable[..., AuctionLog]:
    """Return a builder of logs of random visits: rates 1 % to 5 %, segments a, b and c, twice as many after noon."""

    def build(seed: int, rows: int = 4000, days: int = 5, start: float = 0.0) -> AuctionLog:
        rng = np.random.default_rng(seed)
        hour = np.where(rng.random(rows) < 1 / 3, rng.uniform(0, 12, rows), rng.uniform(12, 24, rows))
        columns = {
            "time": start + rng.integers(days, size=rows) * 86_400.0 + hour * 3600.0,
            "pctr": rng.uniform(0.01, 0.05, rows),
            "segment": rng.choice(["a", "b", "c"], rows),
        }
        return AuctionLog.from_columns(columns, source="visits")

    return build


# --- a market to play in ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def market() -> Market:
    """Return a synthetic exchange of about 400 opportunities in 12 ticks a day."""
    return default_market(400.0, 12)


@pytest.fixture(scope="session")
def past_days(market: Market) -> tuple[Day, ...]:
    """Return five days of that market."""
    return draw_days(market, 5, np.random.default_rng(77))


@pytest.fixture(scope="session")
def forecast(past_days: tuple[Day, ...]) -> Forecast:
    """Return what those days say about the next one."""
    return Forecast.of(past_days)
