"""Mistakes that were found in other projects, each with the test that would have found it here."""

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bidpilot.agents.registry import find_policy
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS, FloatArray
from bidpilot.envs import ad_features, observations, seats
from bidpilot.envs.bidding import BiddingEnv
from bidpilot.envs.clearing import UNSOLD, gsp
from bidpilot.envs.day import Day
from bidpilot.envs.episode import Episode
from bidpilot.envs.features import Feature, names
from bidpilot.envs.fleet import Squad, fleet_of
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import Market
from bidpilot.envs.marketplace import Marketplace
from bidpilot.envs.marketplace_traffic import MarketplaceConfig
from bidpilot.envs.residual import Residual
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import find_scenario, make
from bidpilot.envs.simulator import play
from bidpilot.envs.traffic import TrafficMarket
from bidpilot.envs.traffic_law import TrafficLaw
from bidpilot.envs.types import COLUMNS, Campaign, Feedback, Rules

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("ctr", "envs", "agents", "experiments")
SPEND = COLUMNS.index("spend")


def sources() -> list[Path]:
    return sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


# --- 1 and 2: randomness ------------------------------------------------------------------------------------------


def test_draws_are_not_repeated_from_tick_to_tick_nor_from_day_to_day() -> None:
    market, rng = TrafficMarket(TrafficLaw(opportunities=20_000.0, diurnal=0.0, surge=0.0)), np.random.default_rng(1)
    days = [market.day(rng) for _ in range(2)]
    halves = [days[0].hidden.price[:8000], days[0].hidden.price[8000:16_000], days[1].hidden.price[:8000]]
    clicks = [days[0].hidden.click[:8000], days[0].hidden.click[8000:16_000], days[1].hidden.click[:8000]]
    for columns in (np.log(halves), np.array(clicks, dtype=np.float64)):
        apart = np.corrcoef(columns) - np.eye(3)
        assert abs(apart).max() < 4 / np.sqrt(8000)


def test_conversions_are_not_off_because_clicks_and_conversions_share_their_draws() -> None:
    day = TrafficMarket(TrafficLaw(opportunities=400_000.0, ctr=0.1, cvr=0.2)).day(np.random.default_rng(2))
    clicks, conversions = day.hidden.click.sum(), day.hidden.conversion.sum()
    assert clicks == pytest.approx(day.seen.pctr.sum(), abs=4 * np.sqrt(clicks))
    assert conversions == pytest.approx(0.2 * clicks, abs=4 * np.sqrt(conversions))


def test_generators_of_different_roles_are_independent(market: Market, forecast: Forecast) -> None:
    env = make("bidpilot/Pacing-v0", market, forecast)
    env.reset(seed=3)
    draws = np.array([stream.random(2000) for stream in env._streams])
    assert abs(np.corrcoef(draws) - np.eye(len(draws))).max() < 4 / np.sqrt(2000)
    assert len({stream.bit_generator.seed_seq.spawn_key for stream in env._streams}) == len(draws)  # type: ignore[attr-defined]


def test_the_past_that_forecasts_are_made_of_is_not_what_is_played(market: Market) -> None:
    env = make("bidpilot/Pacing-v0", market)
    for seed in (0, 1, 101):
        env.reset(seed=seed)
        assert env.episode.day.full_cost / MICROS != pytest.approx(env.forecast.full_cost, rel=1e-6)


def test_the_last_observation_is_not_the_next_episodes(market: Market, forecast: Forecast) -> None:
    env = make("bidpilot/Pacing-v0", market, forecast)
    env.reset(seed=5)
    for _ in range(forecast.ticks):
        last, *_ = env.step(np.zeros(1, np.float32))
    first, _ = env.reset()
    place = names(observations.features_of(env.scenario), 1).index("time_left")
    assert (last[place], first[place]) == (0.0, 1.0)
    again, _ = env.reset(seed=5)
    assert again.tobytes() == env.reset(seed=5)[0].tobytes()


# --- 3 and 4: money -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reserve", [1, 500, 40_000])
def test_what_is_bid_exactly_at_the_reserve_is_sold(smooth_day: Callable[..., Day], reserve: int) -> None:
    sale = gsp(np.array([[reserve]]), np.ones(1), reserve)
    assert (sale.winner.tolist(), sale.price.tolist()) == ([[0]], [[reserve]])
    assert gsp(np.array([[reserve - 1]]), np.ones(1), reserve).winner.tolist() == [[UNSOLD]]
    plain = smooth_day(0, rows=30, ticks=1)
    day = replace(plain, hidden=replace(plain.hidden, price=np.full(30, reserve)))
    for at in day.ratio.tolist():  # a ratio of its own is a multiplier that wins
        assert play(day, 0, np.array([at]), 2**51).table[0, 0] == (day.ratio <= at).sum()


