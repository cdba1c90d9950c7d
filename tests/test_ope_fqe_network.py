"""Fitted Q evaluation with a network: a value known in closed form, and the terminal mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bidpilot.experiments.ope.fqe import Transitions
from bidpilot.experiments.ope.fqe_network import NetworkConfig, fit_network

if TYPE_CHECKING:
    from bidpilot.ctr.types import FloatArray

HORIZON = 4
CONFIG = NetworkConfig(width=32, steps=1_200, batch=256, renew=60)


def target(states: FloatArray) -> FloatArray:
    """Return the probabilities (n, 2) of action 1 with 0.8, of 0 with 0.2."""
    return np.tile([0.2, 0.8], (len(states), 1))


def walk(rows: int, *, ends: bool = True) -> Transitions:
    """Return steps of a state (x, time left): action 1 pays x, action 0 nothing, x is drawn anew, mean 0.5."""
    rng = np.random.default_rng(0)
    left = rng.integers(1, HORIZON + 1, size=rows)
    states = np.stack([rng.random(rows), left], axis=1)
    action = rng.integers(2, size=rows)
    after = np.stack([rng.random(rows), left - 1.0], axis=1)
    return Transitions(states, action, (action * states[:, 0]).astype(np.float64), after, (left == 1) & ends)


@pytest.mark.slow
def test_the_network_finds_the_value() -> None:
    """Q((x, left), a) = a x + 0.8 * 0.5 * (left - 1)."""
    found = fit_network(walk(6_000), target, 2, CONFIG, np.random.default_rng(1))
    grid = np.array([[x, left] for x in (0.1, 0.5, 0.9) for left in range(1, HORIZON + 1)])
    expected = 0.4 * (grid[:, 1:] - 1.0) + grid[:, :1] * np.array([0.0, 1.0])
    assert np.abs(found.predict(grid) - expected).mean() < 0.06
    assert np.abs(found.predict(grid) - expected).max() < 0.2


def test_the_same_stream_gives_the_same_network_and_leaves_torch_alone() -> None:
    short = NetworkConfig(width=8, steps=20, batch=16)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = (fit_network(walk(200), target, 2, short, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    states = walk(50).states.astype(np.float64)
    np.testing.assert_array_equal(first.predict(states), second.predict(states))


def test_what_follows_a_terminal_step_is_not_looked_at() -> None:
    short = NetworkConfig(width=8, steps=20, batch=16)
    steps = walk(200)
    wild = steps.next_states.astype(np.float64).copy()
    wild[steps.terminal] = np.nan
    first = fit_network(steps, target, 2, short, np.random.default_rng(3))
    second = fit_network(steps._replace(next_states=wild), target, 2, short, np.random.default_rng(3))
    states = walk(50).states.astype(np.float64)
    assert first.predict(states) == pytest.approx(second.predict(states))
