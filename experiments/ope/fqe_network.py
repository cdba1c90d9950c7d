"""Fitted Q evaluation with a network, for states that are vectors."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from bidpilot.ctr.types import FloatArray
    from bidpilot.experiments.ope.fqe import Transitions


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """width: of two hidden layers. steps, batch: gradient steps and their rows. rate: of Adam, falling to 0.

    renew: the target network is replaced every so many steps; an episode of T steps needs about T renewals.
    """

    width: int = 64
    steps: int = 6_000
    batch: int = 512
    rate: float = 3e-3
    renew: int = 200


class FittedQ:
    """What the network says: Q of states (n, d), in units of the rewards."""

    def __init__(self, network: nn.Module, mean: FloatArray, spread: FloatArray, scale: float) -> None:
        """Keep the network and what states are standardised by; scale: unit of what the network puts out."""
        self._network, self._mean, self._spread, self._scale = network, mean, spread, scale

    def predict(self, states: FloatArray) -> FloatArray:
        """Return Q (n, arms)."""
        with torch.no_grad():
            found = self._network(_tensor((states - self._mean) / self._spread))
        return np.asarray(found.numpy(), dtype=np.float64) * self._scale


def fit_network(
    steps: Transitions,
    target: Callable[[FloatArray], FloatArray],
    arms: int,
    config: NetworkConfig,
    rng: np.random.Generator,
    discount: float = 1.0,
) -> FittedQ:
    """Fit Q to steps whose states are (k, d); target: states (k, d) -> probabilities (k, arms)."""
    states = np.asarray(steps.states, dtype=np.float64)
    mean = states.mean(axis=0)
    spread: FloatArray = np.where(states.std(axis=0) > 0, states.std(axis=0), 1.0)
    # the successor of a terminal step is looked at by nobody, but must not be a NaN
    after = np.where(steps.terminal[:, None], states, steps.next_states)
    scale = float(np.abs(steps.rewards).mean()) or 1.0
    data = (
        _tensor((states - mean) / spread),
        torch.from_numpy(steps.actions.astype(np.int64)),
        _tensor(steps.rewards / scale),
        _tensor((after - mean) / spread),
        _tensor(target(after)),
        _tensor(discount * ~steps.terminal),
    )
    network = _network(states.shape[1], arms, config.width, rng)
    return FittedQ(_train(network, data, config, rng), mean, spread, scale)


def _train(
    network: nn.Module, data: tuple[torch.Tensor, ...], config: NetworkConfig, rng: np.random.Generator
) -> nn.Module:
    """Take gradient steps on the squared error to what the target network says of the next state."""
    adam = torch.optim.Adam(network.parameters(), lr=config.rate)
    fall = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.01, config.steps)
    frozen = deepcopy(network)
    for step in tqdm(range(config.steps), desc="fitted Q evaluation", disable=None, leave=False):
        if step % config.renew == 0:
            frozen.load_state_dict(network.state_dict())
        rows = torch.from_numpy(rng.integers(len(data[0]), size=config.batch))
        state, action, reward, after, policy, goes_on = (column[rows] for column in data)
        with torch.no_grad():
            goal = reward + goes_on * (policy * frozen(after)).sum(dim=1)
        error = network(state).gather(1, action[:, None])[:, 0] - goal
        adam.zero_grad(set_to_none=True)
        (error**2).mean().backward()
        adam.step()
        fall.step()
    return network.eval()


def _network(inputs: int, arms: int, width: int, rng: np.random.Generator) -> nn.Module:
    """Return two hidden layers, drawn from rng alone: torch's own random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        return nn.Sequential(
            nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, arms)
        )


def _tensor(values: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
