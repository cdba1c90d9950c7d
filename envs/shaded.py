"""Shading: pacing where the winner pays its own bid, with bids shaded for every kind of opportunity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bidpilot.envs.bidding import BiddingEnv
from bidpilot.envs.features import table
from bidpilot.envs.market import draw_days
from bidpilot.envs.observations import EVERY
from bidpilot.envs.shading import Buckets, Shaded, SplitMarket, shaded_forecast

if TYPE_CHECKING:
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario

PAST_DAYS = 8
PAST = (107,)
"""Key of the stream of the past days that shading is learnt from: no reset(seed) ever meets them."""


class Shading(BiddingEnv):  # noqa: D101 - it has one, with the table of observations in it
    __doc__ = f"""Spend a budget over a day at first price, where it pays to bid less than an impression is worth.

    ## Description
    Opportunities are told apart by segment and by predicted worth. Past days say for each kind which bid brings the
    most at each price of money, 1 / multiplier: see bidpilot.envs.shading. One multiplier paces, and sets all bids.

    ## Action Space
    Box(-1, 1, (1,)): log(multiplier) = log(controller's) + reach x action; all kinds' bids follow from it. 0 is the
    controller itself: shading under feedback. In the "ladder" form Discrete(levels).

    ## Observation Space
    Entries marked "one per bid group" come once.

{table(EVERY)}

    ## Rewards
    As Pacing.

    ## Starting State
    As Pacing.

    ## Episode End
    Terminates at the last tick of the day; never truncates.

    ## Arguments
    market, forecast, scenario: see bidpilot.envs.scenarios.make. A forecast of one's own has to come from
    shaded_forecast, on days of the market given, a SplitMarket or days that Buckets.split has split.
    """

    steering = Shaded
    actions = 1

    def __init__(self, market: Market, forecast: Forecast, scenario: Scenario, render_mode: str | None = None) -> None:
        """Set up the environment with one bid group per kind of opportunity."""
        super().__init__(market, forecast, scenario, groups=market.segment_count, render_mode=render_mode)


def split_market(market: Market, scenario: Scenario) -> tuple[SplitMarket, Forecast]:
    """Split a market's segments by worth, as past days drawn from it show worth; return it with their forecast."""
    past = draw_days(market, PAST_DAYS, np.random.default_rng(np.random.SeedSequence(0, spawn_key=PAST)))
    split = SplitMarket(market, Buckets.of(past, scenario.buckets))
    return split, shaded_forecast([split.buckets.split(day) for day in past], split.buckets.count)
