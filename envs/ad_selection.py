"""AdSelection: which of the campaign's ads to show each user segment, and how much to bid."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from bidpilot.ctr.errors import InputError
from bidpilot.envs.ad_features import AD_FEATURES, AdAction, AdChooser, Shown, ad_features, ad_hands
from bidpilot.envs.ads import AdDay, AdMarket, play_ads
from bidpilot.envs.arrivals import Arrivals
from bidpilot.envs.bidding import BiddingEnv
from bidpilot.envs.draws import STREAMS, draw
from bidpilot.envs.episode import Episode
from bidpilot.envs.features import Floats, bounds, table
from bidpilot.envs.hindsight import best_of
from bidpilot.envs.rewards import EXPECTED, LEAST

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray, IntArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast
    from bidpilot.envs.market import Market
    from bidpilot.envs.scenario import Scenario
    from bidpilot.envs.types import Campaign, EpisodeResult, Outcome


class AdSelection(BiddingEnv):  # noqa: D101 - it has one, with the table of AD_FEATURES in it
    __doc__ = f"""Spend a budget over a day and decide which ad to show whom.

    ## Description
    As Targeting, with several ads. Each multiplies the click rate, and so the worth of winning, by a factor of its
    own in each user segment, new every episode; predictions take all ads to be alike. Which ad fits whom shows only
    in the clicks that come, and only of the ad that was shown: showing an ad is also a trial of it.

    ## Action Space
    "continuous": Box(-1, 1, (segments x ads + 1,)). Of each segment the ad with the highest score is shown: the
    controller's score (log of the factor's posterior mean plus two standard deviations) + reach x action; entry
    segment x ads + ad. The last entry multiplies the controller's bid by exp(reach x action).
    "ladder": MultiDiscrete([ads + 1] x segments + [levels]). Per segment 0 leaves the choice to the controller, k
    shows ad k - 1; the last entry is a level of the bid's factor, the middle one is 1.
    All 0 (with the middle level) is the controller itself. It bids pacing multiplier x posterior mean x prediction.

    ## Observation Space
    Entries marked "one per segment and ad" come in the order segment x ads + ad.

{table(AD_FEATURES, "segment and ad")}

    ## Rewards
    As Pacing; R* knows all prices and shows every impression the ad that suits it best.

    ## Starting State
    As Pacing, with factors drawn for every ad and segment. Option "day" may be an AdDay, which brings its ads along;
    option "factors" (ads, segments) fixes how the ads fit.

    ## Episode End
    Terminates at the last tick of the day; never truncates.

    ## Arguments
    market, forecast, scenario: see bidpilot.envs.scenarios.make, which fills in what is not given. ads: their
    number. spread: log-sd of the factors (log-normal, mean 1). Raises InputError for no ads or a spread below 0.
    """

    lockstep = False

    episode: AdEpisode
    _residual: AdChooser

    def __init__(
        self,
        market: Market,
        forecast: Forecast,
        scenario: Scenario,
        render_mode: str | None = None,
        ads: int = 4,
        spread: float = 0.5,
    ) -> None:
        """Set up spaces; no traffic is drawn yet."""
        super().__init__(market, forecast, scenario, market.segment_count, render_mode)
        self.ads = AdMarket(market, ads, spread)
        self.ad_hands = ad_hands(scenario.action, self.groups, ads, scenario.levels)
        self.action_space = self.ad_hands.space
        low, high = bounds(ad_features(scenario), self.groups * ads)
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)
        self._quick = replace(scenario, scale="forecast")  # R* of the base day is not asked for

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Draw a day, its ads, a budget and the rest of what the scenario leaves open; options: see Starting State.

        Raises InputError for an option of another name, or one that does not fit the day or the ads.
        """
        gym.Env.reset(self, seed=seed)
        if seed is not None or not self._streams:
            self._streams = tuple(self.np_random.spawn(STREAMS + 1))
        given = dict(options or {})
        fits, brought = given.pop("factors", None), given.get("day")
        if isinstance(brought, AdDay):
            given["day"] = brought.base
        *streams, own = self._streams
        day, campaign, found = draw(self.market, self.forecast, self._quick, tuple(streams), given)
        if not isinstance(brought, AdDay):
            ads = replace(self.ads.over(day, own, fits), once=True)
        elif fits is None:
            ads = _moved(brought, day, self.ads.ads)
        else:
            raise InputError("a day that brings its ads has its factors: give the option day or factors, not both")
        self._open(ads, campaign, found | {"spread": self.ads.spread})
        return self._observation, dict(self._drawn)

    def step(self, action: Any) -> tuple[Floats, float, bool, bool, dict[str, Any]]:  # noqa: ANN401 - as the space has it
        """Choose ads and bid for one tick. The horizon ends the episode with terminated; nothing truncates it.

        Continuous actions outside -1..1 are clipped; what is not of the space's shape and kind raises InputError.
        """
        tick = self.episode.tick
        row = self.episode.show(*self._residual.decide(self.ad_hands.one(action)))
        info = dict(self._drawn)
        reward = self._reward(tick, row, info)
        self._observation = self._residual.look(self.episode.state(), self.episode.shown)
        return self._observation, reward, self.episode.over, False, info

    def _open(self, ads: AdDay, campaign: Campaign, found: dict[str, float]) -> None:
        """Open an episode on a day with its ads."""
        if self.scenario.scale == "hindsight":
            best = best_of(ads.best, campaign.budget, campaign.cost_limit)
            found |= {"scale": best, "best_value": best}
        self._drawn, self._scale = found, max(found["scale"], LEAST)
        parts = (ads, campaign, self.forecast, self.scenario)
        used = any(name == "reward/controller" for name, _ in self._terms)
        self._controller = chooser_alone(*parts).tolist() if used else [0.0] * ads.base.ticks
        self._sums, self._excess = [0.0, 0.0, 0.0], (0.0, 0.0)
        self.episode, self._residual = opened(*parts)
        self._observation = self._residual.look(self.episode.state(), self.episode.shown)


