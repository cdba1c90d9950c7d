"""Pacing: one multiplier per tick for all impressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bidpilot.envs.bidding import BiddingEnv
from bidpilot.envs.features import table
from bidpilot.envs.observations import EVERY

if TYPE_CHECKING:
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario


class Pacing(BiddingEnv):  # noqa: D101 - it has one, with the table of observations in it
    __doc__ = f"""Spend a budget over a day so that it buys the most worth.

    ## Description
    Impressions come in time order and are sold by auction. Each tick the bidder sets one multiplier; every
    bid of the tick is multiplier x predicted worth. What is bought depends on prices nobody has seen yet.

    ## Action Space
    Box(-1, 1, (1,)): log(multiplier) = log(controller's) + reach x action. 0 is the controller itself.
    In the "ladder" form Discrete(levels): evenly spaced levels of the same, the middle one being 0.

    ## Observation Space
{table(EVERY)}

    ## Rewards
    The sum of the scenario's terms, each in info as reward/<name>; by default the expected worth won minus
    what the controller alone earns in the same tick, both as a share of the hindsight optimum R*.

    ## Starting State
    A day drawn from the market, a budget drawn log-uniformly from the scenario's range of scarcity, and whatever else
    the scenario leaves open; options "day", "scarcity", "limit", "price_scale" and "volume" of reset fix them.

    ## Episode End
    Terminates at the last tick of the day; never truncates.

    ## Arguments
    market, forecast, scenario: see bidpilot.envs.scenarios.make, which fills in what is not given.
    """

    def __init__(self, market: Market, forecast: Forecast, scenario: Scenario, render_mode: str | None = None) -> None:
        """Set up the environment with one bid group."""
        super().__init__(market, forecast, scenario, groups=1, render_mode=render_mode)
