"""Segments borrow from each other as much as the data say, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.ctr.calibration import logit, sigmoid
from bidpilot.ctr.calibrators import find_calibrator
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.metrics import log_loss
from bidpilot.ctr.segment_calibration import LEAST, SegmentShifts, fit_segment_shifts

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


def names(segment: IntArray) -> list[str]:
    """Name the segments so that their order is that of their numbers."""
    return [f"s{number:02d}" for number in segment]


def unpooled(p: FloatArray, y: BoolArray, segment: IntArray) -> SegmentShifts:
    """Let every segment's factor be its own actual over predicted, one click added to both."""
    hits, expected = np.bincount(segment, y, SEGMENTS), np.bincount(segment, p, SEGMENTS)
    return SegmentShifts(tuple(names(np.arange(SEGMENTS))), np.log((hits + 0.1) / (expected + 0.1)), np.inf)


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
        overall = find_calibrator("odds")(p, y)
        q0, known, here = overall(sigmoid(score)), overall(p), names(where)
        for losses, q in (
            (none, unpooled(known, y, segment)(q0, here)),
            (full, q0),
            (shrunk, fit_segment_shifts(known, y, names(segment))(q0, here)),
        ):
            losses.append(float(-(truth * np.log(q) + (1 - truth) * np.log1p(-q)).mean()))
    assert np.mean(shrunk) < np.mean(full)
    assert np.mean(shrunk) < np.mean(none)


def test_the_spread_of_segments_is_found() -> None:
    found = []
    for seed in range(6):
        p, y, segment, _ = drawn(0.4, 60_000, seed)
        found.append(fit_segment_shifts(find_calibrator("odds")(p, y)(p), y, names(segment)).spread)
    assert np.mean(found) == pytest.approx(0.4, rel=0.15)


def test_segments_that_do_not_differ_get_the_overall_calibration() -> None:
    p, y, segment, _ = drawn(0.0, 60_000, 3)
    q = find_calibrator("isotonic")(p, y)(p)
    shifts = fit_segment_shifts(q, y, names(segment))
    assert np.abs(np.log(shifts(q, names(segment)) / q)).max() < 0.1


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
    shifts = fit_segment_shifts(p, y, names(segment))
    own = float(logit(np.array([0.06]))[0] - logit(np.array([0.05]))[0])
    assert shifts.shift[0] == pytest.approx(own, rel=0.1)
    assert abs(shifts.shift[1]) < 0.5 * own


def test_an_unseen_segment_keeps_the_overall_calibration() -> None:
    p, y, segment, _ = drawn(0.5, 20_000, 5)
    shifts = fit_segment_shifts(p, y, names(segment))
    q = np.array([0.01, 0.02])
    assert shifts(q, ["s99", ""]) == pytest.approx(q, rel=1e-9)
    assert not np.allclose(shifts(q, ["s00", "s01"]), q)


def test_a_segment_without_a_click_is_no_trouble() -> None:
    p, y, segment, _ = drawn(0.4, 5_000, 6)
    y[segment == 3] = False
    shifts = fit_segment_shifts(p, y, names(segment))
    assert np.isfinite(shifts.shift).all()
    assert shifts.shift[3] < 0.0
    assert shifts.spread > LEAST


def test_saved_arrays_and_names_are_the_shifts() -> None:
    p, y, segment, _ = drawn(0.4, 5_000, 7)
    shifts = fit_segment_shifts(p, y, names(segment))
    again = SegmentShifts.from_arrays(list(shifts.names), shifts.to_arrays())
    assert (again(p, names(segment)) == shifts(p, names(segment))).all()
    assert again.kind == shifts.kind
    assert "40 segments" in again.kind


def test_on_held_out_rows_of_the_same_segments_the_loss_falls() -> None:
    p, y, segment, _ = drawn(0.4, 80_000, 8)
    half, name = len(p) // 2, names(segment)
    shifts = fit_segment_shifts(p[:half], y[:half], name[:half])
    assert log_loss(y[half:], shifts(p[half:], name[half:])) < log_loss(y[half:], p[half:])


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(InputError, match=r"row 1 has 1\.5"):
        fit_segment_shifts(np.array([0.5, 1.5]), [0, 1], ["a", "b"])
