"""Contextual bandits: the regression, the network beneath it, and what both learn of contexts; propensities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bidpilot.agents.bandits import (
    epsilon_greedy,
    kl_ucb,
    lin_thompson,
    lin_ucb,
    neural_linear,
    normal_thompson,
    thompson,
    ucb1,
)
from bidpilot.agents.bandits.arms import FACTORS, Ladder
from bidpilot.agents.bandits.contextual import ACTIONS, CONTEXT, design_of
from bidpilot.agents.bandits.lin_ucb import linear_bound_arm
from bidpilot.agents.bandits.network import Network
from bidpilot.agents.bandits.neural_linear import HIDDEN, INPUTS, Memory
from bidpilot.agents.bandits.regression import Regression
from bidpilot.agents.base import Past
from bidpilot.ctr.errors import InputError
from bidpilot.envs.episode import Episode
from bidpilot.envs.types import Campaign

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.day import Day
    from bidpilot.envs.forecast import Forecast

    AnyConfig = lin_ucb.Config | lin_thompson.Config | neural_linear.Config


def observed(size: int, count: int, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return features (count, size), rewards (count,) linear in them, and the weights (size,)."""
    rng = np.random.default_rng(seed)
    features, weights = rng.normal(size=(count, size)), rng.normal(size=size)
    return features, features @ weights + rng.normal(0.0, 0.1, count), weights


def test_updates_one_by_one_do_not_drift() -> None:
    features, rewards, weights = observed(6, 20_000)
    model, batch = Regression(6), Regression(6)
    for x, reward in zip(features, rewards.tolist(), strict=True):
        model.add(x, reward)
    batch.rebuild(features, rewards)
    assert np.abs(model.inverse - batch.inverse).max() < 1e-10
    assert np.abs(model.inverse @ (np.eye(6) + features.T @ features) - np.eye(6)).max() < 1e-10
    assert model.weights == pytest.approx(weights, abs=0.01)
    assert model.squares == pytest.approx(batch.squares)
    assert model.count == 20_000


def test_draws_have_the_covariance_of_the_posterior() -> None:
    features, rewards, _ = observed(4, 30)
    model = Regression(4)
    model.rebuild(features, rewards)
    draws = model.draws(100_000, 0.3, np.random.default_rng(1))
    expected = 0.09 * np.linalg.inv(np.eye(4) + features.T @ features)
    assert np.cov(draws.T) == pytest.approx(expected, abs=0.02 * np.abs(expected).max())
    assert draws.mean(axis=0) == pytest.approx(model.weights, abs=0.002)


def test_a_draw_after_an_update_is_of_the_new_posterior() -> None:
    model = Regression(2)
    wide = model.draws(5_000, 1.0, np.random.default_rng(0)).std(axis=0)
    for _ in range(99):
        model.add(np.array([1.0, 0.0]), 0.5)
    assert model.draws(5_000, 1.0, np.random.default_rng(0)).std(axis=0) == pytest.approx(wide * [0.1, 1.0], rel=0.01)


def test_the_noise_is_learnt_from_what_the_weights_leave() -> None:
    features, rewards, _ = observed(4, 4_000)
    model = Regression(4)
    model.rebuild(features, rewards)
    assert model.variances(2_000, 1.0, 1e-4, np.random.default_rng(0)).mean() == pytest.approx(0.01, rel=0.1)


def test_the_bound_is_mean_plus_width() -> None:
    features, rewards, _ = observed(3, 25)
    model, design = Regression(3), np.random.default_rng(5).normal(size=(7, 3))
    model.rebuild(features, rewards)
    inverse = np.linalg.inv(np.eye(3) + features.T @ features)
    bounds = [x @ inverse @ features.T @ rewards + 2.0 * np.sqrt(x @ inverse @ x) for x in design]
    assert linear_bound_arm(model, design, 2.0) == int(np.argmax(bounds))


def test_a_regression_needs_a_ridge() -> None:
    with pytest.raises(InputError, match="ridge"):
        Regression(3, 0.0)


def test_designs_share_weights_or_keep_them_apart() -> None:
    context = np.arange(1.0, CONTEXT + 1)
    shared, apart = design_of("shared", context), design_of("disjoint", context)
    assert shared[:, :CONTEXT] == pytest.approx(np.tile(context, (len(ACTIONS), 1)))
    assert shared[:, CONTEXT : 2 * CONTEXT] == pytest.approx(np.outer(ACTIONS, context))
    assert (apart @ apart.T == np.eye(len(ACTIONS)) * (context @ context)).all()
    with pytest.raises(InputError, match="disjoint, shared"):
        design_of("both", context)


def test_gradients_of_the_network_are_those_of_its_loss() -> None:
    rng, decay, step = np.random.default_rng(3), 0.01, 1e-6
    network, inputs, targets = Network(3, (5, 4), rng), rng.normal(size=(11, 3)), rng.normal(size=11)

    def loss() -> float:
        penalty = sum(float((weight**2).sum()) for weight in network.weights)
        return float(0.5 * np.mean((network.predict(inputs) - targets) ** 2) + 0.5 * decay * penalty)

    gradients = network.gradient(inputs, targets, decay)
    for weight, gradient in zip(network.weights, gradients, strict=True):
        for place in ((0, 0), (1, weight.shape[1] - 1), (len(weight) - 1, 0)):
            kept = weight[place]
            found = []
            for sign in (1.0, -1.0):
                weight[place] = kept + sign * step
                found.append(loss())
            weight[place] = kept
            assert (found[0] - found[1]) / (2 * step) == pytest.approx(gradient[place], abs=1e-7)


