"""Censored log-normal regression: log price is normal, its mean and deviation follow the features.

Tobin 1958; for auctions Wu, Yeh & Chen, KDD 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bidpilot.ctr.price_models.mixture import log_normal_density
from bidpilot.ctr.price_models.network import PriceNetwork, PriceNetworkConfig

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder


@dataclass(frozen=True)
class Config(PriceNetworkConfig):
    """Settings: those of all price networks."""

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> LogNormal:  # noqa: ARG002
        """Return the untrained network."""
        return LogNormal(self, encoder, 2, generator)


class LogNormal(PriceNetwork):
    """z ~ N(b + sum_f w[id_f] + v'x + deep_1, exp(deep_2))."""

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return mean and log deviation (n, 2)."""
        deep: Tensor = self.deep(e.flatten(1), noise)
        return torch.stack([self.bias + first + deep[:, 0], deep[:, 1].clamp(-5.0, 3.0)], dim=1)

    def terms(self, output: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See PriceNetwork."""
        mean, log_deviation = output.unbind(1)
        u = (z - mean) * torch.exp(-log_deviation)
        below, above = torch.special.log_ndtr(u), torch.special.log_ndtr(-u)
        return below, above, log_normal_density(u, log_deviation)

    def inverse(self, output: Tensor, q: Tensor) -> Tensor:
        """See PriceNetwork."""
        mean, log_deviation = output.unbind(1)
        z: Tensor = mean + torch.exp(log_deviation) * torch.special.ndtri(q)
        return z