class AdEpisode(Episode):
    """An episode's books with what each ad has brought: shown. Every tick goes through ads.play_ads."""

    def __init__(self, ads: AdDay, campaign: Campaign) -> None:
        """Open the books, a row per segment."""
        super().__init__(ads.base, campaign, ads.base.segments)
        self.ads = ads
        self.shown = Shown.nothing(self.groups, len(ads))
        if self._arrivals is not None:
            self._arrivals = AdArrivals(ads)

    def show(self, choice: IntArray, multipliers: FloatArray) -> list[float]:
        """Play the tick with an ad and a multiplier (segments,) each; return what it brought over all segments."""
        if isinstance(self._arrivals, AdArrivals):
            self._arrivals.choice = choice
        rules, memory = self.campaign.rules, self._memory
        outcome = self._book(play_ads(self.ads, choice, self.tick, multipliers, self.left, rules, memory))
        self.shown = self.shown.plus(choice, outcome.table)
        row: list[float] = outcome.table.sum(axis=0).tolist()
        return row

    def result(self) -> EpisodeResult:
        """Return the episode's tables, summed over segments."""
        return replace(super().result(), traffic_hash=self.ads.traffic_hash)


class AdArrivals(Arrivals):
    """The reports to come of conversions that are late. choice: (segments,) the ads of the tick that is told next."""

    def __init__(self, ads: AdDay) -> None:
        """Expect nothing yet."""
        super().__init__(ads.base, ads.base.segments)
        self.choice: IntArray = np.zeros(ads.base.segments, dtype=np.int64)
        self._ads, self._each = ads, [Arrivals(day, day.segments) for day in ads.days]

    def told(self, tick: int, outcome: Outcome) -> FloatArray:
        """Take in a tick's outcome, with its rows; return its table as it is told at the end of the tick."""
        rows = np.zeros(0, dtype=np.int64) if outcome.rows is None else outcome.rows
        ad = self.choice[self._ads.base.seen.segment[rows]]
        table = outcome.table.copy()
        told = [each.told(tick, outcome._replace(rows=rows[ad == a])) for a, each in enumerate(self._each)]
        late = self._each[0].late
        table[:, late] = sum(each[:, late] for each in told)
        return table


def opened(ads: AdDay, campaign: Campaign, forecast: Forecast, scenario: Scenario) -> tuple[AdEpisode, AdChooser]:
    """Open an episode and its controller."""
    return AdEpisode(ads, campaign), AdChooser(campaign, forecast, ads.base.segments, len(ads), scenario)


def chooser_alone(ads: AdDay, campaign: Campaign, forecast: Forecast, scenario: Scenario) -> FloatArray:
    """Return the expected worth (ticks,) that the zero action wins in each tick."""
    episode, chooser = opened(ads, campaign, forecast, scenario)
    still = AdAction(np.zeros((ads.base.segments, len(ads))), 0.0)
    earned = np.zeros(ads.base.ticks)
    while not episode.over:
        tick = episode.tick
        chooser.learn(episode.state(), episode.shown)
        earned[tick] = episode.show(*chooser.decide(still))[EXPECTED]
    return earned


def _moved(ads: AdDay, day: Day, count: int) -> AdDay:
    """Return ads that were made for a day, on that day as the draws have changed it."""
    if len(ads) != count:
        raise InputError(f"the environment has {count} ads, the day brings {len(ads)}")
    if day.hidden.click is not ads.base.hidden.click:
        raise InputError("a day that brings its ads keeps its volume: give the option volume with days without ads")
    return ads if day is ads.base else replace(ads, base=day)