@pytest.mark.parametrize("auction", ["second_price", "first_price", "soft_floor"])
def test_what_is_recorded_is_what_is_charged_also_when_money_runs_out(
    smooth_day: Callable[..., Day], auction: str
) -> None:
    day = smooth_day(3, rows=400)
    episode = Episode(day, Campaign(0.25, 4, 1.0, Rules(auction)))
    recorded = [episode.bid_multipliers(np.array([50.0])) for _ in range(4)]
    spent = sum(outcome.spend for outcome in recorded)
    assert spent == 250_000 - episode.left == episode.result().total("spend") <= 250_000
    assert episode.left < 20_000  # it did run out
    for outcome in recorded:  # whole impressions: nothing is scaled down afterwards
        assert outcome.table[0, 0] == int(outcome.table[0, 0])
        if outcome.rows is not None and auction == "second_price":
            assert outcome.spend == day.hidden.price[outcome.rows].sum()


def test_what_worth_is_expected_to_cost_has_one_unit_also_where_none_is_expected(forecast: Forecast) -> None:
    for scarcity in (1e-6, 1e-3, 0.1, 0.7):
        poor = Campaign(scarcity * forecast.full_cost, forecast.ticks, forecast.full_cost)
        residual = Residual([poor], forecast, 1, Scenario())
        assert 0 < min(residual.rate) <= max(residual.rate) <= residual.pacer.start * (1 + 1e-9)


# --- 5: what is counted -------------------------------------------------------------------------------------------


def test_every_campaign_of_many_is_counted_not_only_the_first(smooth_day: Callable[..., Day]) -> None:
    days = [smooth_day(seed) for seed in range(5)]
    campaigns = [Campaign(1e-6 if i == 1 else 1e3, 4, 1.0) for i in range(5)]  # one is out of money at once
    for books in (fleet_of(days, campaigns, 1, None), Squad(days, campaigns, 1)):
        wins = np.sum([books.advance(np.full((5, 1), 1e6))[:, 0] for _ in range(4)], axis=0)
        assert wins.tolist() == [60, 0, 60, 60, 60]


def test_a_policy_that_cannot_be_imported_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_policy.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    package = tmp_path / "my_policies"
    package.mkdir()
    (package / "broken.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        InputError, match="must be importable and define Config: No module named 'nothing_of_this_name'"
    ):
        find_policy("my_policies.broken")
    with pytest.raises(InputError, match="unknown policy 'broken_policy'; known: "):
        find_policy("broken_policy")


# --- 6: what is told ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["bidpilot/Pacing-v0", "bidpilot/Targeting-v0"])
def test_the_action_that_is_seen_is_the_clipped_one_that_was_played(
    env_id: str, market: Market, forecast: Forecast
) -> None:
    env = make(env_id, market, forecast)
    places = [i for i, name in enumerate(names(observations.features_of(env.scenario), env.groups)) if "action" in name]
    assert len(places) == env.groups
    env.reset(seed=0)
    seen, *_ = env.step(np.linspace(-3, 3, env.groups).astype(np.float32))
    played = np.clip(np.linspace(-3, 3, env.groups), -1, 1).astype(np.float32)
    assert seen[places].tolist() == played.tolist()


def test_losers_are_told_nothing_of_prices_they_did_not_win(smooth_day: Callable[..., Day]) -> None:
    plain = smooth_day(6, rows=300)
    told = []
    for factor in (1, 7):  # what is lost may be dearer: nobody who loses it can know
        dearer = np.where(plain.ratio > 0.8, plain.hidden.price * factor, plain.hidden.price)
        day = replace(plain, hidden=replace(plain.hidden, price=dearer))
        episode = Episode(day, Campaign(1e3, 4, 1.0), 3)
        states = []
        while not episode.over:
            episode.bid_multipliers(np.full(3, 0.8))
            state = episode.state()
            states.append([np.ravel(x).tolist() for x in (state.spent, state.left, *state.total, *state.last)])
        told.append(states)
    assert told[0] == told[1]
    assert not {"price", "expected", "best_value"} & set(Feedback._fields)


def test_observations_do_not_depend_on_what_is_hidden_of_lost_auctions(market: Market, forecast: Forecast) -> None:
    env = make("bidpilot/Pacing-v0", market, forecast)
    day = market.day(np.random.default_rng(0))
    runs = []
    for shift in (0, 1):
        hidden = replace(
            day.hidden,
            click=np.roll(day.hidden.click, shift),
            conversion=np.roll(day.hidden.conversion, shift),
            revenue=np.roll(day.hidden.revenue, shift),
            price=day.hidden.price + shift,
        )
        given = Day(day.seen, hidden, day.ticks, day.segments)
        # so poor that nothing can be won: whatever was to be won shows nowhere
        seen = [env.reset(options={"day": given, "scarcity": 1e-6})[0].tobytes()]
        seen += [env.step(np.full(1, -1.0, np.float32))[0].tobytes() for _ in range(forecast.ticks)]
        assert env.episode.result().total("wins") == 0
        runs.append(seen)
    assert runs[0] == runs[1]


