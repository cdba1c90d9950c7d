"""AutoInt: fields attend to each other, head by head and layer by layer (Song et al., CIKM 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.network import Network, Tower, drop, squares
from bidpilot.ctr.training import NetworkConfig

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Settings of AutoInt.

    layers: of attention. heads: of a layer, each of so many units. hidden: widths of a network beside it (AutoInt+);
    () leaves it out. dropout: share of units silenced. decay: precision of the prior of all layers.
    Raises InputError for figures below 1.
    """

    learning_rate: float = 0.003
    patience: int = 8
    layers: int = 2
    heads: int = 2
    units: int = 8
    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.2
    decay: float = 2.0

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        for name in ("layers", "heads", "units"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}")

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> AutoInt:
        """Return the network with small random embeddings, which predicts about the base rate."""
        return AutoInt(self, encoder, rate, generator)


class Attention(nn.Module):
    """One interacting layer: every field takes from all fields by likeness, beside what it was (section 4.4)."""

    def __init__(self, n_in: int, heads: int, units: int, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__()
        self.heads = heads
        names, shape = ("query", "key", "value", "residual"), (n_in, heads * units)
        draws = {name: torch.randn(shape, generator=generator) * n_in**-0.5 for name in names}
        self.project = nn.ParameterDict({name: nn.Parameter(draw) for name, draw in draws.items()})

    def forward(self, h: Tensor) -> Tensor:
        """Return (n, fields, heads x units) of fields (n, fields, n_in) (equations 6 to 8)."""
        taken = self.attention(h) @ self._heads(h, "value")
        out: Tensor = relu(taken.transpose(1, 2).flatten(2) + h @ self.project["residual"])
        return out

    def attention(self, h: Tensor) -> Tensor:
        """Return how much (n, heads, fields, fields) each field (third axis) takes from each (last) (equation 5)."""
        return torch.softmax(self._heads(h, "query") @ self._heads(h, "key").transpose(2, 3), dim=3)

    def _heads(self, h: Tensor, name: str) -> Tensor:
        projected: Tensor = h @ self.project[name]
        heads: Tensor = projected.unflatten(2, (self.heads, -1))
        return heads.transpose(1, 2)


class AutoInt(Network):
    """log-odds = b + first order + w'(attended fields) + a network on the embeddings."""

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__(config.table(encoder, generator), rate)
        fields, heads, units, decay = self.table.fields, config.heads, config.units, config.decay
        self.dropout, self.decay = config.dropout, decay
        widths = (config.dimension, *[heads * units] * (config.layers - 1))
        self.layers = nn.ModuleList(Attention(n_in, heads, units, generator) for n_in in widths)
        self.head = Tower(fields * heads * units, (), generator, decay=decay)
        width = fields * config.dimension
        deep = Tower(width, config.hidden, generator, dropout=config.dropout, decay=decay)
        self.deep = deep if config.hidden else None

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds (n,)."""
        h = e
        for layer in self.layers:
            h = layer(h)
        out: Tensor = self.head(drop(h.flatten(1), self.dropout, noise))
        if self.deep is not None:
            out = out + self.deep(e.flatten(1), noise)
        return self.bias + first + out.squeeze(1)

    def penalty(self) -> Tensor:
        """Return minus the log prior of all layers."""
        deep = 0.0 if self.deep is None else self.deep.penalty()
        return 0.5 * self.decay * squares(self.layers) + self.head.penalty() + deep
