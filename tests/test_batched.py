"""N environments as one: the numbers of N single ones, whatever is seeded, given or refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bidpilot.ctr.errors import InputError
from bidpilot.envs.batched import Batched
from bidpilot.envs.bidding import BiddingEnv
from bidpilot.envs.day import Day
from bidpilot.envs.fleet import Fleet, Squad
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.herd import Herd
from bidpilot.envs.market import Market
from bidpilot.envs.replay import ReplayMarket
from bidpilot.envs.rewards import REWARDS
from bidpilot.envs.scenario import Limit, Scenario
from bidpilot.envs.scenarios import find_scenario, make, past_forecast
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.traffic_law import TrafficLaw
from bidpilot.envs.types import Rules

Builder = Callable[..., BiddingEnv]
LAW = TrafficLaw(opportunities=300.0, ticks=6)


@pytest.fixture(scope="module")
def build() -> Builder:
    """Return a builder of small environments on fresh traffic."""
    market = TrafficMarket(LAW)
    known = past_forecast(market, Scenario("allocation"))

    def made(scenario: Scenario) -> BiddingEnv:
        return make(scenario, market, known)

    return made


def seeded(seed: int, count: int) -> list[int]:
    return list(range(seed, seed + count))


def agree(like: BiddingEnv, batch: Batched, alone: list[BiddingEnv], starts: list[Any], seed: int) -> None:
    """Play an episode in both forms and compare all numbers; starts: what the resets gave."""
    (seen, drawn), singles = starts[0], starts[1:]
    for i, (first, info) in enumerate(singles):
        assert seen[i].tobytes() == first.tobytes()
        assert {name: amount[i] for name, amount in drawn.items()} == info
    rng = np.random.default_rng(seed)
    while not batch.over:
        actions: Any = rng.uniform(-1.5, 1.5, (batch.count, like.groups)).astype(np.float32)
        if like.scenario.action == "ladder":
            actions = rng.integers(like.scenario.levels, size=actions.shape)
            actions = actions[:, 0] if like.groups == 1 else actions
        seen, rewards, amounts = batch.step(actions)
        for i, env in enumerate(alone):
            one, reward, _, _, info = env.step(actions[i])
            assert seen[i].tobytes() == one.tobytes()
            assert rewards[i] == reward
            assert {name: amount[i] for name, amount in amounts.items()} == {name: info[name] for name in amounts}
    assert batch.offered == sum(len(env.episode.day) for env in alone)


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(reward=tuple(REWARDS), limit=Limit("tightness", 0.6, 1.5)),
        Scenario("targeting", prior=20.0, miscalibration=(0.1, 0.5), scale="forecast"),
        Scenario("targeting", action="ladder", levels=3, limit=Limit("roas", 0.5, 2.0)),
        Scenario("allocation", prior=20.0, price_scale=(0.5, 2.0), volume=(0.5, 2.0)),
        Scenario(rules=Rules("first_price", censored=False, reaction=0.5), action="ladder"),
        Scenario(reward=("realised",), observe_reports=True),
    ],
    ids=str,
)
def test_a_batch_is_its_singles(build: Builder, scenario: Scenario) -> None:
    batch, alone = Batched(build(scenario), 3), [build(scenario) for _ in range(3)]
    batch.seed(seeded(5, 3))
    for again in range(2):
        starts = [batch.reset(), *(env.reset(seed=None if again else 5 + i) for i, env in enumerate(alone))]
        agree(alone[0], batch, alone, starts, again)


def test_a_batch_of_stored_days_keeps_its_bank(past_days: tuple[Day, ...], forecast: Forecast) -> None:
    like = make(Scenario(), ReplayMarket(past_days[:2]), forecast)
    batch, alone = Batched(like, 6), [make(Scenario(), ReplayMarket(past_days[:2]), forecast) for _ in range(6)]
    batch.seed(seeded(0, 6))
    banks = []
    for again in range(3):
        starts = [batch.reset(), *(env.reset(seed=None if again else i) for i, env in enumerate(alone))]
        assert isinstance(batch.fleet, Fleet)
        banks.append(batch.fleet.bank)
        agree(alone[0], batch, alone, starts, again)
    assert banks[2] is banks[1]


@pytest.mark.parametrize(
    ("scenario", "form"),
    [(Scenario(), Herd), (Scenario(rules=Rules("first_price")), Squad), (Scenario("targeting"), Herd)],
)
def test_the_form_follows_the_rules(build: Builder, scenario: Scenario, form: type[Any]) -> None:
    batch = Batched(build(scenario), 2)
    batch.reset()
    assert isinstance(batch.fleet, form)


def test_options_fix_the_draws_of_all(build: Builder) -> None:
    scenario = Scenario(volume=(0.5, 2.0), limit=Limit("roas", 0.5, 2.0))
    batch, alone = Batched(build(scenario), 3), [build(scenario) for _ in range(3)]
    batch.seed(seeded(1, 3))
    day = alone[0].market.day(np.random.default_rng(0))
    options: dict[str, Any]
    for options in ({"scarcity": 0.3, "limit": 1.5}, {"day": day}, {"volume": 1.25}):
        starts = [batch.reset(options), *(env.reset(seed=None, options=options) for env in alone)]
        if "scarcity" in options:
            starts[1:] = [env.reset(seed=1 + i, options=options) for i, env in enumerate(alone)]
        for name, amount in options.items():
            assert name == "day" or starts[0][1][name].tolist() == pytest.approx([amount] * 3)
        agree(alone[0], batch, alone, starts, 0)
    with pytest.raises(InputError, match="unknown option of reset 'weather'"):
        batch.reset({"weather": 1})


def test_environments_of_a_batch_do_not_resemble_each_other(build: Builder) -> None:
    batch = Batched(build(Scenario(miscalibration=(0.1, 0.5))), 40)
    batch.seed(seeded(0, 40))
    _, one = batch.reset()
    _, two = batch.reset()
    for name in ("scarcity", "miscalibration", "day/price_level", "day/volume"):
        assert len({*one[name].tolist(), *two[name].tolist()}) == 80
        assert abs(np.corrcoef(one[name], two[name])[0, 1]) < 0.5
        assert abs(np.corrcoef(one[name][1:], one[name][:-1])[0, 1]) < 0.5


def test_without_a_seed_no_two_batches_are_alike(build: Builder) -> None:
    budgets = []
    for _ in range(2):
        batch = Batched(build(Scenario()), 3)
        budgets += batch.reset()[1]["scarcity"].tolist()
    assert len(set(budgets)) == 6


def test_a_seed_for_some_leaves_the_others_going_on(build: Builder) -> None:
    one, two = (Batched(build(Scenario()), 2) for _ in range(2))
    for batch in (one, two):
        batch.seed([1, 2])
        batch.reset()
    one.seed([7, None])
    mixed, later = one.reset()[1]["scarcity"], two.reset()[1]["scarcity"]
    two.seed([7, 8])
    fresh = two.reset()[1]["scarcity"]
    assert (mixed[0], mixed[1]) == (fresh[0], later[1])


@pytest.mark.parametrize("count", [0, -1])
def test_a_batch_has_at_least_one(build: Builder, count: int) -> None:
    with pytest.raises(InputError, match=f"a batch needs at least 1 environment; got {count}"):
        Batched(build(Scenario()), count)


def test_a_batch_of_one_is_a_single(build: Builder) -> None:
    batch, alone = Batched(build(Scenario()), 1), build(Scenario())
    batch.seed([3])
    agree(alone, batch, [alone], [batch.reset(), alone.reset(seed=3)], 0)


def test_what_has_no_batched_form_is_refused(market: Market, forecast: Forecast) -> None:
    with pytest.raises(InputError, match="AdSelection has no batched form; "):
        Batched(make("bidpilot/AdSelection-v0", market, forecast), 2)


@pytest.mark.parametrize("action", ["continuous", "ladder"])
@pytest.mark.parametrize("environment", ["pacing", "targeting"])
def test_actions_for_another_number_are_refused_and_play_nothing(build: Builder, action: str, environment: str) -> None:
    batch = Batched(build(Scenario(environment, action=action, levels=3)), 3)
    batch.reset()
    groups = (1,) if action == "continuous" else ()
    groups = (batch.groups,) if batch.groups > 1 else groups
    for count in (2, 4, 0):
        wrong = np.zeros((count, *groups), np.float32 if action == "continuous" else np.int64)
        with pytest.raises(InputError, match=r"expected actions of 3 environments, got|an action must be"):
            batch.step(wrong)
    with pytest.raises(InputError, match="an action must be"):
        batch.step(np.full((3, *groups), np.nan))
    assert batch.fleet.tick == 0


def test_what_it_gave_is_not_changed_by_what_comes_later(build: Builder) -> None:
    batch = Batched(build(Scenario("targeting", prior=20.0)), 2)
    seen, drawn = batch.reset()
    kept = [seen.tobytes(), *(amount.tobytes() for amount in drawn.values())]
    told = [batch.step(np.full((2, 8), 0.5, np.float32))]
    mid = [told[0][0].tobytes(), told[0][1].tobytes(), *(amount.tobytes() for amount in told[0][2].values())]
    for _ in range(5):
        batch.step(np.full((2, 8), -0.5, np.float32))
    batch.reset()
    assert kept == [seen.tobytes(), *(amount.tobytes() for amount in drawn.values())]
    assert mid == [told[0][0].tobytes(), told[0][1].tobytes(), *(amount.tobytes() for amount in told[0][2].values())]


def test_the_scenarios_own_settings_are_played(build: Builder) -> None:
    like = build(replace(find_scenario("bidpilot/Targeting-v0"), reach=0.3))
    batch = Batched(like, 2)
    assert (batch.groups, batch.scenario, batch.market, batch.forecast) == (
        8,
        like.scenario,
        like.market,
        like.forecast,
    )
