"""MMoE: experts that all tasks share, mixed for each task by a gate of its own (Ma et al., KDD 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.joint.base import TASKS, JointConfig, JointNetwork, towers
from bidpilot.ctr.network import drop, linear, squares

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(JointConfig):
    """Settings of MMoE. experts: shared ones. units: width of each. Raises InputError for figures below 1."""

    hidden: tuple[int, ...] = (16,)
    experts: int = 4
    units: int = 16

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        if min(self.experts, self.units) < 1:
            raise InputError(f"experts and units must be at least 1; got {self.experts}, {self.units}")

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> Mmoe:
        """Return the untrained network."""
        return Mmoe(self, encoder, rate, generator)


class Experts(nn.Module):
    """Experts of one relu layer each, side by side. dropout: share of units silenced in training."""

    def __init__(self, n_in: int, count: int, units: int, generator: torch.Generator, dropout: float = 0.0) -> None:
        """Draw the weights from the generator."""
        super().__init__()
        self.count, self.dropout = count, dropout
        self.layer = linear(n_in, count * units, generator)

    def forward(self, h: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return what every expert says (n, count, units) of inputs (n, n_in)."""
        out = drop(relu(self.layer(h)), self.dropout, noise)
        return out.reshape(len(h), self.count, -1)


class Gate(nn.Module):
    """Weights of experts that depend on the row; equal before training."""

    def __init__(self, n_in: int, count: int, generator: torch.Generator) -> None:
        """Start with equal weights."""
        super().__init__()
        self.layer = linear(n_in, count, generator)
        nn.init.zeros_(self.layer.weight)

    def forward(self, h: Tensor) -> Tensor:
        """Return weights (n, count) that sum to 1, for inputs (n, n_in)."""
        return torch.softmax(self.layer(h).float(), dim=1)


def mix(weights: Tensor, said: Tensor) -> Tensor:
    """Return the weighted sum (n, units) of what experts said (n, count, units); weights (n, count)."""
    return (weights[:, :, None] * said).sum(1)


class Mmoe(JointNetwork):
    """Experts on all embeddings, a gate and a tower for each task."""

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__(config.table(encoder, generator), rate)
        width = self.table.fields * config.dimension
        self.decay = config.decay
        self.experts = Experts(width, config.experts, config.units, generator, config.dropout)
        self.gates = nn.ModuleList([Gate(width, config.experts, generator) for _ in TASKS])
        self.towers = towers(config.units, config, generator)

    def weights(self, e: Tensor) -> list[Tensor]:
        """Return each task's weights of the experts (n, experts), for vectors e (n, fields, k)."""
        return [gate(e.flatten(1)) for gate in self.gates]

    def deep(self, e: Tensor, noise: torch.Generator | None) -> Tensor:
        """Return the towers' outputs (n, 2)."""
        said = self.experts(e.flatten(1), noise)
        mixed = (mix(weights, said) for weights in self.weights(e))
        return torch.cat([tower(h, noise) for tower, h in zip(self.towers, mixed, strict=True)], dim=1)

    def layers_penalty(self) -> Tensor:
        """Return minus the log prior of experts, gates and towers."""
        return 0.5 * self.decay * (squares(self.experts) + squares(self.gates) + squares(self.towers))
