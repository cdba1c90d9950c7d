"""What all response networks share: the table of embeddings below, the loss above, and the layers between."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import relu

if TYPE_CHECKING:
    from bidpilot.ctr.embedding import Table


class Network(nn.Module, ABC):
    """What the fit loop trains: outputs from embedded fields, a loss, and a prior on the weights.

    table: the embeddings. rate: of the event in training, which the untrained network predicts. Attributes: bias, for
    the model to add to its log-odds; shift, what is added to outputs when predicting (log-odds that the sampling of
    rows has moved). outputs: how many a row has.
    """

    table: Table
    bias: nn.Parameter
    shift: Tensor
    outputs = 1

    def __init__(self, table: Table, rate: float = 0.5) -> None:
        """Start from the base rate."""
        super().__init__()
        self.table = table
        self.bias = nn.Parameter(torch.tensor(math.log(rate / (1.0 - rate))))
        self.register_buffer("shift", torch.zeros(()))

    @abstractmethod
    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds (n,), or outputs (n, T), of vectors e (n, fields, k) and first-order terms (n,).

        noise is given in training only (dropout).
        """

    def loss(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the loss (n,) of each row's output; log loss unless a network says otherwise."""
        return cross_entropy(output, label, reduction="none")

    def penalty(self) -> Tensor:
        """Return minus the log prior of the weights above the table, up to a constant."""
        return self.bias.new_zeros(())


class Tower(nn.Module):
    """A stack of relu layers from n_in inputs, and a linear layer of n_out outputs that starts at 0.

    hidden: widths. dropout: share of hidden units silenced in training. decay: precision of the weights' prior.
    """

    def __init__(
        self,
        n_in: int,
        hidden: tuple[int, ...],
        generator: torch.Generator,
        *,
        n_out: int = 1,
        dropout: float = 0.0,
        decay: float = 0.0,
    ) -> None:
        """Draw the weights from the generator."""
        super().__init__()
        self.dropout, self.decay = dropout, decay
        layers = [linear(a, b, generator) for a, b in pairwise((n_in, *hidden, n_out))]
        nn.init.zeros_(layers[-1].weight)
        self.layers = nn.ModuleList(layers)

    def forward(self, h: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return (n, n_out)."""
        out: Tensor = self.layers[-1](self.below(h, noise))
        return out

    def below(self, h: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return what the last layer is given (n, hidden[-1])."""
        for layer in self.layers[:-1]:
            h = drop(relu(layer(h)), self.dropout, noise)
        return h

    def penalty(self) -> Tensor:
        """Return minus the log prior of the weights."""
        return 0.5 * self.decay * squares(self) if self.decay else torch.zeros(())


def linear(n_in: int, n_out: int, generator: torch.Generator, gain: str = "relu") -> nn.Linear:
    """Return a He-initialised layer; made without torch's own draw, which uses the global generator."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, n_in, n_out)
    nn.init.kaiming_normal_(layer.weight, nonlinearity=gain, generator=generator)  # type: ignore[arg-type]
    nn.init.zeros_(layer.bias)
    return layer


def drop(h: Tensor, share: float, noise: torch.Generator | None) -> Tensor:
    """Silence this share of units in training; torch's own dropout draws from the global generator."""
    if noise is None or share == 0.0:
        return h
    return h * (torch.rand(h.shape, generator=noise) >= share) / (1.0 - share)


def squares(module: nn.Module) -> Tensor:
    """Return the sum of squares of a module's weights, biases apart."""
    total = [w.square().sum() for name, w in module.named_parameters() if not name.endswith("bias")]
    return torch.stack(total).sum() if total else torch.zeros(())
