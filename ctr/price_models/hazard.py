"""A law without a form that follows the features: the hazard of each bin of log price from a network.

The deep landscape forecasting recipe (Ren et al., KDD 2019, arXiv 1905.03028), without its recurrent network: h_l(x) is
the probability that the price lies in bin l, given that it is not lower. Within a bin log price is uniform. Bins end at
known prices, so that a price which many pay has a bin of its own, and the network starts from the product-limit hazards
of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from bidpilot.ctr.errors import InputError
from bidpilot.ctr.price_models.base import ABOVE, EXACT, knots_of
from bidpilot.ctr.price_models.network import PriceNetwork, PriceNetworkConfig

if TYPE_CHECKING:
    import numpy.typing as npt

    from bidpilot.ctr.fields import FieldEncoder
    from bidpilot.ctr.types import FloatArray

MARGIN = 0.25
"""Width of the bin below the lowest price, and of bins that are not needed, in deviations of log price."""

SLACK = 1e-5
"""A bin ends so far above its price: float32 must not push the price into the next one."""


@dataclass(frozen=True)
class Config(PriceNetworkConfig):
    """Settings: those of all price networks. bins: of log price. Raises InputError for fewer than 4."""

    bins: int = 200

    def __post_init__(self) -> None:
        """Check the figures."""
        super().__post_init__()
        if self.bins < 5:  # noqa: PLR2004 - two ends and something between
            raise InputError(f"bins must be at least 5; got {self.bins}")

    def build(self, encoder: FieldEncoder, rate: float, generator: torch.Generator) -> Hazard:  # noqa: ARG002
        """Return the untrained network."""
        return Hazard(self, encoder, generator)


class Hazard(PriceNetwork):
    """logit h_l = c_l - first order + deep_l: c_l starts from the hazards of all rows together."""

    edges: Tensor

    def __init__(self, config: Config, encoder: FieldEncoder, generator: torch.Generator) -> None:
        """Lay bins out that begin replaces."""
        super().__init__(config, encoder, config.bins, generator)
        self.level = nn.Parameter(torch.zeros(config.bins))
        self.register_buffer("edges", torch.linspace(-1.0, 1.0, config.bins + 1))

    @torch.no_grad()
    def begin(self, label: npt.NDArray[np.float32]) -> None:
        """Lay the bins out and set c_l."""
        edges = _edges(label, len(self.level))
        self.edges.copy_(torch.from_numpy(edges))
        self.level.copy_(torch.logit(torch.from_numpy(_hazards(label, edges))))

    def forward(self, e: Tensor, first: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return log-odds of the hazards (n, bins)."""
        deep: Tensor = self.deep(e.flatten(1), noise)
        return deep + self.level - (self.bias + first)[:, None]

    def terms(self, output: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See PriceNetwork: log S(z) = sum of log(1 - h) over lower bins, and the part of the bin below z."""
        edges = self.edges.to(z.dtype)
        place = (torch.bucketize(z.contiguous(), edges) - 1).clamp(
            0, output.shape[1] - 1
        )  # a bin has its upper end: ties win
        width = edges[place + 1] - edges[place]
        depth = ((z - edges[place]) / width).clamp(1e-6, 1.0)
        before = _survival(output).gather(1, place[:, None]).squeeze(1)
        hazard = output.gather(1, place[:, None]).squeeze(1)
        above = before + torch.log1p(-depth * torch.sigmoid(hazard).clamp_max(1.0 - 1e-6))
        below = torch.log((-torch.expm1(above)).clamp_min(1e-12))
        return below, above, before + logsigmoid(hazard) - torch.log(width)

    def inverse(self, output: Tensor, q: Tensor) -> Tensor:
        """See PriceNetwork: the lowest bin that reaches q, and the part of it that does."""
        survival, edges = torch.exp(_survival(output)), self.edges.to(q.dtype)
        left = 1.0 - q
        place = (torch.searchsorted(-survival, -left[:, None]).squeeze(1) - 1).clamp(0, output.shape[1] - 1)
        upper, lower = (survival.gather(1, (place + step)[:, None]).squeeze(1) for step in (0, 1))
        part = ((upper - left) / (upper - lower).clamp_min(1e-300)).clamp(0.0, 1.0)
        return edges[place] + part * (edges[place + 1] - edges[place])

    def tabulated(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """See PriceNetwork: at the ends of the bins, so that nothing is lost."""
        return self.edges, -torch.expm1(_survival(output))


def _survival(output: Tensor) -> Tensor:
    """Return log P(Z > edge) at all edges (n, bins + 1)."""
    return torch.cat([output.new_zeros(len(output), 1), logsigmoid(-output).cumsum(1)], dim=1)


def _edges(label: npt.NDArray[np.float32], bins: int) -> npt.NDArray[np.float32]:
    """Return the ends of bins (bins + 1,), rising: known z, or bids where none is known.

    Bins that different prices are too few for lie above all amounts, where nothing is said of the law.
    """
    z, exact = label[:, 0].astype(np.float64), label[:, 1] == EXACT
    values, count = np.unique(z[exact] if exact.any() else z, return_counts=True)
    ends = values[knots_of(np.cumsum(count) / count.sum(), bins - 1)]
    top = [z.max()] if z.max() > ends[-1] else []
    edges = np.concatenate([[ends[0] - MARGIN], ends + SLACK, np.array(top) + SLACK])
    beyond = edges[-1] + MARGIN * np.arange(1, bins + 2 - len(edges))
    return np.concatenate([edges, beyond]).astype(np.float32)


def _hazards(label: npt.NDArray[np.float32], edges: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the hazard of each bin (bins,): product limit, a censored row at risk in half of its bin.

    Where no price is known (first price), and as one row's worth of prior: the law uniform over the bins.
    """
    bins = len(edges) - 1
    place = np.clip(np.searchsorted(edges, label[:, 0]) - 1, 0, bins - 1)
    exact, lost = (np.bincount(place[label[:, 1] == kind], minlength=bins) for kind in (EXACT, ABOVE))
    prior: FloatArray = 1.0 / np.maximum(np.arange(bins, 0, -1), 2)
    if not exact.any():
        return prior.astype(np.float32)
    leaving = (exact + lost)[::-1].cumsum()[::-1]
    hazard: FloatArray = (exact + prior) / (leaving - 0.5 * lost + 1.0)
    return hazard.astype(np.float32)
