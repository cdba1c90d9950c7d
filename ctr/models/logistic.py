"""Logistic regression on categorical ids and standardised numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.ctr.network import Network
from bidpilot.ctr.training import NetworkConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Settings of the logistic regression: those of all networks; what the data do not support shrinks to 0."""

    learning_rate: float = 0.005
    dimension: int = 0

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> Logistic:
        """Return the regression with all weights 0, which predicts the base rate."""
        return Logistic(self.table(encoder, generator), rate)


class Logistic(Network):
    """log-odds = b + sum_f w[id_f] + v'x."""

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        """Return log-odds (n,)."""
        return self.bias + first
