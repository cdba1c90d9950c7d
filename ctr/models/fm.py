"""Factorisation machine: every pair of fields interacts through its vectors (Rendle, ICDM 2010)."""

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
    """Settings of the factorisation machine. dimension: of the vectors."""

    learning_rate: float = 0.005
    patience: int = 8

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> FM:
        """Return the machine with small random vectors, which predicts about the base rate."""
        return FM(self.table(encoder, generator), rate)


class FM(Network):
    """log-odds = b + first order + sum over i < j of <e_i, e_j> (equation 1)."""

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        """Return log-odds (n,)."""
        return self.bias + first + pairs(e)


def pairs(e: Tensor) -> Tensor:
    """Return the sum (n,) of the products of all pairs of vectors (n, fields, k), in linear time (lemma 3.1)."""
    return 0.5 * (e.sum(1).square() - e.square().sum(1)).sum(1)
