"""What all tests share: one thread, no window, few but fixed examples, the real logs, and small worlds."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy and torch are imported: more are slower and change the bytes
os.environ["MPLBACKEND"] = "Agg"

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

from bidpilot.ctr.log import AuctionLog
from bidpilot.ctr.price_models.base import WORTH, PriceLaws
from bidpilot.ctr.types import UNWINNABLE, FloatArray, IntArray, Response
from bidpilot.envs.beliefs import Beliefs, Segments
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
    """Prices of exactly 1000 (fifth of predicted worth, 1..5) + hour micro-currency; a share that no bid reaches."""

    edges: FloatArray
    unwinnable: float = 0.0
    stops: ClassVar[bool] = False

    def groups(self, worth: FloatArray) -> IntArray:
        """Return the fifth (n,) of each worth, 0..4."""
        return np.asarray(np.searchsorted(self.edges, worth, side="right"), dtype=np.int64)

    def laws(self, log: AuctionLog) -> PriceLaws:
        """Return the laws of the rows of a log."""
        return StandInLaws(1000 * (self.groups(log.frame[WORTH].to_numpy()) + 1) + log.hour, self.unwinnable)

    def settings(self) -> dict[str, Any]:
        """Return nothing: it is not saved."""
        return {}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return nothing: it is not saved."""
        return {}


class StandInLaws(PriceLaws):
    """One price for each row, and a share that no bid reaches."""

    identified = 10**6

    def __init__(self, price: IntArray, unwinnable: float) -> None:
        """Keep the prices (n,)."""
        self._price, self._unwinnable = price, unwinnable

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._price)

    def rows(self, part: IntArray) -> PriceLaws:
        """Return some rows."""
        return StandInLaws(self._price[part], self._unwinnable)

    def terms(self, amount: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the law's logarithms; it has no density."""
        below = np.where(amount >= self._price, 1.0 - self._unwinnable, 0.0)
        with np.errstate(divide="ignore"):
            return np.log(below), np.log(1.0 - below), np.full(len(below), np.nan)

    def inverse(self, q: FloatArray) -> FloatArray:  # noqa: ARG002 - the same for all
        """Return the log price."""
        return np.asarray(np.log(self._price))

    def sample(self, rng: np.random.Generator, above: IntArray | None = None) -> IntArray:
        """Return the price, or the unit above what lost."""
        price = np.where(rng.random(len(self)) < self._unwinnable, UNWINNABLE, self._price)
        return price if above is None else np.maximum(price, above + 1)


@pytest.fixture(scope="session")
def believe() -> Callable[..., Beliefs]:
    """Return a builder of beliefs about a log, with stand-ins for the learned models."""

    def build(log: AuctionLog, timeline: Timeline, goal: Goal | None = None, unwinnable: float = 0.0) -> Beliefs:
        wins = goal or Goal("clicks", 0.1)
        edges = np.quantile(wins.expected(StandInResponse().predict(log)), np.arange(1, 5) / 5)
        return Beliefs(StandInResponse(), StandInPrices(edges, unwinnable), Segments.of(log), wins, timeline)

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
