"""Money, under all rules at once and in every form: nobody overspends, and what is charged is what is recorded."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.ctr.types import MICROS, UNWINNABLE, FloatArray
from bidpilot.envs.ad_selection import AdEpisode
from bidpilot.envs.ads import AdMarket
from bidpilot.envs.day import Day
from bidpilot.envs.episode import COOLING, Episode
from bidpilot.envs.fleet import Fleet, Squad, fleet_of
from bidpilot.envs.herd import Herd
from bidpilot.envs.hindsight import best_of, best_value
from bidpilot.envs.market import Market
from bidpilot.envs.scenarios import SCENARIOS, make
from bidpilot.envs.solo import Solo, episode_of
from bidpilot.envs.types import COLUMNS, Campaign, CampaignState, Rules

WINS, SPEND = COLUMNS.index("wins"), COLUMNS.index("spend")
HIGHEST = float(np.finfo(np.float64).max)
SEEDS = st.integers(0, 2**32 - 1)
AUCTIONS = ("second_price", "first_price", "soft_floor")
NAMES = ("offered", "wins", "spend", "clicks", "predicted_clicks", "predicted")
PURSES = st.lists(st.sampled_from([0, 1, 2, 500, 1500, 10_000, 40_001, 10**9, -1]), min_size=1, max_size=4)
"""Micro-currency; -1: exactly what winning everything costs."""
RULES = st.one_of(
    st.just(Rules()),
    st.builds(
        Rules,
        auction=st.sampled_from(AUCTIONS),
        bid_tick=st.sampled_from([0.0, 0.0007, 0.001]),
        bid_cap=st.sampled_from([0.0, 0.0015, 0.0016, 0.05]),
        frequency_cap=st.sampled_from([0, 1, 3]),
        censored=st.booleans(),
        reaction=st.sampled_from([0.0, 0.7]),
    ),
)


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what furnished takes."""
    kinds = {name: draw(st.booleans()) for name in ("once", "judged", "late")}
    return {"seed": draw(SEEDS), **kinds}


def furnished(plain: Day, seed: int, *, once: bool, judged: bool, late: bool) -> Day:
    """Return the day with people who come again, soft floors, and where asked late reports and a wrong belief."""
    rng, n = np.random.default_rng(seed), len(plain)
    seen = replace(plain.seen, user=rng.integers(5, size=n), soft_floor=rng.choice([0.0, 0.0006, 0.0012, 0.02], n))
    hidden = replace(plain.hidden, delay=rng.integers(3, size=n)) if late else plain.hidden
    day = Day(seen, hidden, plain.ticks, plain.segments, once=once)
    return day.misjudged(rng.lognormal(0.0, 0.4, plain.segments)) if judged else day


def wild(days: Sequence[Day], groups: int, rng: np.random.Generator) -> FloatArray:
    """Draw multipliers (N, groups), most of them exactly at some opportunity's own ratio."""
    rows = []
    for day in days:
        ratio = day.ratio[np.isfinite(day.ratio)]
        extreme = [0.0, -1.0, np.nan, np.inf, 1e300, 1e-300]
        rows.append(rng.choice(np.concatenate([ratio, np.nextafter(ratio, 0.0), ratio * 1.7, extreme]), groups))
    return np.array(rows)


def budget_of(purse: int, day: Day) -> float:
    """Return currency, a little above whole micro-currency at most: a campaign's budget is never 0."""
    return max((day.full_cost if purse < 0 else purse) / MICROS, 0.5e-6)


def opened(
    messy_day: Callable[..., Day], world: dict[str, Any], purses: list[int], rules: Rules
) -> tuple[list[Day], list[Campaign]]:
    """Return a day and a campaign for each purse; every other day is the first one again."""
    seed = world["seed"]
    first = furnished(messy_day(seed, rows=70), **world)
    more = [furnished(messy_day(seed + i, rows=40 + 5 * i), **(world | {"seed": seed + i})) for i in range(len(purses))]
    days = [more[i] if i % 2 else first for i in range(len(purses))]
    each = zip(days, purses, strict=True)
    return days, [Campaign(budget_of(purse, day), day.ticks, 1.0, rules) for day, purse in each]


