"""DeepFM: a factorisation machine and a network that share one embedding (Guo et al., IJCAI 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, relu

from bidpilot.ctr.training import Network, NetworkConfig

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Settings of DeepFM.

    dimension: of the embeddings. hidden: widths of the deep part. dropout: share of hidden units silenced.
    prior: standard deviation of the first-order weights' normal prior, log-odds. embedding_prior: that of the
    embeddings. decay: precision of the deep part's prior.
    """

    learning_rate: float = 0.003
    patience: int = 8
    dimension: int = 16
    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.2
    prior: float = 0.3
    embedding_prior: float = 0.15
    decay: float = 2.0

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> DeepFM:
        """Return the network with small random embeddings, which predicts about the base rate."""
        return DeepFM(self, encoder, rate, generator)


class DeepFM(Network):
    """log-odds = first order + pairwise products of embeddings + a network on the embeddings."""

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> None:
        """Draw the weights from the generator; the last layer starts at 0."""
        super().__init__()
        self.config = config
        k = config.dimension
        self.bias = nn.Parameter(torch.tensor(math.log(rate / (1.0 - rate))))
        self.weight = nn.Parameter(torch.zeros(encoder.size, 1))
        self.slope = nn.Parameter(torch.zeros(encoder.numbers))
        self.table = nn.Parameter(0.05 * torch.randn(encoder.size, k, generator=generator))
        self.directions = nn.Parameter(0.05 * torch.randn(encoder.numbers, k, generator=generator))
        widths = ((encoder.fields + encoder.numbers) * k, *config.hidden, 1)
        layers = [_linear(n_in, n_out, generator) for n_in, n_out in pairwise(widths)]
        nn.init.zeros_(layers[-1].weight)
        self.deep = nn.ModuleList(layers)

    def forward(self, ids: Tensor, numbers: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds (n,)."""
        first: Tensor = embedding(ids, self.weight).sum((1, 2)) + numbers @ self.slope
        e = torch.cat([embedding(ids, self.table), numbers[:, :, None] * self.directions], dim=1)
        pairs = 0.5 * (e.sum(1).square() - e.square().sum(1)).sum(1)
        h = e.flatten(1)
        for layer in self.deep[:-1]:
            h = self._drop(relu(layer(h)), noise)
        deep: Tensor = self.deep[-1](h).squeeze(1)
        return self.bias + first + pairs + deep

    def penalty(self) -> Tensor:
        """Return minus the log prior: normal weights."""
        linear = self.weight.square().sum() + self.slope.square().sum()
        vectors = self.table.square().sum() + self.directions.square().sum()
        deep = sum(w.square().sum() for name, w in self.deep.named_parameters() if name.endswith("weight"))
        c = self.config
        return 0.5 * (linear / c.prior**2 + vectors / c.embedding_prior**2 + c.decay * deep)

    def _drop(self, h: Tensor, noise: torch.Generator | None) -> Tensor:
        """Silence hidden units in training; torch's own dropout draws from the global generator."""
        keep = 1.0 - self.config.dropout
        if noise is None or keep == 1.0:
            return h
        return h * (torch.rand(h.shape, generator=noise) < keep) / keep


def _linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    """Return a He-initialised layer; made without torch's own draw, which uses the global generator."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, n_in, n_out)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
