"""Late conversions in a fit: the true rate is recovered from labels that are too low; no open label is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.evaluation import evaluate_response
from bidpilot.ctr.fitting import ResponseConfig, fit_response
from bidpilot.ctr.lateness import delays_of, known_by_end, late_weights, ripe, span
from bidpilot.ctr.log import SECONDS_PER_DAY, AuctionLog
from bidpilot.ctr.response import FittedResponse

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.ctr.types import BoolArray

RATES, DAYS, DELAY = (0.1, 0.3), 4.0, 1.0


def late_log(rows: int, seed: int = 0, until: float = DAYS) -> tuple[AuctionLog, BoolArray]:
    """Rows of 4 days, 3 of 4 of them clicks, on two sites; conversions a day later on average, known until a day.

    Also returned: which clicks convert in the end.
    """
    rng = np.random.default_rng(seed)
    time = np.sort(rng.random(rows)) * DAYS
    dear = rng.random(rows) < 0.5
    click = rng.random(rows) < 0.75
    ever = click & (rng.random(rows) < np.where(dear, RATES[1], RATES[0]))
    came = np.where(ever, time + rng.exponential(DELAY, rows), np.nan)
    so_far = came <= until
    columns = {"time": time * SECONDS_PER_DAY, "click": click.astype(np.int8), "conversion": so_far.astype(np.int8)}
    columns |= {"conversion_time": np.where(so_far, came, np.nan) * SECONDS_PER_DAY, "site": np.where(dear, "b", "a")}
    return AuctionLog.from_columns(columns, categorical=("site",)), ever


def rates(log: AuctionLog, **settings: object) -> tuple[float, float, FittedResponse, str]:
    """Fit, and return the mean predicted conversion rate of either site, the model, and the notes."""
    config = ResponseConfig(model="logistic", epochs=6, **settings)  # type: ignore[arg-type]
    fitted, report = fit_response(log, config, np.random.default_rng(1))
    p, dear = fitted.predict(log).pcvr, (log.frame["site"] == "b").to_numpy()
    return float(p[~dear].mean()), float(p[dear].mean()), fitted, " ".join(report.notes)


@pytest.fixture(scope="module")
def logged() -> tuple[AuctionLog, BoolArray]:
    return late_log(20_000)


@pytest.fixture(scope="module")
def log(logged: tuple[AuctionLog, BoolArray]) -> AuctionLog:
    return logged[0]


def ended(logged: tuple[AuctionLog, BoolArray]) -> tuple[float, float]:
    """Return the rates of the two sites' clicks in the end."""
    log, ever = logged
    click, dear = ((log.frame[name] == value).to_numpy() for name, value in (("click", 1), ("site", "b")))
    return float(ever[click & ~dear].mean()), float(ever[click & dear].mean())


def test_labels_so_far_are_visibly_low_and_corrected_ones_are_not(logged: tuple[AuctionLog, BoolArray]) -> None:
    """A quarter of the conversions are still to come: 1 - (1 - exp(-4)) / 4 have, by day 4."""
    log, truth = logged[0], ended(logged)
    low, high, _, said = rates(log, delay="none")
    assert low < 0.88 * RATES[0]
    assert high < 0.88 * RATES[1]
    assert "delay" not in said
    low, high, _, said = rates(log)
    assert (low, high) == pytest.approx(truth, rel=0.1)
    assert "the delay of conversions, median" in said


def test_the_network_of_delays_recovers_them_too_and_comes_back_from_disk(log: AuctionLog, tmp_path: Path) -> None:
    low, high, fitted, _ = rates(log, delay="dfm", members=2)
    assert low == pytest.approx(RATES[0], rel=0.12)
    assert high == pytest.approx(RATES[1], rel=0.12)
    fitted.save(tmp_path)
    again = FittedResponse.load(tmp_path)
    assert again.conversion.model == "dfm"
    assert again.predict(log).pcvr.tobytes() == fitted.predict(log).pcvr.tobytes()
    assert len(again.members) == 2


def test_a_joint_model_is_corrected_in_its_level() -> None:
    log, ever = late_log(10_000, 3)
    clicked = (log.frame["click"] == 1).to_numpy()
    _, _, fitted, _ = rates(log, joint="esmm")
    mean = fitted.predict(log).pcvr[clicked].mean()
    assert log.frame["conversion"].to_numpy()[clicked].mean() < 0.85 * ever[clicked].mean()
    assert mean == pytest.approx(ever[clicked].mean(), rel=0.08)


def test_what_came_after_the_last_row_is_not_known_to_the_fit() -> None:
    """A log written long after: its labels are final, but those of the future must teach nothing."""
    later, _ = late_log(6_000, until=30.0)
    now, _ = late_log(6_000)
    by_end, end = known_by_end(later), float(now.frame["time"].iloc[-1])
    assert later.frame["conversion"].sum() > 1.2 * by_end.frame["conversion"].sum()
    assert (by_end.frame["conversion_time"].dropna() <= end).all()
    assert rates(later)[:2] == rates(by_end)[:2]


def test_only_final_labels_are_judged(log: AuctionLog) -> None:
    """The law has 4 days of delay: 95 % of them have come after about 2.4 days (exact: 2.63)."""
    final = ripe(log)
    time = log.frame["time"].to_numpy() / SECONDS_PER_DAY
    assert final[0]
    assert (np.diff(final.astype(int)) <= 0).all(), "what is older is no less final"
    assert DAYS - time[final].max() == pytest.approx(2.63, abs=0.25)
    fitted = rates(log)[2]
    quality = evaluate_response(fitted, log, np.random.default_rng(2)).set_index("event")
    clicked = (log.frame["click"] == 1).to_numpy()
    assert quality.loc["conversion", "rows"] == (clicked & final).sum()
    assert quality.loc["click", "rows"] == len(log)
    written_later, _ = late_log(2_000, until=60.0)
    assert ripe(written_later).mean() > 0.9
    assert ripe(AuctionLog.from_columns({"time": [0.0, 1.0], "conversion": [0, 1]})).all()


def test_weights_without_a_conversion_are_one_and_say_so() -> None:
    columns = {"time": [0.0, 1.0], "click": [1, 1], "conversion": [0, 0], "conversion_time": [np.nan] * 2}
    log = AuctionLog.from_columns(columns)
    weight, said = late_weights(log, 1.0)
    assert weight.tolist() == [1.0, 1.0]
    assert "no conversion has come yet" in said
    assert not ripe(log).any()


def test_a_conversion_needs_its_time_and_a_treatment_its_column(log: AuctionLog) -> None:
    bad = AuctionLog.from_columns({"time": [0.0, 7.0], "click": [1, 1], "conversion": [0, 1]})
    with pytest.raises(InputError, match=r"the click of time 7 has a conversion without conversion_time"):
        delays_of(bad, 8.0)
    with pytest.raises(InputError, match=r"delay=weights needs the column conversion_time"):
        fit_response(bad, ResponseConfig(delay="weights"), np.random.default_rng(0))
    with pytest.raises(InputError, match=r"treatment of delay 'wait'.*auto, dfm, none, weights"):
        ResponseConfig(delay="wait")
    with pytest.raises(InputError, match="choose one of them"):
        ResponseConfig(delay="dfm", joint="esmm")
    assert "conversion_time" in log


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "40 s"), (750, "12.5 min"), (11_160, "3.1 h"), (90_000, "25 h"), (216_000, "2.5 days")]
)
def test_spans_are_written_as_people_do(seconds: float, text: str) -> None:
    assert span(seconds) == text
