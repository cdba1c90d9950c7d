"""The figures of the models: bins in sight, ratios around 1, a bid's chance and its cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidpilot.experiments import plots_models
from bidpilot.experiments.plots_style import inline_svg


@pytest.fixture
def bins() -> pd.DataFrame:
    """Return calibration bins whose rates span a factor of 100, one of them without an event."""
    predicted = np.geomspace(1e-4, 1e-2, 6)
    actual = predicted * [1.1, 0.9, 0.0, 1.0, 1.2, 0.8]
    return pd.DataFrame(
        {"event": "click", "bin": np.arange(6), "predicted": predicted, "actual": actual, "count": 1000}
    ).assign(low=actual * 0.8, high=actual * 1.2 + 1e-4)


def test_calibration_keeps_a_bin_without_events_in_sight(bins: pd.DataFrame) -> None:
    """On logarithmic axes a rate of zero lies on the lower edge, and the count of every bin is drawn."""
    axes, counts = plots_models.calibration(bins, "click").axes
    points = next(line for line in axes.get_lines() if line.get_marker() == "o")
    assert axes.get_yscale() == "log"
    assert np.asarray(points.get_ydata(), dtype=float).min() == pytest.approx(axes.get_ylim()[0])
    assert len(counts.collections[0].get_paths()) == len(bins)


def test_calibration_of_alike_probabilities_is_linear(bins: pd.DataFrame) -> None:
    """Rates that differ little are easier to read without a logarithm."""
    alike = bins.assign(predicted=np.linspace(0.2, 0.4, 6), actual=0.3, low=0.25, high=0.35)
    assert plots_models.calibration(alike, "click").axes[0].get_yscale() == "linear"


@pytest.fixture
def parts() -> pd.DataFrame:
    """Return slices of clicks: three segments, twenty-four hours, a decile, and a segment in which nobody clicked."""
    hours = pd.DataFrame({"slice": "hour", "name": [str(h) for h in range(24)], "ratio": 1.0 + np.arange(24) / 100})
    segments = pd.DataFrame({"slice": "segment", "name": list("abcd"), "ratio": [0.5, 1.0, 2.0, np.nan]})
    decile = pd.DataFrame({"slice": ["decile"], "name": ["1"], "ratio": [9.0]})
    every = pd.concat([hours, segments, decile], ignore_index=True).assign(event="click")
    count = np.arange(len(every)) + 10.0
    return every.assign(count=count, ratio_low=every["ratio"] * 0.8, ratio_high=every["ratio"] * 1.3)


def test_slices_show_segments_and_hours_around_one(parts: pd.DataFrame) -> None:
    """Undefined ratios and other slices are left out; segments with more rows come first."""
    upper, lower = plots_models.slices(parts, "click").axes
    assert [label.get_text() for label in upper.get_yticklabels()] == ["c", "b", "a"]
    low, high = upper.get_xlim()
    assert low < 0.5
    assert high > 2.0
    points = next(line for line in lower.get_lines() if line.get_marker() == "o")
    np.testing.assert_array_equal(np.asarray(points.get_xdata(), dtype=float), np.arange(24))
    assert lower.get_xlabel() == "Hour of day"


def test_slices_of_one_kind_alone_are_drawn(parts: pd.DataFrame) -> None:
    assert len(plots_models.slices(parts[parts["slice"] != "hour"], "click").axes) == 1
    assert len(plots_models.slices(parts[parts["slice"] == "hour"], "click").axes) == 1


def test_the_landscape_carries_chance_belief_and_cost() -> None:
    """Three curves against the same bids; the money is named on both axes that have it."""
    bids = np.geomspace(0.001, 0.1, 20)
    chance = np.linspace(0.01, 0.99, 20)
    table = pd.DataFrame({"bid": bids, "chance": chance, "cost": bids / 2, "believed": chance / 2})
    figure = plots_models.landscape(table, "EUR")
    above, below = figure.axes
    assert [np.asarray(line.get_ydata(), dtype=float)[-1] for line in above.get_lines()] == pytest.approx([0.99, 0.495])
    assert below.get_xlabel() == "Bid [EUR]"
    assert below.get_ylabel() == "Paid per win [EUR]"
    assert "by the price model" in inline_svg(figure)
