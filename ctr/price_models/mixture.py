"""A mixture of log-normal laws whose weights, means and deviations follow the features.

Bishop 1994 (mixture density networks), with the censored rows' probabilities in the likelihood.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.price_models.network import PriceNetwork, PriceNetworkConfig

if TYPE_CHECKING:
    from bidpilot.ctr.fields import FieldEncoder

HALVINGS = 40
"""Steps of bisection between the components' own quantiles."""

REACH, POINTS = 6.0, 161
"""Range of z and number of points where laws are tabulated: 0.075 deviations of log price apart."""


@dataclass(frozen=True)
class Config(PriceNetworkConfig):
    """Settings: those of all price networks. components: of the mixture."""

    components: int = 4

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        if self.components < 1:
            raise InputError(f"components must be at least 1; got {self.components}")

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> Mixture:  # noqa: ARG002
        """Return the untrained network."""
        return Mixture(self, encoder, generator)


class Mixture(PriceNetwork):
    """Sum over k of softmax(a)_k N(z; b_k + first order + m_k, exp(s_k)), with a, m, s from the deep part."""

    def __init__(self, config: Config, encoder: FieldEncoder, generator: torch.Generator) -> None:
        """Spread the components' means over the middle of the law."""
        super().__init__(config, encoder, 3 * config.components, generator)
        self.start = nn.Parameter(torch.linspace(-1.0, 1.0, config.components))

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log weights, means and log deviations (n, 3 K)."""
        weight, mean, deviation = self.deep(e.flatten(1), noise).chunk(3, dim=1)
        mean = mean + self.start + (self.bias + first)[:, None]
        return torch.cat([weight.log_softmax(1), mean, deviation.clamp(-5.0, 3.0)], dim=1)

    def terms(self, output: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See PriceNetwork."""
        weight, mean, log_deviation = output.chunk(3, dim=1)
        u = (z[:, None] - mean) * torch.exp(-log_deviation)
        parts = torch.special.log_ndtr(u), torch.special.log_ndtr(-u), log_normal_density(u, log_deviation)
        below, above, density = ((weight + part).logsumexp(1) for part in parts)
        return below, above, density

    def inverse(self, output: Tensor, q: Tensor) -> Tensor:
        """See PriceNetwork: by bisection; a mixture's quantile lies between those of its components."""
        _, mean, log_deviation = output.chunk(3, dim=1)
        each, wanted = mean + torch.exp(log_deviation) * torch.special.ndtri(q)[:, None], torch.log(q)
        low: Tensor = each.amin(1)
        high: Tensor = each.amax(1)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            enough = self.terms(output, middle)[0] >= wanted
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        return high

    def tabulated(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """See PriceNetwork: at evenly spaced log prices."""
        points = torch.linspace(-REACH, REACH, POINTS, dtype=output.dtype)
        weight, mean, log_deviation = output.chunk(3, dim=1)
        share, narrow = torch.exp(weight), torch.exp(-log_deviation)
        every = [(share * torch.special.ndtr((z - mean) * narrow)).sum(1) for z in points]
        return points, torch.stack(every, dim=1)


def log_normal_density(u: Tensor, log_deviation: Tensor) -> Tensor:
    """Return the log density of a normal law at u deviations from its mean."""
    return -0.5 * u.square() - log_deviation - 0.5 * math.log(2.0 * math.pi)
