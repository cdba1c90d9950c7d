"""Small networks with draws of their own, and the way from torch to the Actor that is played and shipped."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bidpilot.agents.learned import Actor
from bidpilot.ctr.network import linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidpilot.ctr.types import FloatArray
    from bidpilot.envs.features import Floats

CLIP = 10.0
LEAST_SCALE = 0.01
"""Standard deviation that every observation is taken to have at least: one that never varied says nothing."""

SMALL = 0.01
"""By how much a head's first weights are smaller than others: an untrained policy is nearly the controller."""


class Scaler(NamedTuple):
    """Mean and scale (d,) by which observations are normalised, measured on a dataset."""

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, observations: Floats) -> Scaler:
        """Measure on observations (n, d)."""
        seen = observations.astype(np.float64)
        return cls(seen.mean(axis=0), 1.0 / np.maximum(seen.std(axis=0), LEAST_SCALE))

    def __call__(self, observations: Floats) -> Tensor:
        """Return observations (n, d) normalised, as an Actor does it."""
        return torch.from_numpy(np.clip((observations - self.mean) * self.scale, -CLIP, CLIP).astype(np.float32))


class Policy(nn.Module):
    """Observations (n, d), normalised -> actions (n, groups): a tanh on top of hidden layers."""

    def __init__(self, inputs: int, hidden: Sequence[int], groups: int, generator: torch.Generator) -> None:
        """Draw the weights."""
        super().__init__()
        self.layers = layers(inputs, hidden, groups, generator)
        self.layers[-1].weight.data.mul_(SMALL)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Return the actions."""
        return torch.tanh(run(self.layers, x))

    def actor(self, scaler: Scaler) -> Actor:
        """Return the same in NumPy."""
        parts = [(layer.weight, layer.bias) for layer in self.layers if isinstance(layer, nn.Linear)]
        weights, biases = (tuple(part[i].detach().numpy().copy() for part in parts) for i in (0, 1))
        return Actor(scaler.mean, scaler.scale, weights, biases, activation="relu", head="tanh", clip=CLIP)


class Critic(nn.Module):
    """Inputs (n, d) -> a value (n,); called with several tensors, it takes them side by side."""

    def __init__(self, inputs: int, hidden: Sequence[int], generator: torch.Generator) -> None:
        """Draw the weights."""
        super().__init__()
        self.layers = layers(inputs, hidden, 1, generator)

    def forward(self, *x: Tensor) -> Tensor:
        """Return the values."""
        return run(self.layers, torch.cat(x, dim=1))[:, 0]


class Twins(nn.Module):
    """Two critics of observation and action, whose smaller value is taken (Fujimoto et al., ICML 2018)."""

    def __init__(self, inputs: int, hidden: Sequence[int], generator: torch.Generator) -> None:
        """Draw the weights."""
        super().__init__()
        self.one, self.two = (Critic(inputs, hidden, generator) for _ in range(2))

    def forward(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return both values, each (n,)."""
        return self.one(observations, actions), self.two(observations, actions)

    def least(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Return the smaller values (n,)."""
        return torch.minimum(*self(observations, actions))


def layers(inputs: int, hidden: Sequence[int], outputs: int, generator: torch.Generator) -> nn.ModuleList:
    """Return linear layers; relu goes between them."""
    sizes = (inputs, *hidden, outputs)
    return nn.ModuleList(linear(*pair, generator) for pair in pairwise(sizes))


def run(stack: nn.ModuleList, x: Tensor) -> Tensor:
    """Pass the layers."""
    for layer in stack[:-1]:
        x = torch.relu(layer(x))
    out: Tensor = stack[-1](x)
    return out


def follow(target: nn.Module, source: nn.Module, share: float) -> None:
    """Move a target network towards its source by a share of the way (Polyak averaging)."""
    with torch.no_grad():
        for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
            slow.lerp_(fast, share)


def descend(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Take a step down a loss."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
