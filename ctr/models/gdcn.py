"""GDCN: a gate on every cross lets through those that help (Wang et al., CIKM 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bidpilot.ctr.models import dcnv2
from bidpilot.ctr.network import linear

if TYPE_CHECKING:
    from torch import Tensor

    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(dcnv2.Config):
    """Settings of GDCN: those of DCN V2. The gates bear more layers; stacked is the paper's GDCN-S, else GDCN-P."""

    layers: int = 3

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> dcnv2.DCNv2:
        """Return the network with small random embeddings, which predicts about the base rate."""
        return dcnv2.DCNv2(self, encoder, rate, generator, GatedCross)


class GatedCross(dcnv2.Cross):
    """x_{l+1} = x_0 * (W x_l + b) * sigmoid(G x_l + g) + x_l (equation 2; g, which starts at 0, is ours)."""

    def __init__(self, width: int, rank: int, generator: torch.Generator) -> None:
        """Draw the weights from the generator."""
        super().__init__(width, rank, generator)
        self.gate = linear(width, width, generator, gain="linear")

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:
        """Return (n, width)."""
        crossed: Tensor = x0 * self.mix(x) * torch.sigmoid(self.gate(x)) + x
        return crossed
