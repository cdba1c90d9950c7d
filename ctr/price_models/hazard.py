"""A law without a form that follows the features: the hazard of each bin of log price from a network.

The deep landscape forecasting recipe (Ren et al., KDD 2019, arXiv 1905.03028), without its recurrent network: h_l(x) is
the probability that the price lies in bin l, given that it is not lower. Within a bin log price is uniform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.price_models.network import PriceNetwork, PriceNetworkConfig

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder

REACH = 5.0
"""Bins cover this many deviations of log price on either side; what lies beyond is the outer bins'."""


@dataclass(frozen=True)
class Config(PriceNetworkConfig):
    """Settings: those of all price networks. bins: of log price, equally wide. Raises InputError for fewer than 4."""

    bins: int = 60

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        if self.bins < 4:  # noqa: PLR2004 - two ends and something between
            raise InputError(f"bins must be at least 4; got {self.bins}")

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> Hazard:  # noqa: ARG002
        """Return the untrained network."""
        return Hazard(self, encoder, generator)


class Hazard(PriceNetwork):
    """logit h_l = c_l + first order + deep_l: c_l starts where the law is uniform over the bins."""

    edges: Tensor

    def __init__(self, config: Config, encoder: FieldEncoder, generator: torch.Generator) -> None:
        """Lay the bins out."""
        super().__init__(config, encoder, config.bins, generator)
        left = torch.arange(config.bins, 0, -1).float()
        self.level = nn.Parameter(-torch.log(torch.clamp(left - 1.0, min=0.1)))
        self.register_buffer("edges", torch.linspace(-REACH, REACH, config.bins + 1), persistent=False)

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds of the hazards (n, bins)."""
        deep: Tensor = self.deep(e.flatten(1), noise)
        return deep + self.level - (self.bias + first)[:, None]

    def terms(self, output: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See PriceNetwork: log S(z) = sum of log(1 - h) over lower bins, and the part of the bin below z."""
        bins, width = output.shape[1], self.edges[1] - self.edges[0]
        depth = ((z - self.edges[0]) / width).clamp(1e-6, bins - 1e-6)
        place = depth.floor().long()
        survived = torch.cat([output.new_zeros(len(output), 1), logsigmoid(-output).cumsum(1)], dim=1)
        before = survived.gather(1, place[:, None]).squeeze(1)
        hazard = output.gather(1, place[:, None]).squeeze(1)
        gone = torch.sigmoid(hazard) * (depth - place)
        above = before + torch.log1p(-gone.clamp_max(1.0 - 1e-9))
        below = torch.log((-torch.expm1(above)).clamp_min(1e-12))
        return below, above, before + logsigmoid(hazard) - torch.log(width)
