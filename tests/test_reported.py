"""Earned worth: reports by hand, late ones, and days without any."""

from __future__ import annotations

import numpy as np
import pytest

from bidpilot.agents.reported import Reported
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day, Hidden, Opportunities
from bidpilot.envs.types import Campaign, CampaignState, Feedback

TICKS = 4


def past_day(delay: tuple[int, ...] | None, *, convert: bool = True, pays: bool = True) -> Day:
    """Return a day of four impressions whose clicks convert, each worth 5, after these delays."""
    ones, none = np.ones(4), np.zeros(4, np.int64)
    seen = Opportunities(0.1 * ones, ones, ones, 0 * ones, none, np.arange(4))
    late = None if delay is None else np.array(delay)
    revenue = none + 5 * MICROS * pays
    return Day.build(seen, Hidden(none + 9, none == 0, (none == 0) & convert, revenue, ones, late), TICKS)


def states(predicted: list[float], revenue: list[float]) -> list[CampaignState]:
    state = CampaignState.start(Campaign(10.0, TICKS, 10.0))
    path = [state]
    for worth, reported in zip(predicted, revenue, strict=True):
        told = Feedback(*np.zeros((8, 1)))._replace(predicted=np.array([worth]), revenue=np.array([reported]))
        path.append(path[-1].after(told))
    return path


def test_reports_are_weighed_against_pseudo_events() -> None:
    reported = Reported([past_day(None)], prior=2.0)
    reported.reset()
    assert reported.worth == 5.0
    found = [reported.factor(state) for state in states([4.0, 6.0], [0.0, 20.0])]
    assert found == pytest.approx([1.0, 10.0 / 14.0, 30.0 / 20.0])


def test_what_is_still_on_its_way_is_not_missing() -> None:
    reported = Reported([past_day((0, 1, 1, 3))], prior=0.0)
    assert reported.arrived == pytest.approx([0.25, 0.75, 0.75, 1.0])
    reported.reset()
    found = [reported.factor(state) for state in states([8.0, 4.0, 0.0], [2.0, 5.0, 2.0])]
    assert found == pytest.approx([1.0, 2.0 / 2.0, 7.0 / 7.0, 9.0 / 9.0])


def test_clicks_that_pay_are_reported_at_once() -> None:
    assert Reported([past_day((3, 3, 3, 3), convert=False)], 1.0).arrived == pytest.approx(np.ones(TICKS))


def test_without_a_past_event_predictions_stand() -> None:
    reported = Reported([past_day(None, pays=False)], prior=5.0)
    assert (reported.worth, reported.prior) == (0.0, 0.0)
    assert reported.factor(states([], [])[0]) == 1.0
