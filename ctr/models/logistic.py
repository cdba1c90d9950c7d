"""Logistic regression on categorical ids and standardised numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from bidpilot.ctr.training import Network, NetworkConfig

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Settings of the logistic regression.

    prior: standard deviation of the weights' normal prior, log-odds; what the data do not support shrinks to 0.
    """

    learning_rate: float = 0.005
    prior: float = 0.3

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> Logistic:  # noqa: ARG002
        """Return the regression with all weights 0, which predicts the base rate."""
        return Logistic(self, encoder, rate)


class Logistic(Network):
    """log-odds = b + sum_f w[id_f] + v'x."""

    def __init__(self, config: Config, encoder: FieldEncoder, rate: float) -> None:
        """Start from the base rate."""
        super().__init__()
        self.precision = config.prior**-2
        self.bias = nn.Parameter(torch.tensor(math.log(rate / (1.0 - rate))))
        self.weight = nn.Parameter(torch.zeros(encoder.size, 1))
        self.slope = nn.Parameter(torch.zeros(encoder.numbers))

    def forward(self, ids: Tensor, numbers: Tensor, noise: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        """Return log-odds (n,)."""
        return self.bias + embedding(ids, self.weight).sum((1, 2)) + numbers @ self.slope

    def penalty(self) -> Tensor:
        """Return minus the log prior: normal weights."""
        return 0.5 * self.precision * (self.weight.square().sum() + self.slope.square().sum())
