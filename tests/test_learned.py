"""The network in NumPy and the policy on top of the controller: silent, it is the controller to the bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidpilot.agents import incremental, recalibrate
from bidpilot.agents.base import Past
from bidpilot.agents.learned import Actor, Floats, LearnedPolicy
from bidpilot.agents.lstm import Lstm
from bidpilot.agents.rollout import run_episode
from bidpilot.ctr.errors import InputError
from bidpilot.ctr.types import MICROS
from bidpilot.envs.day import Day
from bidpilot.envs.features import bounds, names
from bidpilot.envs.forecast import Forecast
from bidpilot.envs.market import draw_days
from bidpilot.envs.observations import FEATURES
from bidpilot.envs.scenario import Scenario
from bidpilot.envs.scenarios import default_market, make
from bidpilot.envs.types import Campaign, Rules

if TYPE_CHECKING:
    from typing import Literal

    from bidpilot.ctr.types import FloatArray

TICKS = 24
SEGMENTS = 8


def network(groups: int, loud: float = 1.0, hidden: tuple[int, ...] = (8, 8), seed: int = 1) -> Actor:
    """Return a random network whose last layer is multiplied by `loud`."""
    rng = np.random.default_rng(seed)
    width = len(names(FEATURES, groups))
    sizes = (width, *hidden, groups)
    weights = [rng.normal(0, 0.5, (b, a)).astype(np.float32) for a, b in pairwise(sizes)]
    biases = [rng.normal(0, 0.5, b).astype(np.float32) for b in sizes[1:]]
    weights[-1] *= np.float32(loud)
    biases[-1] *= np.float32(loud)
    return Actor(rng.normal(0, 0.3, width), rng.uniform(0.5, 3, width), tuple(weights), tuple(biases))


@pytest.fixture(scope="module")
def days() -> tuple[Day, ...]:
    return draw_days(default_market(1_500, TICKS), 4, np.random.default_rng(3))


@pytest.fixture(scope="module")
def past(days: tuple[Day, ...]) -> Past:
    return Past(days[:3], Forecast.of(days[:3]))


@pytest.mark.parametrize("share", [0.02, 0.2, 2.0])
@pytest.mark.parametrize("auction", ["second_price", "first_price"])
@pytest.mark.parametrize("groups", [1, SEGMENTS])
def test_a_silent_network_is_the_controller_to_the_bit(
    groups: int, auction: str, share: float, days: tuple[Day, ...], past: Past
) -> None:
    campaign = Campaign(share * past.forecast.full_cost, TICKS, past.forecast.full_cost, Rules(auction))
    silent = LearnedPolicy(network(groups, loud=0.0), Scenario(gain=0.2), past.forecast)
    controller = incremental.Config(0.2).build(past)
    one, two = (run_episode(p, days[3], campaign, np.random.default_rng(0)) for p in (silent, controller))
    assert (one.table == two.table).all()


def test_with_a_prior_the_silent_network_is_the_recalibrating_controller(days: tuple[Day, ...], past: Past) -> None:
    campaign = Campaign(0.2 * past.forecast.full_cost, TICKS, past.forecast.full_cost)
    silent = LearnedPolicy(network(SEGMENTS, loud=0.0), Scenario("targeting", gain=0.2, prior=7.0), past.forecast)
    controller = recalibrate.Config(7.0, 0.2).build(past)
    one, two = (run_episode(p, days[3], campaign, np.random.default_rng(0)) for p in (silent, controller))
    assert (one.table == two.table).all()


@pytest.mark.parametrize("name", ["pacing", "targeting"])
def test_the_environment_and_the_rollout_give_the_same_numbers(
    name: Literal["pacing", "targeting"], days: tuple[Day, ...], past: Past
) -> None:
    scenario = Scenario(name)
    env = make(scenario, default_market(1_500, TICKS), past.forecast)
    actor = network(env.groups)
    observation, info = env.reset(seed=0, options={"day": days[3], "scarcity": 0.15})
    spend, rewards, over = [], 0.0, False
    while not over:
        observation, reward, over, _, info = env.step(actor(observation).astype(np.float32))
        spend.append(info["spend"])
        rewards += float(reward)
    campaign = Campaign(0.15 * past.forecast.full_cost, TICKS, past.forecast.full_cost)
    policy = LearnedPolicy(actor, scenario, past.forecast)
    learned = run_episode(policy, days[3], campaign, np.random.default_rng(0))
    controller = run_episode(incremental.Config().build(past), days[3], campaign, np.random.default_rng(0))
    assert learned.table[:, 1].tolist() == pytest.approx(np.array(spend) * MICROS, rel=1e-3)
    gain = (learned.total("expected") - controller.total("expected")) / info["best_value"]
    assert rewards == pytest.approx(gain, abs=1e-4)


def test_reset_forgets_the_last_episode(days: tuple[Day, ...], past: Past) -> None:
    campaign = Campaign(0.1 * past.forecast.full_cost, TICKS, past.forecast.full_cost)
    policy, fresh = (LearnedPolicy(network(1), Scenario(), past.forecast) for _ in range(2))
    run_episode(policy, days[2], campaign, np.random.default_rng(0))
    again, first = (run_episode(p, days[3], campaign, np.random.default_rng(0)) for p in (policy, fresh))
    assert (again.table == first.table).all()


@pytest.mark.parametrize("groups", [1, SEGMENTS])
def test_the_unit_of_money_does_not_matter(groups: int, days: tuple[Day, ...], past: Past) -> None:
    def play(factor: int) -> tuple[float, float]:
        scaled = tuple(dearer(day, factor) for day in days)
        forecast = Forecast.of(scaled[:3])
        policy = LearnedPolicy(network(groups), Scenario(), forecast)
        campaign = Campaign(0.25 * past.forecast.full_cost * factor, TICKS, past.forecast.full_cost * factor)
        result = run_episode(policy, scaled[3], campaign, np.random.default_rng(0))
        return result.total("wins"), result.total("spend") / factor

    assert play(1024) == pytest.approx(play(1), abs=2)  # a budget has a last fraction of a micro-currency unit


def dearer(day: Day, factor: int) -> Day:
    """Return the day with all money multiplied."""
    seen = replace(day.seen, value=day.seen.value * factor, reserve=day.seen.reserve * factor)
    hidden = replace(
        day.hidden,
        price=day.hidden.price * factor,
        revenue=day.hidden.revenue * factor,
        expected=day.hidden.expected * factor,
    )
    return Day.build(seen, hidden, day.ticks, day.segments)


def test_a_campaign_of_another_length_is_refused(past: Past) -> None:
    policy = LearnedPolicy(network(1), Scenario(), past.forecast)
    with pytest.raises(InputError, match="trained on 24 ticks, the campaign has 48"):
        policy.reset(Campaign(1.0, 48, 2.0), np.random.default_rng(0))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("head", ["clip", "tanh"])
def test_the_network_computes_what_the_formula_says(
    activation: Literal["tanh", "relu"], head: Literal["clip", "tanh"]
) -> None:
    actor = replace(network(2), activation=activation, head=head, clip=1.5)
    observation = np.random.default_rng(0).normal(0, 2, len(actor.mean)).astype(np.float32)
    x = np.clip((observation - actor.mean) * actor.scale, -1.5, 1.5)
    for weight, bias in zip(actor.weights[:-1], actor.biases[:-1], strict=True):
        x = weight.astype(np.float64) @ x + bias
        x = np.tanh(x) if activation == "tanh" else np.maximum(x, 0.0)
    x = actor.weights[-1].astype(np.float64) @ x + actor.biases[-1]
    assert actor(observation) == pytest.approx(np.tanh(x) if head == "tanh" else np.clip(x, -1.0, 1.0), abs=1e-5)


@given(st.integers(1, 40), st.sampled_from([1, SEGMENTS]), st.integers(0, 99))
def test_a_batch_gives_what_single_calls_give(rows: int, groups: int, seed: int) -> None:
    actor = network(groups)
    low, high = bounds(FEATURES, groups)
    batch: Floats = np.random.default_rng(seed).uniform(low, high, (rows, len(low))).astype(np.float32)
    together = actor(batch)
    assert together.shape == (rows, groups)
    single = np.array([actor(row) for row in batch])
    assert np.abs(together - single).max() < 1e-5  # float32 sums in another order, as bundles allow


@pytest.mark.parametrize("far", [1e30, -1e30, np.inf, -np.inf])
def test_actions_stay_within_bounds_for_extreme_observations(far: float) -> None:
    actor = network(2, loud=100.0)
    action = actor(np.full(len(actor.mean), far, dtype=np.float32))
    assert (np.abs(action) <= 1).all()


def test_layers_must_chain() -> None:
    actor = network(1)
    swapped, short = actor.weights[::-1], actor.weights[:-1]
    for change in (
        {"weights": swapped},
        {"weights": short},
        {"weights": (), "biases": ()},
        {"scale": actor.scale[:-1]},
        {"mean": actor.mean[:-1], "scale": actor.scale[:-1]},
        {"biases": (*actor.biases[:-1], np.zeros(3, np.float32))},
        {"levels": 3, "head": "level"},
        {"head": "level"},
        {"levels": 0},
        {"head": "softmax"},
        {"activation": "gelu"},
        {"lstm": cell(len(actor.mean) + 1, actor.weights[0].shape[1])},
        {"lstm": cell(len(actor.mean), 5)},
    ):
        with pytest.raises(InputError):
            replace(actor, **change)


def cell(inputs: int, size: int) -> Lstm:
    rng = np.random.default_rng(8)
    parts = (rng.normal(0, 0.6, shape).astype(np.float32) for shape in ((4 * size, inputs), (4 * size, size), 4 * size))
    return Lstm(*parts)


def test_an_lstm_whose_gates_are_not_equal_is_refused() -> None:
    whole = cell(3, 4)
    for change in (
        {"weight": whole.weight[:-1]},
        {"recurrent": whole.recurrent[:, :-1]},
        {"bias": whole.bias[:-1]},
    ):
        with pytest.raises(InputError, match="an LSTM needs four gates of equal size"):
            replace(whole, **change)


def test_the_memory_is_what_the_formula_says() -> None:
    """Gate by gate and unit by unit, in float64, over three ticks."""
    lstm = cell(3, 4)
    inputs = np.random.default_rng(1).normal(0, 2, (3, 3))
    hidden, state, memory = np.zeros(4), np.zeros(4), lstm.start(())
    for x in inputs:
        before, kept = hidden.copy(), state.copy()
        for unit in range(4):
            rows = [unit + 4 * gate for gate in range(4)]
            i, f, g, o = (lstm.weight[r] @ x + lstm.recurrent[r] @ before + lstm.bias[r] for r in rows)
            state[unit] = kept[unit] / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            hidden[unit] = np.tanh(state[unit]) / (1 + np.exp(-o))
        memory = lstm.step(x.astype(np.float32), memory)
        assert np.abs(memory - np.stack((hidden, state))).max() < 1e-6
    assert np.isfinite(lstm.step(np.full(3, 1e4, np.float32), memory)).all()


def test_levels_are_the_best_of_each_group_on_the_ladder_of_the_environment() -> None:
    scores = np.array([0.0, 3.0, 1.0, 2.0, 5.0, 4.0, 4.5, 4.9, 4.8, -1.0], dtype=np.float32)
    actor = Actor(np.zeros(2), np.ones(2), (np.zeros((10, 2), np.float32),), (scores,), head="level", levels=5)
    assert actor.groups == 2
    assert actor(np.ones(2, np.float32)).tolist() == [1.0, 0.0]  # levels 4 and 2 of 0..4


def test_a_gap_of_levels_is_what_the_given_level_lacks_and_forgives_ties() -> None:
    scores = np.array([1.0, 4.0, 2.0], dtype=np.float32)
    actor = Actor(np.zeros(1), np.ones(1), (np.zeros((3, 1), np.float32),), (scores,), head="level", levels=3)
    seen = np.zeros((1, 1), np.float32)
    gaps = [actor.gap(seen, np.array([[action]], np.float32)) for action in (0.0, 1.0, -1.0, 0.5, np.nan)]
    assert gaps == [0.0, 0.5, 0.75, np.inf, np.inf]
    tied = replace(actor, biases=(np.array([1.0, 4.0, 3.999999], np.float32),))
    assert tied.gap(seen, np.ones((1, 1), np.float32)) < 1e-5
    assert actor.gap(seen[:0], np.ones((0, 1), np.float32)) == np.inf


def test_a_network_of_levels_plays_ladders_alone(past: Past) -> None:
    numbers = network(1)
    with pytest.raises(InputError, match=r"chooses of 1 levels, the scenario of 9 \(1: numbers\)"):
        LearnedPolicy(numbers, Scenario(action="ladder"), past.forecast)
    with pytest.raises(InputError, match="it plays pacing, targeting, allocation, shading, not ad_selection"):
        LearnedPolicy(numbers, Scenario("ad_selection"), past.forecast)


def test_a_policy_remembers_within_an_episode_and_forgets_between(days: tuple[Day, ...], past: Past) -> None:
    plain = network(1, hidden=(8,))
    width = len(plain.mean)
    actor = replace(network(1, hidden=()), lstm=cell(width, 8), weights=plain.weights[1:], biases=plain.biases[1:])
    campaign = Campaign(0.2 * past.forecast.full_cost, TICKS, past.forecast.full_cost)
    policy = LearnedPolicy(actor, Scenario(), past.forecast)
    first, again = (run_episode(policy, days[3], campaign, np.random.default_rng(0)).table for _ in range(2))
    assert (first == again).all()
    forgetful = LearnedPolicy(actor, Scenario(), past.forecast)
    forgetful.actor = Forgetful(actor)  # type: ignore[assignment]
    assert not (run_episode(forgetful, days[3], campaign, np.random.default_rng(0)).table == first).all()


class Forgetful:
    """An actor that takes every tick for the first."""

    def __init__(self, actor: Actor) -> None:
        """Keep it."""
        self.actor = actor

    def act(self, observation: Floats, _memory: Floats | None) -> tuple[FloatArray, None]:
        """Answer, and remember nothing."""
        return self.actor(observation), None