def facts(state: CampaignState) -> list[list[float]]:
    """Return everything that a state tells."""
    told = (*state.total, *state.last)
    return [np.ravel(amount).tolist() for amount in (state.tick, state.spent, state.left, *told)]


def common(episode: Episode | Solo) -> list[list[float]]:
    """Return what the books of one group in floats tell, and those of Episode too."""
    state = episode.glance()
    named = [getattr(told, name) for told in (state.total, state.last) for name in NAMES]
    return [np.ravel(amount).tolist() for amount in (state.spent, state.left, *named)]


# --- every form ---------------------------------------------------------------------------------------------------


@given(world=worlds(), purses=PURSES, rules=RULES, pooled=st.booleans())
def test_all_forms_give_the_same_bytes_and_nobody_overspends(
    messy_day: Callable[..., Day],
    world: dict[str, Any],
    purses: list[int],
    rules: Rules,
    pooled: bool,  # noqa: FBT001 - hypothesis
) -> None:
    days, campaigns = opened(messy_day, world, purses, rules)
    groups, rng = 1 if pooled else days[0].segments, np.random.default_rng(world["seed"])
    pairs = list(zip(days, campaigns, strict=True))
    plain = [Episode(day, campaign, groups) for day, campaign in pairs]
    quick = [episode_of(day, campaign, groups) for day, campaign in pairs]
    together, squad = fleet_of(days, campaigns, groups, None), Squad(days, campaigns, groups)
    while not plain[0].over:
        before, at = [episode.left for episode in plain], wild(days, groups, rng)
        rows = np.array([episode.advance(each) for episode, each in zip(plain, at, strict=True)])
        alone = [
            episode.advance(float(each[0]) if pooled else each[None]) for episode, each in zip(quick, at, strict=True)
        ]
        assert rows.tobytes() == np.array(alone).tobytes()
        assert rows.tobytes() == np.ascontiguousarray(together.advance(at)).tobytes()
        assert rows.tobytes() == squad.advance(at).tobytes()
        for i, (episode, left) in enumerate(zip(plain, before, strict=True)):
            assert 0 <= rows[i, SPEND] <= left
            assert episode.left == left - rows[i, SPEND]  # what is charged is what is recorded
            assert common(quick[i]) == common(episode)
        if isinstance(together, (Fleet, Herd)):
            assert together.left.tolist() == [episode.left for episode in plain]
        assert facts(together.glance()) == facts(squad.glance())
    for episode, campaign in zip(plain, campaigns, strict=True):
        spent = episode.result().total("spend")
        assert spent == int(round(campaign.budget * MICROS, 3)) - episode.left
        assert spent <= campaign.budget * MICROS * (1 + 1e-12)


@given(world=worlds(), purse=st.sampled_from([0, 1, 900, 30_000, 10**9]), rules=RULES)
def test_all_rules_together_are_the_plain_loop(
    messy_day: Callable[..., Day], world: dict[str, Any], purse: int, rules: Rules
) -> None:
    day, rng = furnished(messy_day(world["seed"]), **world), np.random.default_rng(world["seed"])
    episode = Episode(day, Campaign(budget_of(purse, day), day.ticks, 1.0, rules), day.segments)
    left, heat, shown = episode.left, 0.0, [0] * 5
    for tick in range(day.ticks):
        at = wild([day], day.segments, rng)[0]
        wins, spent = 0, 0
        for i in np.flatnonzero(day.seen.tick == tick).tolist():
            cost = cost_of(day, i, float(at[day.seen.segment[i]]), rules, heat)
            user = int(np.asarray(day.seen.user)[i])
            if cost is None or cost > left or (rules.frequency_cap and shown[user] >= rules.frequency_cap):
                continue
            wins, spent, left, shown[user] = wins + 1, spent + cost, left - cost, shown[user] + 1
        table = episode.bid_multipliers(at).table
        assert table[:, :2].sum(axis=0).tolist() == [wins, spent]
        assert episode.left == left
        heat = (1.0 - COOLING) * heat + COOLING * wins / max(int(day.offered[tick].sum()), 1)