# --- 7: spaces and defaults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [3, 9, 21, 101])
def test_the_ladder_has_its_ends_and_its_middle_exactly(market: Market, forecast: Forecast, levels: int) -> None:
    ladder = make(Scenario(action="ladder", levels=levels), market, forecast)
    box = make(Scenario(), market, forecast)
    for level, action in ((0, -1.0), (levels // 2, 0.0), (levels - 1, 1.0)):
        ladder.reset(seed=1)
        box.reset(seed=1)
        assert ladder.hands.one(level) == action
        one, two = ladder.step(level), box.step(np.array([action], np.float32))
        assert (one[0].tobytes(), one[1]) == (two[0].tobytes(), two[1])


@pytest.mark.parametrize("env_id", sorted(name for name in gym.registry if name.startswith("bidpilot/")))
def test_the_defaults_can_be_played_and_their_bounds_are_finite(env_id: str) -> None:
    env = gym.make(env_id)
    for space in (env.observation_space, env.action_space):
        if isinstance(space, gym.spaces.Box):
            assert np.isfinite([space.low, space.high]).all()
            assert (space.low < space.high).all()
    env.reset(seed=0)
    env.action_space.seed(0)
    env.step(env.action_space.sample())


# --- 8: lists that do not match, and flags that do not ------------------------------------------------------------


def calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_lists_of_unequal_length_are_never_cut_silently() -> None:
    silent = []
    for path in sources():
        lines = path.read_text(encoding="utf-8").splitlines()
        for call in calls(path):
            if isinstance(call.func, ast.Name) and call.func.id == "zip":
                strict = any(keyword.arg == "strict" for keyword in call.keywords)
                if not strict and "# noqa: B905 - " not in lines[call.lineno - 1]:
                    silent.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert not silent


@pytest.mark.parametrize(
    "env_id", ["bidpilot/Pacing-v0", "bidpilot/TargetingLadder-v0", "bidpilot/Allocation-v0", "bidpilot/Marketplace-v0"]
)
def test_the_end_of_the_day_terminates_and_is_no_time_limit(env_id: str) -> None:
    env = gym.make(env_id)
    assert env.spec is not None
    assert env.spec.max_episode_steps is None  # no TimeLimit wrapper to truncate it
    env.reset(seed=0)
    ends: list[tuple[bool, bool]] = []
    while not ends or ends[-1] == (False, False):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        ends.append((terminated, truncated))
    assert ends[-1] == (True, False)


# --- 9: one place for everything ----------------------------------------------------------------------------------


def test_every_observation_comes_from_a_table_of_features(market: Market, forecast: Forecast) -> None:
    tables: tuple[tuple[Feature, ...], ...] = (observations.FEATURES, ad_features.AD_FEATURES, seats.FEATURES)
    for features in tables:
        assert all(isinstance(feature, Feature) for feature in features)
        assert len({feature.name for feature in features}) == len(features)
        for feature in features:
            assert feature.meaning
            assert feature.unit
            assert -np.inf < feature.low < feature.high < np.inf
    for env_id in ("bidpilot/Pacing-v0", "bidpilot/PacingROS-v0", "bidpilot/PacingOpen-v0", "bidpilot/Targeting-v0"):
        env = make(find_scenario(env_id), market, forecast)
        assert env.observation_space.shape == (len(names(observations.features_of(env.scenario), env.groups)),)


@pytest.mark.parametrize("kind", [BiddingEnv, Marketplace, Episode, Scenario, Campaign])
def test_constructors_take_settings_not_a_score_of_arguments(kind: type[Any]) -> None:
    own = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
    assert len(own) <= 8 or kind is Scenario  # the one place where settings are named, all with defaults
    if kind is Scenario:
        assert all(p.default is not inspect.Parameter.empty for p in inspect.signature(kind).parameters.values())


FORBIDDEN = {"eval", "exec", "compile", "__import__"}
UNPICKLING = {"load", "loads", "Unpickler"}
OWN = {"experiments/workers.py"}
"""Hands work to processes that it starts itself, in a folder that no other user can write to."""


def test_nothing_in_the_package_runs_what_it_reads() -> None:
    found = []
    for path in sources():
        for call in calls(path):
            place = f"{path.relative_to(ROOT)}:{call.lineno}"
            if isinstance(call.func, ast.Name) and call.func.id in FORBIDDEN:
                found.append(place)
            if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
                owner, method = call.func.value.id, call.func.attr
                unpickles = owner in {"pickle", "dill", "cloudpickle", "joblib", "marshal"} and method in UNPICKLING
                if unpickles and str(path.relative_to(ROOT)) not in OWN:
                    found.append(place)
                if (owner, method) == ("torch", "load") and not safely(call):
                    found.append(place)
                if (owner, method) == ("yaml", "load"):
                    found.append(place)
    assert not found


def safely(call: ast.Call) -> bool:
    """Tell whether torch.load is told to load weights only."""
    return any(
        keyword.arg == "weights_only" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in call.keywords
    )


def test_libraries_neither_print_nor_exit_nor_plot_while_they_learn() -> None:
    found = []
    for path in sources():
        if path.parts[-2:] == ("experiments", "cli.py"):
            continue
        for call in calls(path):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name in {"print", "exit", "quit", "breakpoint", "input"}:
                found.append(f"{path.relative_to(ROOT)}:{call.lineno}: {name}")
    learners = [path for layer in ("envs", "agents", "ctr") for path in (ROOT / layer).rglob("*.py")]
    drawing = [path.name for path in learners if "matplotlib" in path.read_text(encoding="utf-8")]
    assert not found
    assert set(drawing) <= {"render.py", "bidding.py"}  # the one that draws, and the one that loads it when asked


def test_a_step_returns_five_things_everywhere(market: Market, forecast: Forecast) -> None:
    config = MarketplaceConfig(buyers=6, ticks=4, opportunities=200.0)
    envs: list[gym.Env[Any, Any]] = [make("bidpilot/Pacing-v0", market, forecast), Marketplace(config)]
    for env in envs:
        env.reset(seed=0)
        seen, reward, terminated, truncated, info = env.step(np.zeros(1, np.float32))
        kinds = (type(reward), type(terminated), type(truncated), type(info))
        assert kinds == (float, bool, bool, dict)
        assert seen.dtype == np.float32


def test_an_unused_name_is_an_error_and_not_ignored(market: Market, forecast: Forecast) -> None:
    with pytest.raises(InputError, match="unknown option of reset 'scarcty'; known: "):
        make("bidpilot/Pacing-v0", market, forecast).reset(options={"scarcty": 0.1})
    with pytest.raises(TypeError, match="colour"):
        Scenario(colour=1)  # type: ignore[call-arg]  # that is the point


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TrafficLaw(opportunities=-1.0), r"opportunities must be above 0, at most 10000000; got -1\.0"),
        (lambda: TrafficLaw(ctr=1.5), r"ctr must lie in 0\.\.1; got 1\.5"),
        (lambda: TrafficLaw(cvr=-0.1), r"cvr must lie in 0\.\.1; got -0\.1"),
        (lambda: TrafficLaw(ticks=0), r"ticks must be a whole number in 1\.\.10000; got 0"),
        (lambda: TrafficLaw(segments=0), r"segments must be a whole number in 1\.\.1024; got 0"),
        (lambda: Campaign(-1.0, 4, 1.0), r"budget must be above 0 and below 4\.5e9; got -1\.0"),
        (lambda: Campaign(1.0, 0, 1.0), r"horizon must be above 0 and below 4\.5e9; got 0"),
        (lambda: Campaign(float("nan"), 4, 1.0), r"budget must be above 0 and below 4\.5e9; got nan"),
        (lambda: Rules(bid_tick=-1.0), r"bid_tick must be at least 0; got -1\.0"),
        (lambda: Rules(frequency_cap=-1), r"frequency_cap must be at least 0; got -1"),
        (lambda: Rules("third"), r"unknown auction 'third'; known: first_price, second_price, soft_floor"),
        (lambda: MarketplaceConfig(slots=4), r"4 slots need as many factors and buyers; got 3 and 48"),
        (lambda: MarketplaceConfig(opportunities=-1.0), r"opportunities must be in 0"),
    ],
)
def test_impossible_settings_are_refused_where_they_are_made(build: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


def test_a_policy_of_spending_all_at_once_does_not_win(market: Market, forecast: Forecast) -> None:
    env = make("bidpilot/Pacing-v0", market, forecast)

    def score(plan: FloatArray) -> float:
        total = 0.0
        for seed in range(4):
            env.reset(seed=seed, options={"scarcity": 0.1})
            total += sum(float(env.step(np.array([at], np.float32))[1]) for at in plan)
        return total

    ticks = forecast.ticks
    front = np.where(np.arange(ticks) < ticks // 3, 1.0, -1.0)
    assert score(front) < score(np.zeros(ticks)) == 0.0
