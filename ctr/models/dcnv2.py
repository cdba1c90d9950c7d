"""DCN V2: explicit crosses of bounded degree beside or below a network (Wang et al., WWW 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from bidpilot.ctr.network import Network, Tower, linear, squares
from bidpilot.ctr.training import NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Settings of DCN V2.

    layers: of crosses; degrees up to layers + 1. rank: of the cross matrices, 0 for full ones. stacked: the network
    stands on the crosses, not beside them. hidden, dropout: of the network. decay: precision of the prior of both.
    """

    learning_rate: float = 0.003
    patience: int = 8
    layers: int = 2
    rank: int = 32
    stacked: bool = False
    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.2
    decay: float = 2.0

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> DCNv2:
        """Return the network with small random embeddings, which predicts about the base rate."""
        return DCNv2(self, encoder, rate, generator)


class Cross(nn.Module):
    """x_{l+1} = x_0 * (W x_l + b) + x_l, entry by entry; W = U V' where rank is given (equations 1 and 2)."""

    def __init__(self, width: int, rank: int, generator: torch.Generator) -> None:
        """Draw the weights of vectors of this width from the generator."""
        super().__init__()
        thin = 0 < rank < width
        shapes = ((width, rank), (rank, width)) if thin else ((width, width),)
        self.mix = nn.Sequential(*(linear(a, b, generator, gain="linear") for a, b in shapes))
        if thin:
            self.mix[0].register_parameter("bias", None)

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:
        """Return (n, width)."""
        crossed: Tensor = x0 * self.mix(x) + x
        return crossed


class DCNv2(Network):
    """log-odds = b + first order + w'x_L + a network on x_0; stacked: b + first order + a network on x_L."""

    def __init__(
        self,
        config: Config,
        encoder: FieldEncoder,
        rate: float,
        generator: torch.Generator,
        layer: Callable[[int, int, torch.Generator], nn.Module] = Cross,
    ) -> None:
        """Draw the weights from the generator. layer: makes a cross layer of a width and a rank."""
        super().__init__(config.table(encoder, generator), rate)
        width = self.table.fields * config.dimension
        self.decay = config.decay
        self.cross = nn.ModuleList(layer(width, config.rank, generator) for _ in range(config.layers))
        self.head = None if config.stacked else Tower(width, (), generator, decay=config.decay)
        self.deep = Tower(width, config.hidden, generator, dropout=config.dropout, decay=config.decay)

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds (n,)."""
        x0 = x = e.flatten(1)
        for layer in self.cross:
            x = layer(x0, x)
        out: Tensor = self.deep(x, noise) if self.head is None else self.head(x) + self.deep(x0, noise)
        return self.bias + first + out.squeeze(1)

    def penalty(self) -> Tensor:
        """Return minus the log prior of the crosses and the network."""
        head = 0.0 if self.head is None else self.head.penalty()
        return 0.5 * self.decay * squares(self.cross) + head + self.deep.penalty()
