"""Targeting: one multiplier per user segment and tick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bidpilot.envs.bidding import BiddingEnv
from bidpilot.envs.features import table
from bidpilot.envs.observations import EVERY

if TYPE_CHECKING:
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario


class Targeting(BiddingEnv):  # noqa: D101 - it has one, with the table of observations in it
    __doc__ = f"""Spend a budget over a day and decide whom to reach with it.

    ## Description
    As Pacing, with one multiplier per user segment. In the default scenario the click rate of each segment
    is misjudged by a factor of its own, new every episode, that shows only in the clicks that come: there is
    something to learn beyond pacing.

    ## Action Space
    Box(-1, 1, (segments,)): log(multiplier_s) = log(controller's multiplier_s) + reach x action_s. The controller
    paces, and corrects each segment's predictions by the clicks so far; 0 is the controller itself. At -0.95 and below
    (the lowest level of a ladder) the segment is switched off: no bids.
    In the "ladder" form MultiDiscrete([levels] * segments): evenly spaced levels of the same, the middle one being 0.

    ## Observation Space
    Entries marked "one per bid group" come once per segment.

{table(EVERY)}

    ## Rewards
    As Pacing.

    ## Starting State
    As Pacing.

    ## Episode End
    Terminates at the last tick of the day; never truncates.

    ## Arguments
    market, forecast, scenario: see bidpilot.envs.scenarios.make, which fills in what is not given.
    """

    def __init__(self, market: Market, forecast: Forecast, scenario: Scenario, render_mode: str | None = None) -> None:
        """Set up the environment with one bid group per segment of the market."""
        super().__init__(market, forecast, scenario, groups=market.segment_count, render_mode=render_mode)
