"""Wide and deep: a regression that remembers and a network that generalises (Cheng et al., DLRS 2016)."""

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
    """Settings of wide and deep.

    hidden: widths of the deep part. dropout: share of hidden units silenced. decay: precision of the deep part's
    prior. Both parts are trained by the same optimiser, not FTRL and Adagrad as in the paper.
    """

    learning_rate: float = 0.003
    patience: int = 8
    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.2
    decay: float = 2.0

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> WideDeep:
        """Return the network with small random embeddings, which predicts about the base rate."""
        return WideDeep(self, encoder, rate, generator)


class WideDeep(Network):
    """log-odds = b + wide, the first order of every id and crossed id, + deep, a network on the embeddings (3.3)."""

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__(config.table(encoder, generator), rate)
        width = self.table.fields * config.dimension
        self.deep = Tower(width, config.hidden, generator, dropout=config.dropout, decay=config.decay)

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds (n,)."""
        deep: Tensor = self.deep(e.flatten(1), noise).squeeze(1)
        return self.bias + first + deep

    def penalty(self) -> Tensor:
        """Return minus the log prior of the deep part."""
        return self.deep.penalty()