def cost_of(day: Day, row: int, multiplier: float, rules: Rules, heat: float) -> int | None:
    """Return what an impression costs in micro-currency at this multiplier, None if it is lost."""
    price, value = int(day.hidden.price[row]), float(day.seen.value[row])
    at = multiplier if day.belief is None else multiplier * float(day.belief[day.seen.segment[row]])
    at = min(at, HIGHEST)
    if rules.reaction and price < UNWINNABLE:
        price = min(int(np.rint(price * np.exp(rules.reaction * heat))), UNWINNABLE)
    step = max(1, round(rules.bid_tick * MICROS))
    threshold = -(-price // step) * step
    cap = round(rules.bid_cap * MICROS) // step * step if rules.bid_cap else UNWINNABLE // step * step
    if not (at > 0 and value > 0 and threshold < UNWINNABLE and at >= threshold / (value * MICROS)):
        return None
    if rules.bid_cap and threshold > cap:
        return None
    bid = min(at * value * MICROS, cap)
    if step > 1:
        bid = max(bid // step * step, threshold)
    first = max(price, int(bid))
    assert first <= max(at * value * MICROS * (1 + 1e-12), price)  # a grid of bids never makes anybody pay more
    if rules.auction == "second_price":
        return price
    floor = round(float(np.asarray(day.seen.soft_floor)[row]) * MICROS) if rules.auction == "soft_floor" else 0
    return max(price, floor) if rules.auction == "soft_floor" and bid >= floor else first


@given(seed=SEEDS, at=st.floats(0.01, 100.0), step=st.integers(1, 5000), auction=st.sampled_from(AUCTIONS))
def test_a_grid_of_bids_never_makes_a_bidder_pay_more_than_the_bid(
    smooth_day: Callable[..., Day], seed: int, at: float, step: int, auction: str
) -> None:
    plain = smooth_day(seed, rows=40)
    day = Day(replace(plain.seen, tick=np.arange(40)), plain.hidden, 40, plain.segments)  # a tick for each
    campaign = Campaign(1e6, 40, 1.0, Rules(auction, bid_tick=step / MICROS))
    episode, free = Episode(day, campaign), Episode(day, Campaign(1e6, 40, 1.0, Rules(auction)))
    for tick in range(40):
        wins, cost = episode.bid_multipliers(np.array([at])).table[0, :2]
        loose = free.bid_multipliers(np.array([at])).table[0, WINS]
        assert wins <= loose  # rounding bids down wins no more
        assert cost <= at * day.seen.value[tick] * MICROS * (1 + 1e-12)
        assert auction != "first_price" or cost % step == 0


@given(world=worlds(), purse=st.sampled_from([1, 900, 30_000, 10**9]), rules=RULES)
def test_which_ads_are_shown_costs_nothing(
    smooth_day: Callable[..., Day], world: dict[str, Any], purse: int, rules: Rules
) -> None:
    day, rng = furnished(smooth_day(world["seed"]), **world), np.random.default_rng(world["seed"])
    market: Any = None  # the ads of a given day are drawn without one
    ads = AdMarket(market, 3).over(day, rng)
    campaign = Campaign(purse / MICROS, day.ticks, 1.0, rules)
    showing, plain = AdEpisode(ads, campaign), Episode(day, campaign, day.segments)
    while not plain.over:
        at = wild([day], day.segments, rng)[0]
        row = showing.show(rng.integers(3, size=day.segments), at)
        assert row[: SPEND + 1] == plain.bid_multipliers(at).table.sum(axis=0)[: SPEND + 1].tolist()
        assert showing.left == plain.left >= 0


@pytest.mark.parametrize("env_id", SCENARIOS)
def test_an_environment_charges_what_it_tells_and_no_more_than_there_is(env_id: str) -> None:
    scenario = SCENARIOS[env_id]
    scenario = replace(scenario, traffic=replace(scenario.traffic, opportunities=600.0, ticks=12))
    env = make(scenario)
    env.action_space.seed(0)
    for seed in range(4):
        env.reset(seed=seed, options={"scarcity": (1e-6, 0.01, 0.3, 40.0)[seed]})
        budget, spent, terminated = env.episode.left, 0.0, False
        while not terminated:
            _, _, terminated, _, info = env.step(env.action_space.sample())
            spent += round(info["spend"] * MICROS)
            assert spent == budget - env.episode.left <= budget
        assert env.episode.result().total("spend") == spent


# --- what money cannot do -----------------------------------------------------------------------------------------


@given(seed=SEEDS, cap=st.sampled_from([0, 2]), step=st.sampled_from([0, 300]), top=st.sampled_from([0, 6000]))
def test_scaling_all_money_changes_no_decision(
    smooth_day: Callable[..., Day], seed: int, cap: int, step: int, top: int
) -> None:
    day = furnished(smooth_day(seed), seed, once=False, judged=True, late=False)
    assert day.belief is not None
    dear = Day.build(
        replace(day.seen, value=day.seen.value * 1000),
        replace(day.hidden, price=day.hidden.price * 1000, expected=day.hidden.expected * 1000),
        day.ticks,
        day.segments,
    ).misjudged(day.belief)
    rng, books = np.random.default_rng(seed), []
    budget = rng.integers(1, day.full_cost) / MICROS
    for each, factor in ((day, 1), (dear, 1000)):
        rules = Rules(bid_tick=step * factor / MICROS, bid_cap=top * factor / MICROS, frequency_cap=cap)
        books.append(Episode(each, Campaign(budget * factor, day.ticks, 1.0, rules), day.segments))
    while not books[0].over:
        at = rng.lognormal(0.0, 1.0, day.segments)
        small, large = (episode.bid_multipliers(at) for episode in books)
        np.testing.assert_array_equal(small.table[:, [0, 2, 3]], large.table[:, [0, 2, 3]])
        assert (1000 * small.table[:, SPEND]).tolist() == large.table[:, SPEND].tolist()
        assert 1000 * books[0].left == books[1].left


@given(seed=SEEDS, limit=st.one_of(st.just(np.inf), st.floats(0.01, 20.0)))
def test_neither_more_budget_nor_a_looser_limit_hurts(messy_day: Callable[..., Day], seed: int, limit: float) -> None:
    day = messy_day(seed, rows=120)
    budgets = np.linspace(0.0, 1.3 * day.full_cost / MICROS, 25)
    table = [[best_of(day, budget, limit * looser) for budget in budgets] for looser in (1.0, 1.5, 4.0)]
    assert (np.diff(table, axis=1) >= -1e-15).all()
    assert (np.diff(table, axis=0) >= -1e-15).all()
    free = [best_of(day, budget) for budget in budgets]
    np.testing.assert_allclose(free, best_value(day, budgets), rtol=1e-12)
    assert (np.array(table) <= np.array(free) * (1 + 1e-12)).all()


@given(seed=SEEDS, at=st.floats(0.05, 5.0), share=st.floats(0.01, 1.2), slack=st.floats(1e-9, 1.0))
def test_nobody_who_keeps_the_limit_beats_the_best_under_it(
    smooth_day: Callable[..., Day], seed: int, at: float, share: float, slack: float
) -> None:
    day = smooth_day(seed)
    campaign = Campaign(share * day.full_cost / MICROS, day.ticks, 1.0)
    episode = Episode(day, campaign, day.segments)
    while not episode.over:
        episode.bid_multipliers(at * np.array([1.0, 0.5, 2.0]))
    worth, cost = episode.result().total("expected"), episode.result().total("spend") / MICROS
    kept = cost / worth * (1.0 + slack) if worth else 1.0  # a hair below the cheapest, nothing can be bought
    assert worth <= best_of(day, campaign.budget, kept) * (1 + 1e-9)


def test_money_left_over_is_told_to_the_micro(market: Market) -> None:
    env = make("bidpilot/Pacing-v0", market)
    env.reset(seed=0, options={"scarcity": 0.1})
    while not env.episode.over:
        env.step(np.zeros(1, np.float32))
        state = env.episode.glance()
        assert round(state.left * MICROS) == env.episode.left
        assert state.spent + state.left == pytest.approx(env.episode.campaign.budget, abs=1e-6)