def test_the_network_learns_what_no_line_can() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1.0, 1.0, (400, 2))
    targets = inputs[:, 0] * inputs[:, 1]
    network = Network(2, (16, 8), rng)
    network.fit(inputs, targets, 600, 0.01, 1e-5)
    assert np.mean((network.predict(inputs) - targets) ** 2) < 0.1 * targets.var()


def test_after_a_refit_the_regression_is_that_of_the_new_features() -> None:
    rng, memory = np.random.default_rng(0), Memory(neural_linear.Config(steps=50))
    inputs, rewards = rng.normal(size=(60, INPUTS)), rng.normal(size=60)
    for x, reward in zip(inputs, rewards.tolist(), strict=True):
        memory.add(x, reward)
    stale = memory.regression.inverse.copy()
    memory.refit()
    features = memory.network.features(inputs)
    fresh = np.linalg.inv(memory.config.ridge * np.eye(HIDDEN[1] + 1) + features.T @ features)
    assert np.abs(memory.regression.inverse - fresh).max() < 1e-10
    assert memory.regression.vector == pytest.approx(features.T @ rewards)
    assert np.abs(stale - fresh).max() > 1e-3


# --- in the market ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def past(past_days: tuple[Day, ...], forecast: Forecast) -> Past:
    return Past(past_days, forecast)


@pytest.fixture(scope="module")
def campaign(past: Past) -> Campaign:
    return Campaign(0.2 * past.forecast.full_cost, past.forecast.ticks, past.forecast.full_cost)


@pytest.mark.parametrize("config", [lin_ucb.Config(), lin_thompson.Config(), neural_linear.Config()])
def test_an_arm_is_learnt_at_the_features_that_it_was_pulled_at(
    config: AnyConfig, past: Past, campaign: Campaign, past_days: tuple[Day, ...]
) -> None:
    policy, episode = config.build(past), Episode(past_days[0], campaign)
    policy.reset(campaign, np.random.default_rng(0))
    added: list[tuple[FloatArray, float]] = []
    policy.statistics.add = lambda x, reward: added.append((x, reward))  # type: ignore[method-assign]
    pulled = []
    for _ in range(4):
        episode.bid_multipliers(policy.multipliers(episode.state()))
        assert policy._arm is not None
        pulled.append(policy.design[policy._arm])
    assert len(added) == 3
    assert all((x == row).all() for (x, _), row in zip(added, pulled, strict=False))
    assert all(-0.5 <= reward <= 0.5 for _, reward in added)


@pytest.mark.parametrize("form", ["shared", "disjoint"])
def test_a_linear_bandit_pulls_what_the_context_asks_for(form: str, past: Past) -> None:
    policy, rng = lin_ucb.Config(0.05, 1.0, form).build(past), np.random.default_rng(0)
    right = 0
    for round_ in range(600):
        context = np.concatenate([[1.0, rng.choice([-1.0, 1.0])], np.zeros(CONTEXT - 2)])
        policy.design = policy.features(context)
        arm = policy.choose(rng)
        best = 2 if context[1] < 0 else 6  # it pays to bid low in one context and high in the other
        reward = -0.3 * (ACTIONS[arm] - ACTIONS[best]) ** 2 + rng.normal(0.0, 0.02)
        policy.statistics.add(policy.design[arm], float(reward))
        right += round_ >= 300 and abs(arm - best) <= 1
    assert right > 285


PLAYED = (
    epsilon_greedy.Config(),
    kl_ucb.Config(),
    lin_thompson.Config(0.2),
    lin_ucb.Config(),
    neural_linear.Config(),
    normal_thompson.Config(),
    thompson.Config(),
    ucb1.Config(),
)


@pytest.mark.parametrize("config", PLAYED)
def test_propensities_are_the_frequencies_of_the_decision(
    config: epsilon_greedy.Config | AnyConfig, past: Past, campaign: Campaign, past_days: tuple[Day, ...]
) -> None:
    policy, episode = config.build(past), Episode(past_days[0], campaign)
    assert isinstance(policy, Ladder)
    with pytest.raises(RuntimeError, match="no arm"):
        policy.propensities()
    policy.reset(campaign, np.random.default_rng(0))
    for _ in range(3):
        episode.bid_multipliers(policy.multipliers(episode.state()))
    rng, told = np.random.default_rng(7), policy.propensities()
    chosen = np.bincount([policy.choose(rng) for _ in range(3_000)], minlength=len(FACTORS)) / 3_000
    assert told == pytest.approx(chosen, abs=0.045)
    assert told.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("config", [thompson.Config(), epsilon_greedy.Config(), lin_thompson.Config()])
def test_asking_for_propensities_changes_nothing(
    config: thompson.Config | epsilon_greedy.Config | lin_thompson.Config,
    past: Past,
    campaign: Campaign,
    past_days: tuple[Day, ...],
) -> None:
    played: list[list[float]] = []
    for ask in (False, True):
        policy, episode = config.build(past), Episode(past_days[0], campaign)
        policy.reset(campaign, np.random.default_rng(0))
        played.append([])
        while not episode.over:
            multiplier = policy.multipliers(episode.state())
            played[-1].append(float(multiplier[0]))
            if ask:
                assert policy.propensities().sum() == pytest.approx(1.0)
            episode.bid_multipliers(multiplier)
    assert played[0] == played[1]
