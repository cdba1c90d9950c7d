"""Field-weighted factorisation machine: a weight for every pair of fields (Pan et al., WWW 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bidpilot.ctr.network import Network
from bidpilot.ctr.training import NetworkConfig

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Settings of FwFM. decay: precision of the prior of the weights of pairs, whose mean is 1, the plain machine."""

    learning_rate: float = 0.005
    patience: int = 8
    decay: float = 2.0

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> FwFM:
        """Return the machine with small random vectors and all pairs alike; it predicts about the base rate."""
        return FwFM(self, encoder, rate, generator)


class FwFM(Network):
    """log-odds = b + first order + sum over i < j of r_ij <e_i, e_j> (equation 8).

    Attributes: strength, (fields, fields); r is what lies above its diagonal.
    """

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the vectors from the generator."""
        super().__init__(config.table(encoder, generator), rate)
        self.decay = config.decay
        self.strength = nn.Parameter(torch.ones(self.table.fields, self.table.fields))

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        """Return log-odds (n,)."""
        pairs = (e * (self.strength.triu(1) @ e)).sum((1, 2))
        return self.bias + first + pairs

    def penalty(self) -> Tensor:
        """Return minus the log prior of the pairs' weights."""
        return 0.5 * self.decay * (self.strength - 1.0).square().sum()
