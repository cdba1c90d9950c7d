"""DeepFM: a factorisation machine and a network that share one embedding (Guo et al., IJCAI 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bidpilot.ctr.network import Network, Tower
from bidpilot.ctr.training import NetworkConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Settings of DeepFM.

    dimension: of the embeddings. hidden: widths of the deep part. dropout: share of hidden units silenced.
    decay: precision of the deep part's prior.
    """

    learning_rate: float = 0.003
    patience: int = 8
    dimension: int = 16
    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.2
    decay: float = 2.0

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> DeepFM:
        """Return the network with small random embeddings, which predicts about the base rate."""
        return DeepFM(self, encoder, rate, generator)


class DeepFM(Network):
    """log-odds = first order + pairwise products of embeddings + a network on the embeddings."""

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__(config.table(encoder, generator), rate)
        width = self.table.fields * config.dimension
        self.deep = Tower(width, config.hidden, generator, dropout=config.dropout, decay=config.decay)

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds (n,)."""
        pairs = 0.5 * (e.sum(1).square() - e.square().sum(1)).sum(1)
        deep: Tensor = self.deep(e.flatten(1), noise).squeeze(1)
        return self.bias + first + pairs + deep

    def penalty(self) -> Tensor:
        """Return minus the log prior of the deep part."""
        return self.deep.penalty()
