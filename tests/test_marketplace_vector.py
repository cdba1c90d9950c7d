"""Arenas in lockstep as a Stable-Baselines3 vector environment, and a trained policy in a seat."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from bidpilot.agents import sb3
from bidpilot.agents.actor import Actor
from bidpilot.agents.algorithms import Config
from bidpilot.agents.callbacks import Watch
from bidpilot.agents.checkpoint import Checkpoints
from bidpilot.agents.marketplace_policy import MarketplacePolicy
from bidpilot.agents.marketplace_vector import MarketplaceVecEnv
from bidpilot.ctr.errors import InputError
from bidpilot.envs.marketplace import Arena, Marketplace
from bidpilot.envs.marketplace_traffic import MarketplaceConfig

if TYPE_CHECKING:
    from pathlib import Path

    from bidpilot.agents.learned import Floats
    from bidpilot.ctr.types import FloatArray

CONFIG = MarketplaceConfig(buyers=8, ticks=6, opportunities=600.0)
PPO = Config(steps=144, envs=6, rollout=12, batch=24, epochs=2, hidden=(8,), evaluations=2)
STILL = np.zeros((6, 1), np.float32)


def played(env: VecEnv, steps: int, seed: int = 8) -> tuple[list[bytes], list[bytes]]:
    """Return what random actions lead to, and the terminal observations."""
    env.seed(seed)
    env.action_space.seed(1)
    rows, terminal = [np.asarray(env.reset()).tobytes()], []
    for _ in range(steps):
        seen, rewards, done, infos = env.step(np.array([env.action_space.sample() for _ in range(env.num_envs)]))
        rows += [np.asarray(seen).tobytes(), rewards.astype(np.float32).tobytes(), done.tobytes()]
        terminal += [info["terminal_observation"].tobytes() for info, over in zip(infos, done, strict=True) if over]
    return rows, terminal


@pytest.mark.parametrize("change", [{}, {"seat": 5}, {"action": "ladder"}], ids=str)
def test_with_one_seat_it_gives_what_a_dummy_of_marketplaces_gives(change: dict[str, Any]) -> None:
    config = replace(CONFIG, **change)
    dummy: VecEnv = DummyVecEnv([lambda: Marketplace(config)] * 3)
    one, two = played(MarketplaceVecEnv(config, 3, 1), 14), played(dummy, 14)
    assert one == two
    assert len(one[1]) == 6


def test_seats_of_an_arena_differ_and_act_in_the_same_auctions() -> None:
    env = MarketplaceVecEnv(CONFIG, 2, 3)
    env.seed(4)
    env.reset()
    assert all(len(set(seats)) == 3 and set(seats) <= set(range(8)) for seats in env.chosen)
    acts = np.linspace(-1.0, 1.0, 6, dtype=np.float32)[:, None]
    alone = [Arena(CONFIG, np.random.default_rng(seed)) for seed in (4, 7)]  # an arena has its first seat's seed
    for _ in range(4):
        seen, rewards, _, _ = env.step(acts)
        for m, (arena, seats) in enumerate(zip(alone, env.chosen, strict=True)):
            rows = slice(3 * m, 3 * m + 3)
            arena.play(arena.multipliers(dict(zip(seats, acts[rows, 0].astype(float), strict=True))))
            assert np.array_equal(np.asarray(seen)[rows], arena.observations()[seats])
            assert rewards[rows].tolist() == [arena.terms(seat)["expected"] for seat in seats]


def test_the_same_seed_gives_the_same_days_and_days_differ() -> None:
    one, two, other = (played(MarketplaceVecEnv(CONFIG, 2, 3), 14, seed) for seed in (3, 3, 4))
    assert one == two
    assert one != other
    assert len(set(one[1])) == len(one[1]) == 12


def test_the_end_tells_returns_and_begins_the_next_day() -> None:
    env = MarketplaceVecEnv(CONFIG, 2, 3)
    env.seed(0)
    env.reset()
    total = np.zeros(6)
    for tick in range(1, 7):
        seen, rewards, done, infos = env.step(STILL)
        total += rewards
        assert done.tolist() == [tick == 6] * 6
        assert all(bool(info) == (tick == 6) for info in infos)
    assert [info["episode"]["r"] for info in infos] == total.tolist()
    assert all(info["episode"]["l"] == 6 and info["TimeLimit.truncated"] is False for info in infos)
    assert np.array([info["terminal_observation"][0] for info in infos]).tolist() == [0.0] * 6  # no time left
    assert np.asarray(seen)[:, 0].tolist() == [1.0] * 6


def test_relative_rewards_are_nothing_for_the_controller_and_what_a_policy_adds_for_others() -> None:
    usual, relative = MarketplaceVecEnv(CONFIG, 2, 3), MarketplaceVecEnv(CONFIG, 2, 3, relative=True)
    sums = {}
    for env, act in ((usual, 0.0), (usual, 0.5), (relative, 0.0), (relative, 0.5)):
        env.seed(6)
        env.reset()
        rows = [env.step(np.full((6, 1), act, np.float32))[1] for _ in range(6)]
        sums[env, act] = np.sum(rows, axis=0)
    assert sums[relative, 0.0].tolist() == [0.0] * 6
    assert np.abs(sums[relative, 0.5]).min() > 0.0
    assert sums[relative, 0.5] == pytest.approx(sums[usual, 0.5] / sums[usual, 0.0] - 1.0)


def test_relative_rewards_leave_the_days_as_they_are() -> None:
    one, two = MarketplaceVecEnv(CONFIG, 2, 3), MarketplaceVecEnv(CONFIG, 2, 3, relative=True)
    assert played(one, 14)[1] == played(two, 14)[1]  # the last observations


def test_impossible_numbers_of_arenas_seats_and_settings_are_refused() -> None:
    for arenas, seats in ((0, 1), (1, 0), (1, 9)):
        with pytest.raises(InputError, match=f"at least 1 arena and 1 to 8 seats .*; got {arenas} and {seats}"):
            MarketplaceVecEnv(CONFIG, arenas, seats)
    env = MarketplaceVecEnv(CONFIG, 2, 3)
    assert env.get_attr("render_mode") == [None] * 6
    assert env.env_is_wrapped(VecNormalize) == [False] * 6  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="the seats share their settings"):
        env.set_attr("config", CONFIG)


# --- training -----------------------------------------------------------------------------------------------------


def validate(actor: Actor) -> FloatArray:
    """Return what the actor earns per budget in seat 0 of two arenas (2,)."""
    policy, earned = MarketplacePolicy(actor, CONFIG), []
    for seed in range(2):
        arena = Arena(CONFIG, np.random.default_rng(seed))
        while not arena.over:
            arena.play(arena.multipliers({0: float(policy.act(arena.observations()[0])[0])}))
        earned.append(float(arena.total.expected[0] / arena.seats.budget[0]))
    return np.array(earned)


def observe(actor: Actor) -> Floats:  # noqa: ARG001 - the same for all
    return Arena(CONFIG, np.random.default_rng(1)).observations()


def test_ppo_trains_in_it_and_the_same_seed_gives_the_same_policy() -> None:
    one, two = (sb3.train(PPO, lambda: MarketplaceVecEnv(CONFIG, 2, 3), validate, observe, 1) for _ in range(2))
    assert one.curve["steps"].tolist() == [0, 72, 144]
    assert all(np.array_equal(a, b) for a, b in zip(one.actor.weights, two.actor.weights, strict=True))
    policy = MarketplacePolicy(one.actor, CONFIG)
    assert np.allclose(policy.act(one.observations), one.actions, atol=1e-5)
    assert policy.act(one.observations[0]).shape == (1,)


def test_a_vector_of_another_length_or_with_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the settings want 6 environments .*, the vector has 4"):
        sb3.train(PPO, lambda: MarketplaceVecEnv(CONFIG, 2, 2), validate, observe, 1)
    watch = Watch(journal=Checkpoints(tmp_path, "key"))
    with pytest.raises(InputError, match="there are no checkpoints of a MarketplaceVecEnv"):
        sb3.train(PPO, lambda: MarketplaceVecEnv(CONFIG, 2, 3), validate, observe, 1, watch)


def test_a_policy_acts_in_the_form_that_the_market_takes_and_other_networks_are_refused() -> None:
    size = len(observe_size())
    even = Actor(np.zeros(size), np.ones(size), (np.zeros((1, size), np.float32),), (np.full(1, 0.25, np.float32),))
    assert MarketplacePolicy(even, CONFIG).act(np.zeros((4, size), np.float32)).tolist() == [[0.25]] * 4
    scores = np.arange(9, dtype=np.float32)
    ladder = replace(even, weights=(np.zeros((9, size), np.float32),), biases=(scores,), head="level", levels=9)
    rungs = replace(CONFIG, action="ladder")
    assert MarketplacePolicy(ladder, rungs).act(np.zeros((2, size), np.float32)).tolist() == [8, 8]
    for actor, config in ((even, rungs), (ladder, CONFIG), (even, replace(CONFIG, slots=2))):
        with pytest.raises(InputError, match=r"this market has .* observations and one action of"):
            MarketplacePolicy(actor, config)


def observe_size() -> Floats:
    """Return one observation."""
    return np.asarray(Arena(CONFIG, np.random.default_rng(0)).observations()[0])


def test_rivals_get_more_to_spend_and_nothing_else_changes() -> None:
    plain, rich = (
        Arena(replace(CONFIG, seat=3, rivals=rivals), np.random.default_rng(2)).buyers for rivals in (1.0, 1.1)
    )
    factor = np.where(np.arange(8) == 3, 1.0, 1.1)
    assert np.allclose(rich.budget, plain.budget * factor, atol=1.0)
    assert rich.budget[3] == plain.budget[3]
    assert np.allclose(rich.scarcity, plain.scarcity * factor)
    assert np.array_equal(rich.start, plain.start)
    with pytest.raises(InputError, match=r"give seat too; got 1\.1"):
        replace(CONFIG, rivals=1.1)
    with pytest.raises(InputError, match="rivals must be in"):
        replace(CONFIG, seat=3, rivals=0.0)
