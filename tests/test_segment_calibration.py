"""Segments borrow from each other as much as the data say, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.calibration import logit, sigmoid
from bidpilot.ctr.calibrators import find_calibrator
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.metrics import log_loss
from bidpilot.ctr.segment_calibration import LEAST, SegmentCalibrator, fit_segment_calibrator

if TYPE_CHECKING:
    from bidpilot.ctr.types import BoolArray, FloatArray, IntArray

SEGMENTS = 40


def drawn(spread: float, rows: int, seed: int) -> tuple[FloatArray, BoolArray, IntArray, FloatArray]:
    """Draw predictions, outcomes and segments of very different size, and the segments' true log factors."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(0.0, spread, SEGMENTS)
    size = 1.0 / np.arange(1, SEGMENTS + 1)
    segment = rng.choice(SEGMENTS, rows, p=size / size.sum())
    score = rng.normal(-3.5, 0.7, rows)
    return sigmoid(score), rng.random(rows) < sigmoid(score + factor[segment]), segment, factor


def unpooled(p: FloatArray, y: BoolArray, segment: IntArray) -> SegmentCalibrator:
    """Let every segment's factor be its own actual over predicted, one click added to both."""
    overall = find_calibrator("odds")(p, y)
    hits, expected = np.bincount(segment, y, SEGMENTS), np.bincount(segment, overall(p), SEGMENTS)
    return SegmentCalibrator(overall, np.log((hits + 0.1) / (expected + 0.1)), np.inf)


def test_shrinkage_beats_no_pooling_and_full_pooling() -> None:
    """Log loss in expectation over the known truth, on the population of segments at equal weight."""
    none: list[float] = []
    full: list[float] = []
    shrunk: list[float] = []
    for seed in range(8):
        p, y, segment, factor = drawn(0.4, 20_000, seed)
        score = np.random.default_rng(seed).normal(-3.5, 0.7, 20_000)
        where = np.arange(20_000) % SEGMENTS
        truth = sigmoid(score + factor[where])
        for losses, q in (
            (none, unpooled(p, y, segment)(sigmoid(score), where)),
            (full, find_calibrator("odds")(p, y)(sigmoid(score))),
            (shrunk, fit_segment_calibrator(p, y, segment, SEGMENTS, "odds")(sigmoid(score), where)),
        ):
            losses.append(float(-(truth * np.log(q) + (1 - truth) * np.log1p(-q)).mean()))
    assert np.mean(shrunk) < np.mean(full)
    assert np.mean(shrunk) < np.mean(none)


def test_the_spread_of_segments_is_found() -> None:
    found = []
    for seed in range(6):
        p, y, segment, _ = drawn(0.4, 60_000, seed)
        found.append(fit_segment_calibrator(p, y, segment, SEGMENTS, "odds").spread)
    assert np.mean(found) == pytest.approx(0.4, rel=0.15)


def test_segments_that_do_not_differ_get_the_overall_calibration() -> None:
    p, y, segment, _ = drawn(0.0, 60_000, 3)
    calibrator = fit_segment_calibrator(p, y, segment, SEGMENTS)
    overall = find_calibrator("isotonic")(p, y)
    assert np.abs(np.log(calibrator(p, segment) / overall(p))).max() < 0.1


def test_few_clicks_stay_near_the_overall_many_go_their_own_way() -> None:
    """Two segments of equal surplus, 20 % of their clicks; one has 5,000 clicks, one 10."""
    rng = np.random.default_rng(0)
    rows = np.array([100_000, 200, *[20_000] * 10])
    segment = np.repeat(np.arange(12), rows)
    p = np.full(len(segment), 0.05)
    y = np.zeros(len(segment), dtype=bool)
    for number, count in enumerate(rows):
        hits = round(count * 0.05 * (1.2 if number < 2 else rng.uniform(0.8, 1.2)))
        y[np.flatnonzero(segment == number)[:hits]] = True
    calibrator = fit_segment_calibrator(p, y, segment, 12, "none")
    own = float(logit(np.array([0.06]))[0] - logit(np.array([0.05]))[0])
    assert calibrator.shift[0] == pytest.approx(own, rel=0.1)
    assert abs(calibrator.shift[1]) < 0.5 * own


def test_an_unseen_segment_gets_the_overall_calibration() -> None:
    p, y, segment, _ = drawn(0.5, 20_000, 5)
    calibrator = fit_segment_calibrator(p, y, segment, SEGMENTS)
    q = np.array([0.01, 0.02])
    assert calibrator(q, np.array([SEGMENTS, -1])) == pytest.approx(calibrator.overall(q), rel=1e-9)


def test_a_segment_without_a_click_and_one_without_a_row_are_no_trouble() -> None:
    p, y, segment, _ = drawn(0.4, 5_000, 6)
    y[segment == 3] = False
    calibrator = fit_segment_calibrator(p, y, segment, SEGMENTS + 1)
    assert np.isfinite(calibrator.shift).all()
    assert calibrator.shift[3] < 0.0
    assert calibrator.shift[SEGMENTS] == pytest.approx(0.0, abs=1e-6)
    assert calibrator.spread > LEAST


def test_saved_arrays_are_the_calibrator() -> None:
    p, y, segment, _ = drawn(0.4, 5_000, 7)
    calibrator = fit_segment_calibrator(p, y, segment, SEGMENTS, "platt")
    again = SegmentCalibrator.from_arrays(calibrator.to_arrays())
    assert (again(p, segment) == calibrator(p, segment)).all()
    assert again.kind == calibrator.kind
    assert "40 segments" in again.kind


def test_on_held_out_rows_of_the_same_segments_the_loss_falls() -> None:
    p, y, segment, _ = drawn(0.4, 80_000, 8)
    half = len(p) // 2
    calibrator = fit_segment_calibrator(p[:half], y[:half], segment[:half], SEGMENTS)
    calibrated = calibrator(p[half:], segment[half:])
    assert log_loss(y[half:], calibrated) < log_loss(y[half:], p[half:])


def test_a_segment_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"0\.\.1; row 2 has 2"):
        fit_segment_calibrator(np.full(3, 0.1), np.array([0, 1, 0]), np.array([0, 1, 2]), 2)
